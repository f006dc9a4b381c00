"""What support gives to training: pairs of question and answer, and intents, from files, from its own rows, and for a
first release from its sample.

What is held out is a group: a question with all that answers it, so no text stands on both sides.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from domains.support.documents import is_sought
from domains.support.learning.labels import labelled, not_labelled
from domains.support.models import Answer, Feedback, Message, Suggestion
from domains.support.plain_files import FIELDS, fault_of, is_right_answer, right_answers
from domains.support.privacy import mask
from domains.support.sample.files import sample_answers, sample_questions
from suite.releases.heads import Examples, LabelledText
from suite.releases.training_data import (
    CLASSIFICATION,
    CONTRASTIVE,
    PAIR,
    Labelling,
    Record,
    TaskExamples,
    TrainingData,
    Unlabelled,
    is_held_out,
    place_of,
)
from suite.releases.validation import share_held

NO, YES = "no", "yes"
NONE = "__none__"  # the intent of a question that is out of scope
SEED = 5
NEGATIVES = 4  # wrong answers of a question, at random: a head that is shown the likeliest only unlearns the likeness
SAMPLE_HELD_OUT = 0.4  # a head that is fitted on little must be measured on more
CONTRASTED = 1  # wrong answers that go with a right one
LEAST_HELD, OF_GROUPS = 2, 5  # groups for validation: with one there is no wrong answer; of fewer none is spared
ACROSS = "wrong pairs left out: one text is trained on, the other held for validation"
UNKNOWN = "questions left out: none of the answers that they name is there"
Labelled = tuple[str, str, bool]  # question, answer, is it right


# Tasks of any records -------------------------------------------------------------------------------------------
def tasks(records: Mapping[str, Sequence[Record]], share: float | None = None) -> list[TaskExamples]:
    """`share` of them for validation; None: as many as will do."""
    found = answer_tasks(records, share)
    if intents := records.get("support.intents", ()):
        texts = [(mask(str(one["text"])), str(one["label"])) for one in complete(intents, "text", "label")]
        train_texts, held = split_texts(texts)
        found.append(TaskExamples("support.intents", CLASSIFICATION, "intent", (), train_texts, held))
    return found


def answer_tasks(records: Mapping[str, Sequence[Record]], share: float | None) -> list[TaskExamples]:
    """Is a text an answer to a question, and which is the nearest; none where there are no pairs."""
    given = list(given_pairs(records.get("support.pairs", ())))
    judged = judged_questions(records.get("support.questions", ()), records.get("support.answers", ()))
    train, validation = split(given, judged.right, judged.answers, share)
    if not train and not validation:
        return []
    shown = {pair[:2] for pair in given}
    across = len(shown - {pair[:2] for pair in (*train, *validation)})
    left_out = ((across, ACROSS), (judged.unknown, UNKNOWN))
    notes = tuple(f"{count:,} {what}" for count, what in left_out if count)
    used = {"support.questions": judged.right, "support.answers": judged.answers}
    sources = tuple(name for name, part in used.items() if part)
    pairs = {"train": examples(train), "validation": examples(validation)}
    nearest: dict[str, Any] = {"train": contrasts(train, shown), "validation": contrasts(validation, shown)}
    return [
        TaskExamples("support.pairs", PAIR, "relevance", (NO, YES), notes=notes, sources=sources, **pairs),
        TaskExamples("support.pairs", CONTRASTIVE, sources=sources, **nearest),
    ]


def given_pairs(records: Iterable[Record]) -> Iterator[Labelled]:
    for one in complete(records, "question", "answer", "label"):
        yield mask(str(one["question"])), str(one["answer"]), is_right_answer(one["label"])


def complete(records: Iterable[Record], *fields: str) -> Iterator[Record]:
    """The records, each with something in all these fields. Raises `ValueError` at one without."""
    for one in records:
        if fault := fault_of(one, fields):
            raise ValueError(fault)
        yield one


class Judged(NamedTuple):
    """The right answers of each question, none where nothing is right; all answers; and how many questions were left
    out, whose answers are not there."""

    right: dict[str, list[str]]
    answers: list[str]
    unknown: int


def judged_questions(questions: Sequence[Record], answers: Sequence[Record]) -> Judged:
    texts = {str(one["answer_id"]): document_text(one) for one in complete(answers, "answer_id", "text")}
    judged, unknown = Judged({}, [*texts.values()], 0), 0
    for one in complete(questions, "text"):
        named = right_answers(one)
        right = [texts[key] for key in named if key in texts]
        if texts and (right or not named):
            judged.right.setdefault(mask(str(one["text"])), []).extend(right)
        else:
            unknown += 1
    return judged._replace(unknown=unknown)


def drawn(answers: Sequence[str], right: Collection[str], dice: random.Random) -> list[str]:
    """At most `NEGATIVES`, none of them right."""
    found = dice.sample(answers, min(NEGATIVES + len(right), len(answers)))
    return [answer for answer in found if answer not in right][:NEGATIVES]


def document_text(record: Record) -> str:
    """An answer as the index encodes it: title, new line, text."""
    return f"{record.get('title') or ''}\n{record['text']}".strip()


def split(
    given: Sequence[Labelled], right: Mapping[str, Sequence[str]], answers: Iterable[str], share: float | None = None
) -> tuple[list[Labelled], list[Labelled]]:
    """(train, validation). Texts that belong together by a right pair are on one side; a wrong pair across goes.

    Each side has wrong answers for its questions beside those that were given, drawn from all of its own. What was
    decided on are the best that a ranker found: from these alone a head would learn that what is like the question is
    wrong.
    """
    pairs = [*given, *((question, answer, True) for question, taken in right.items() for answer in taken)]
    pairs = list(dict.fromkeys(pairs))
    is_held = held_by_group([pair[:2] for pair in pairs if pair[2]], {*right, *(pair[0] for pair in given)}, share)
    sides: tuple[list[Labelled], list[Labelled]] = ([], [])
    asked: tuple[dict[str, list[str]], dict[str, list[str]]] = ({}, {})
    for question in right:
        asked[is_held(question)][question] = []
    for question, answer, is_right in pairs:
        side = is_held(question)
        if is_held(answer) == side:
            sides[side].append((question, answer, is_right))
        if is_right:
            asked[side].setdefault(question, []).append(answer)
    there = sorted({*answers, *(answer for _, answer, _ in given)})
    for side in (False, True):
        own = [answer for answer in there if is_held(answer) == side]
        sides[side].extend(wrong_pairs(asked[side], own, sides[side]))
    return sides


def wrong_pairs(
    questions: Mapping[str, Collection[str]], answers: Sequence[str], known: Iterable[Labelled]
) -> list[Labelled]:
    """For each question, with its right answers, some that are not, and that are not known."""
    dice, there = random.Random(SEED), {pair[:2] for pair in known}
    return [
        (question, answer, False)
        for question, right in questions.items()
        for answer in drawn(answers, right, dice)
        if (question, answer) not in there
    ]


def held_by_group(
    right: Sequence[tuple[str, str]], questions: Collection[str], share: float | None
) -> Callable[[str], bool]:
    """Whether a text is for validation: as all that belong together by `right` pairs, and `LEAST_HELD` groups of those
    are where there are few."""
    group = groups(right)
    names = sorted(set(group.values()), key=place_of)
    least = set(names[:LEAST_HELD]) if share is None and len(names) >= OF_GROUPS else set()
    part = share_held(len(questions)) if share is None else share

    def is_held(text: str) -> bool:
        name = group.get(text, text)
        return name in least or is_held_out(name, part)

    return is_held


def groups(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """{text: the first text, in order, of those that it is linked to, directly or not}."""
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        parent.setdefault(text, text)
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for one, other in links:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return {text: root(text) for text in parent}


def examples(pairs: Iterable[Labelled]) -> list[LabelledText]:
    return [((question, answer), YES if is_right else NO) for question, answer, is_right in pairs]


def contrasts(pairs: Iterable[Labelled], shown: Collection[tuple[str, str]]) -> list[tuple[str, str, tuple[str, ...]]]:
    """(question, right answer, its wrong answers): of those that were shown that which stood highest. The others of
    its batch, and mined ones, are wrong, too."""
    right: dict[str, list[str]] = defaultdict(list)
    wrong: dict[str, list[str]] = defaultdict(list)
    for question, answer, is_right in pairs:
        if is_right:
            right[question].append(answer)
        elif (question, answer) in shown:
            wrong[question].append(answer)
    return [
        (question, answer, tuple(wrong[question][:CONTRASTED]))
        for question, answers in right.items()
        for answer in answers
    ]


def split_texts(texts: Iterable[tuple[str, str]], share: float = 0.1) -> tuple[list[LabelledText], list[LabelledText]]:
    sides: tuple[list[LabelledText], list[LabelledText]] = ([], [])
    for text, label in texts:
        sides[is_held_out(text, share)].append((text, label))
    return sides


# Our own rows ---------------------------------------------------------------------------------------------------
def answer_records() -> Iterator[Record]:
    for row in Answer.objects.filter(is_removed=False).iterator(chunk_size=2_000):
        if is_sought(row.key):
            yield {"answer_id": row.key, "title": row.title, "text": row.text, "language": row.language}


def decided() -> Iterator[tuple[Suggestion, str]]:
    """Every suggestion that an agent decided on, with what stands: accepted, edited, rejected or ignored."""
    rows = Suggestion.objects.filter(state__in=Feedback.Kind.values).select_related("run", "answer", "reply")
    for row in rows.order_by("pk").iterator(chunk_size=2_000):
        yield row, row.state


def question_records() -> Iterator[Record]:
    """Questions for which an answer was taken."""
    taken: dict[int, tuple[str, list[str]]] = {}
    for row, state in decided():
        if state in {Feedback.Kind.ACCEPTED, Feedback.Kind.EDITED} and row.answer:
            taken.setdefault(row.run_id, (row.run.question, []))[1].append(row.answer.key)
    for run, (question, keys) in taken.items():
        yield {"question_id": str(run), "text": question, "answer_ids": keys}


def pair_records() -> Iterator[Record]:
    """Taken against rejected, and against what stood above the one that was taken: that was looked at and skipped
    (Joachims, Optimizing Search Engines using Clickthrough Data, KDD 2002). Masked, as everything here."""
    runs: dict[int, list[tuple[Suggestion, str]]] = defaultdict(list)
    for row, state in decided():
        runs[row.run_id].append((row, state))
    for run, rows in runs.items():
        lowest = max((row.position for row, state in rows if state in TAKEN), default=0)
        for row, state in rows:
            if state in TAKEN or state == Feedback.Kind.REJECTED or row.position < lowest:
                label = int(state in TAKEN)
                yield {"question_id": str(run), "question": row.run.question, "answer": text_of(row), "label": label}


TAKEN = (Feedback.Kind.ACCEPTED, Feedback.Kind.EDITED)


def message_records() -> Iterator[Record]:
    """What customers wrote, masked, newest first."""
    written = Message.objects.filter(author=Message.Author.CUSTOMER).order_by("-pk")
    for text in written.values_list("masked_text", flat=True).iterator(chunk_size=2_000):
        yield {"masked": text}


def message_text(record: Record) -> str:
    return record["masked"] if "masked" in record else mask(str(record["text"]))


def intent_records() -> Iterator[Record]:
    """What was labelled, and with it the sample, unless a label is none of the sample's intents."""
    rows = list(labelled())
    sample = [{"text": one["text"], "label": one["intent"]} for one in sample_questions()]
    intents = {one["label"] for one in sample}
    yield from rows
    if rows and all(row["label"] in intents for row in rows):
        yield from sample


