"""Made streams for the tests of alerting: counts a minute, stored as buckets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domains.finance.alerting.series import DAY, HOUR, MINUTE, moment
from domains.finance.models import Bucket

MIDNIGHT = 1_767_571_200  # Monday, 2026-01-05, UTC


def seasonal(days: int, a_day: float, seed: int = 0) -> np.ndarray:
    """Stories of each minute, about `a_day` of them a day, most at noon UTC and few at night."""
    hours = np.tile(0.2 + np.exp(-0.5 * ((np.arange(24) - 12) / 4) ** 2), days)
    rate = np.repeat(hours / hours.sum() * days * a_day / 60, 60)
    return np.random.default_rng(seed).poisson(rate)


def store(
    counts: np.ndarray,
    *,
    entity_id: int = 0,
    topic: str = "",
    start: int = MIDNIGHT,
    negative: float = 0.25,
    revision: int = 0,
) -> None:
    """Store minutes, and the hours and days that they make, as buckets of which `negative` is negative and half of the
    rest positive. Buckets that are there already are replaced."""
    for seconds in (MINUTE, HOUR, DAY):
        width = seconds // MINUTE
        missing = -len(counts) % width
        sums = np.concatenate([counts, np.zeros(missing, dtype=counts.dtype)]).reshape(-1, width).sum(axis=1)
        rest = (1 - negative) / 2
        Bucket.objects.bulk_create(
            (
                Bucket(
                    entity_id=entity_id,
                    topic=topic,
                    seconds=seconds,
                    start=moment(start + int(i) * seconds),
                    stories=int(sums[i]),
                    articles=int(sums[i]),
                    negative=float(sums[i] * negative),
                    neutral=float(sums[i] * rest),
                    positive=float(sums[i] * rest),
                    revision=revision,
                )
                for i in np.flatnonzero(sums)
            ),
            update_conflicts=True,
            unique_fields=["entity_id", "topic", "seconds", "start"],
            update_fields=["stories", "articles", "negative", "neutral", "positive", "revision"],
        )


def store_all(streams: Sequence[np.ndarray], *, start: int = MIDNIGHT, negative: float = 0.25) -> None:
    """A stream of each entity, from id 1 on, and everything together."""
    for i, counts in enumerate(streams):
        store(counts, entity_id=i + 1, start=start, negative=negative)
    store(np.sum(streams, axis=0), start=start, negative=negative)
