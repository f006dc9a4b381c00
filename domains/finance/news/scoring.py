"""Reading articles: whom they name, what they are about and how they lean, in one pass of the encoder over a batch.

The title is judged for the article as a whole, and for each entity the first sentence that names it, with the name
marked; and it is compared with other titles, which tells stories. Slow, and outside any transaction; `services.apply`
makes rows of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from domains.finance.models import Article
from domains.finance.news.buckets import grained
from domains.finance.news.entities import MAX_NAMED, EntityTable
from domains.finance.news.stories import Sketch, sketch_of
from suite.domain import NotYet
from suite.marking import mark_entity

SENTIMENT, TOPIC = "sentiment", "topic"
LEANINGS = ("negative", "neutral", "positive")
LANGUAGES = {"en", "zh"}  # that the heads are fitted on
MAX_JUDGED = 500  # characters


class Head(Protocol):
    @property
    def spec(self) -> Spec: ...
    def probabilities(self, features: np.ndarray) -> np.ndarray: ...


class Spec(Protocol):
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def prefix(self) -> str: ...  # one for all heads of classes that a release has


class Encoder(Protocol):
    """What reading wants of an encoder; see `suite.encoder.model.Encoder`."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def heads(self) -> Mapping[str, Head]: ...
    def embed(self, texts: Sequence[str]) -> np.ndarray: ...


class HeadMissing(NotYet):
    """The active release was made without a head that reading needs: articles wait for one that has it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Calibrated probabilities of a text, or of an entity in it (negative, neutral, positive)."""

    entity_id: int | None
    name: str  # as the article writes it
    sentence: str
    leaning: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading one article came to. `version` names the event that the article's row showed."""

    article_id: int
    version: tuple[datetime, str]
    topic: str
    topic_probability: float
    judgements: tuple[Judgement, ...]  # the whole article first
    sketch: Sketch
    note: str


def read(articles: Sequence[Article], encoder: Encoder, table: EntityTable) -> list[Reading]:
    """Raises `HeadMissing` where the release cannot judge."""
    for name in (SENTIMENT, TOPIC):
        if name not in encoder.heads:
            raise HeadMissing(f"this release has no head {name!r}; make one with `manage.py release` or `train`")
    named = [table.read(article.title, article.body) for article in articles]
    judged = [names[:MAX_NAMED] for names in named]
    sentiment = encoder.heads[SENTIMENT]
    titles = [article.title for article in articles]
    judged_texts = titles + [mark_entity(one.sentence, one.text) for names in judged for one in names]
    texts = [sentiment.spec.prefix + text for text in judged_texts]
    vectors = encoder.embed([*texts, *titles])  # (articles + names + articles, d)
    compared = vectors[len(texts) :]  # as they are: what judges draws titles of one class together
    leanings = sentiment.probabilities(vectors[: len(texts)])
    order = [sentiment.spec.labels.index(label) for label in LEANINGS]
    topics = encoder.heads[TOPIC].probabilities(vectors[: len(articles)])
    labels = encoder.heads[TOPIC].spec.labels
    readings, row = [], len(articles)
    for number, article in enumerate(articles):
        judgements = [Judgement(None, "", article.title[:MAX_JUDGED], grained(leanings[number, order].tolist()))]
        for one in judged[number]:
            judgements.append(Judgement(one.entity_id, one.text, one.sentence, grained(leanings[row, order].tolist())))
            row += 1
        likeliest = int(topics[number].argmax())
        readings.append(
            Reading(
                article.pk,
                (article.changed_at, article.changed_by),
                labels[likeliest],
                round(float(topics[number, likeliest]), 6),
                tuple(judgements),
                sketch_of(
                    article.pk,
                    article.key,
                    article.published_at.timestamp(),
                    article.title,
                    article.body,
                    table.subjects(judged[number]),
                    vector=compared[number].astype(np.float16),
                    release=encoder.fingerprint,
                ),
                note_on(article, len(named[number])),
            )
        )
    return readings


def note_on(article: Article, named: int) -> str:
    """What could not be read, and why; empty where all was."""
    notes = []
    if named > MAX_NAMED:
        notes.append(f"names {named:,} entities; the first {MAX_NAMED} are judged")
    if article.language and article.language.split("-")[0].lower() not in LANGUAGES:
        notes.append(f"is in {article.language}; what judges it was fitted on {' and '.join(sorted(LANGUAGES))}")
    return "; ".join(notes)
