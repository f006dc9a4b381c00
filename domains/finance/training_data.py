"""What finance gives to training: sentiment of texts and of names in them, and topics; from files, from the rows that
analysts and data sets labelled, and for a first release from the project's own sample.

Every wording of a piece of news stands on one side, so validation is about news that the head has not seen.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache

from django.db.models import QuerySet

from domains.finance.events import SENTIMENT_FIELDS, TOPIC_FIELDS
from domains.finance.models import Article, LabelledText, Score
from domains.finance.news.scoring import LEANINGS
from domains.finance.news.services import digest_of
from domains.finance.sample.press import Phrase, Piece, companies, phrases, write
from suite.marking import mark_entity
from suite.releases.heads import Examples
from suite.releases.training_data import (
    CLASSIFICATION,
    Labelling,
    Record,
    TaskExamples,
    TrainingData,
    Unlabelled,
    is_held_out,
)

SENTIMENT_RECORDS, TOPIC_RECORDS = "finance.sentiment", "finance.topics"
SAMPLE_HELD_OUT = 6  # of each topic and leaning, one phrase in so many: half of them chooses, half measures
SEED = 7


# Tasks of any records ----------------------------------------------------------------------------------------
def tasks(records: Mapping[str, Sequence[Record]]) -> list[TaskExamples]:
    found = []
    if judged := records.get(SENTIMENT_RECORDS):
        sides = split(sentiment_example(record) for record in judged)
        found.append(TaskExamples(SENTIMENT_RECORDS, CLASSIFICATION, "sentiment", LEANINGS, *sides))
    if sorted_texts := records.get(TOPIC_RECORDS):
        sides = split((text_of(record), (text_of(record), label_of(record))) for record in sorted_texts)
        found.append(TaskExamples(TOPIC_RECORDS, CLASSIFICATION, "topic", (), *sides))
    return found


def sentiment_example(record: Record) -> tuple[str, tuple[str, str]]:
    """(the text, the example). Raises `ValueError` where the label is none of LEANINGS."""
    text, label = text_of(record), label_of(record)
    if label not in LEANINGS:
        raise ValueError(f"label must be one of {', '.join(LEANINGS)}")
    return text, (mark_entity(text, str(record.get("entity") or "")), label)


def text_of(record: Record) -> str:
    text = record["text"]
    if not isinstance(text, str) or not text.strip():
        raise ValueError("text must be a text that is not empty")
    return text


def label_of(record: Record) -> str:
    label = record["label"]
    if label is None or str(label) == "":
        raise KeyError("label")
    return str(label)


def split(examples: Iterator[tuple[str, tuple[str, str]]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(train, validation) by a hash of the text: all names in one text stand on one side."""
    train: list[tuple[str, str]] = []
    validation: list[tuple[str, str]] = []
    for text, example in examples:
        (validation if is_held_out(text) else train).append(example)
    return train, validation


# The sample --------------------------------------------------------------------------------------------------
def sample_pieces() -> Iterator[tuple[bool, Piece]]:
    """(is it held out, piece): every phrase once, about companies in turn."""
    dice = random.Random(SEED)
    by_language: dict[str, list[str]] = defaultdict(list)
    for company in companies():
        by_language[company.language].append(company.name)
    seen: dict[tuple[str, str, str], int] = defaultdict(int)
    for phrase in phrases():
        kind = (phrase.language, phrase.topic, lean_of(phrase))
        seen[kind] += 1
        about = tuple(dice.sample(by_language[phrase.language], 2))
        yield seen[kind] % SAMPLE_HELD_OUT == 2, write(phrase, dice, about)


def lean_of(phrase: Phrase) -> str:
    """Of the text as a whole; where two names lean apart it is neutral."""
    leans = set(phrase.leans.values())
    return phrase.leans.get("") or (leans.pop() if len(leans) == 1 else "neutral")


@cache
def sentiment_examples() -> Examples:
    return sides_of(sentiments)


