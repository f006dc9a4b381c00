"""Buckets: how many stories, and how they lean, by entity and topic, a minute, an hour and a day.

A bucket is the sum of the `Mention` rows of its entity, topic and time. What changes is added and taken away in the
transaction that changes the mentions; probabilities are multiples of 2**-20, so that the sums stay exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection

from domains.finance.models import Bucket, Mention

GRAIN = 2**20
ROWS_A_STATEMENT = 1_000
COLUMNS = (
    "entity_id", "topic", "seconds", "start", "stories", "articles", "negative", "neutral", "positive", "revision"
)  # fmt: skip
KEY = COLUMNS[:4]
SUMS = COLUMNS[4:9]
Key = tuple[int, str, int, int]  # entity, topic, seconds, start in Unix seconds


class Counted(NamedTuple):
    """A story counted for an entity, as a `Mention` row says it."""

    entity_id: int
    topic: str
    published_at: datetime
    articles: int
    negative: float
    neutral: float
    positive: float

    @property
    def sums(self) -> tuple[float, ...]:
        return 1, self.articles, self.negative, self.neutral, self.positive


def grained(probabilities: Sequence[float]) -> tuple[float, float, float]:
    """(negative, neutral, positive) as multiples of 2**-20 that sum to 1."""
    negative, positive = round(probabilities[0] * GRAIN), round(probabilities[2] * GRAIN)
    return negative / GRAIN, (GRAIN - negative - positive) / GRAIN, positive / GRAIN


def cells(counted: Counted) -> Iterator[Key]:
    """The buckets that a mention is counted in: of its topic and of all, in three sizes."""
    seconds = int(counted.published_at.timestamp() // 1)
    for topic in {"", counted.topic}:
        for size in Bucket.SIZES:
            yield counted.entity_id, topic, size, seconds - seconds % size


def move(gone: Iterable[Counted], come: Iterable[Counted], revision: int) -> None:
    """Take the mentions `gone` out of their buckets and put `come` in."""
    changes: dict[Key, list[float]] = defaultdict(lambda: [0.0] * len(SUMS))
    for sign, mentions in ((-1, gone), (1, come)):
        for counted in mentions:
            for key in cells(counted):
                for place, value in enumerate(counted.sums):
                    changes[key][place] += sign * value
    rows = [(*key, *sums) for key, sums in sorted(changes.items()) if any(sums)]
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        _add(rows[start : start + ROWS_A_STATEMENT], revision)


def _add(rows: Sequence[tuple], revision: int) -> None:
    table = Bucket._meta.db_table
    adapt = connection.ops.adapt_datetimefield_value
    values: list[Any] = []
    for entity_id, topic, seconds, start, stories, articles, *leans in rows:
        values += [entity_id, topic, seconds, adapt(datetime.fromtimestamp(start, UTC)), int(stories), int(articles)]
        values += [*leans, revision]
    updates = ", ".join(f"{column} = {table}.{column} + excluded.{column}" for column in SUMS)
    places = ", ".join([f"({', '.join(['%s'] * len(COLUMNS))})"] * len(rows))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES {places} "  # noqa: S608
            f"ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {updates}, revision = excluded.revision",
            values,
        )


def counted_anew() -> dict[Key, tuple[float, ...]]:
    """What every bucket must hold, summed from the mentions: what the rows are compared with."""
    found: dict[Key, list[float]] = defaultdict(lambda: [0.0] * len(SUMS))
    for row in Mention.objects.values_list(*Counted._fields).iterator(chunk_size=5_000):
        counted = Counted(*row)
        for key in cells(counted):
            for place, value in enumerate(counted.sums):
                found[key][place] += value
    return {key: tuple(sums) for key, sums in found.items()}