def text_of(row: Suggestion) -> str:
    """What the encoder reads of a suggestion's source."""
    if row.answer:
        return document_text({"title": row.answer.title, "text": row.answer.text})
    return row.text


TRAINING_DATA = TrainingData(
    tasks=tasks,
    rows={
        "support.answers": answer_records,
        "support.questions": question_records,
        "support.pairs": pair_records,
        "support.intents": intent_records,
    },
    texts={
        "support.answers": Unlabelled(document_text, answer_records),
        "support.questions": Unlabelled(message_text, message_records),
    },
    labelling={
        "intent": Labelling("support.intents", not_labelled, "support.intent.labelled", "support.intent.withdrawn")
    },
    fields=FIELDS,
    unsplit=partial(tasks, share=0),
)


# The first release ----------------------------------------------------------------------------------------------
@cache
def sample_pairs() -> tuple[list[Labelled], list[Labelled]]:
    """(train, validation) of the sample."""
    answers = [one for one in sample_answers() if is_sought(one["answer_id"])]
    judged = judged_questions(sample_questions(), answers)
    return split([], judged.right, judged.answers, SAMPLE_HELD_OUT)


def relevance_examples() -> Examples:
    train, validation = sample_pairs()
    return Examples(tuple(examples(train)), tuple(examples(validation)))


def intent_examples() -> Examples:
    texts = ((one["text"], one["intent"]) for one in sample_questions())
    train, validation = split_texts(texts, SAMPLE_HELD_OUT)
    return Examples(tuple(train), tuple(validation))


def ranker_questions() -> list[Record]:
    """The sample's questions that the relevance head was not fitted on."""
    seen = {question for question, _, _ in sample_pairs()[0]}
    return [one for one in sample_questions() if one["text"] not in seen]