def sentiments(piece: Piece) -> Iterator[tuple[str, str]]:
    yield from ((title, lean_of(piece.phrase)) for title in piece.titles)
    yield from ((mark_entity(piece.titles[0], name), lean) for name, lean in piece.names.items())


@cache
def topic_examples() -> Examples:
    return sides_of(lambda piece: ((title, piece.phrase.topic) for title in piece.titles))


def sides_of(examples: Callable[[Piece], Iterable[tuple[str, str]]]) -> Examples:
    """The examples of every piece of news, on its side, with the number of the piece."""
    sides: dict[bool, list[tuple[int, tuple[str, str]]]] = {False: [], True: []}
    for number, (is_held, piece) in enumerate(sample_pieces()):
        sides[is_held] += [(number, example) for example in examples(piece)]
    train, validation = (tuple(example for _, example in sides[is_held]) for is_held in (False, True))
    return Examples(train, validation, tuple(number for number, _ in (*sides[False], *sides[True])))


# Rows --------------------------------------------------------------------------------------------------------
def sentiment_rows() -> Iterator[Record]:
    """What was labelled, and the sample, which alone knows every leaning until enough is."""
    yield from labelled(LabelledText.SENTIMENT)
    for _, piece in sample_pieces():
        yield from ({"text": title, "label": lean_of(piece.phrase)} for title in piece.titles)
        for name, lean in piece.names.items():
            yield {"text": piece.titles[0], "label": lean, "entity": name}


def topic_rows() -> Iterator[Record]:
    """What was labelled, and the sample, unless a label is none of the sample's topics."""
    sample = [{"text": title, "label": one.phrase.topic} for _, one in sample_pieces() for title in one.titles]
    rows, topics = list(labelled(LabelledText.TOPIC)), {one["label"] for one in sample}
    yield from rows
    if all(row["label"] in topics for row in rows):
        yield from sample


def labelled(kind: str) -> Iterator[Record]:
    """What stands: a label that was taken back is empty."""
    rows = LabelledText.objects.filter(kind=kind).exclude(label="").order_by("id")
    for text, entity, label in rows.values_list("text", "entity", "label").iterator(chunk_size=5_000):
        yield {"text": text, "label": label} | ({"entity": entity} if entity else {})


def sentiment_to_label() -> Iterator[Record]:
    """What was judged of articles that are no copies, newest first: the title, and sentences with a name in them."""
    for one in not_labelled(LabelledText.SENTIMENT, Score.objects.all()):
        if one["entity"] in one["text"]:
            yield one


def topics_to_label() -> Iterator[Record]:
    return not_labelled(LabelledText.TOPIC, Score.objects.filter(entity=None))


def not_labelled(kind: str, scores: QuerySet[Score]) -> Iterator[Record]:
    known = set(LabelledText.objects.filter(kind=kind).exclude(label="").values_list("digest", flat=True))
    rows = scores.filter(is_current=True, article__original=None).order_by("-article_id", "id")
    for text, entity in rows.values_list("sentence", "name").iterator(chunk_size=2_000):
        if digest_of(kind, text, entity) not in known:
            yield {"text": text, "entity": entity}


def article_rows() -> Iterator[Record]:
    yield from Article.objects.order_by("-pk").values("title", "body").iterator(chunk_size=2_000)


def article_text(record: Record) -> str:
    """Headline and body, as they are scored."""
    return f"{record['title']}\n{record.get('body') or ''}".strip()


TRAINING_DATA = TrainingData(
    tasks,
    rows={SENTIMENT_RECORDS: sentiment_rows, TOPIC_RECORDS: topic_rows},
    texts={"finance.articles": Unlabelled(article_text, article_rows)},
    labelling={
        "sentiment": Labelling(
            SENTIMENT_RECORDS, sentiment_to_label, "finance.sentiment.labelled", "finance.sentiment.withdrawn"
        ),
        "topic": Labelling(TOPIC_RECORDS, topics_to_label, "finance.topic.labelled", "finance.topic.withdrawn"),
    },
    fields={SENTIMENT_RECORDS: SENTIMENT_FIELDS, TOPIC_RECORDS: TOPIC_FIELDS},
)
