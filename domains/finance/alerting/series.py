"""Buckets as dense arrays. Buckets are sparse rows; what judges them wants a row of cells for each
group, a cell a minute. Pure: rows come in as plain values, wherever they were stored.

Sums of probabilities are kept as whole numbers, so that a window's sum is the same whatever it was computed from: the
live evaluation, the back-test and the replay of an alert must agree to the last digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

MINUTE, HOUR, DAY = 60, 3_600, 86_400  # seconds
PARTS = 2**20  # of a story: probabilities are stored as multiples of one
KINDS = ("stories", "negative", "neutral", "positive")  # the four figures of a cell; the last three in PARTS


class Group(NamedTuple):
    """What a figure is counted for: an entity, a topic, an entity within a topic, or (0, "") everything."""

    entity_id: int = 0
    topic: str = ""

    @property
    def key(self) -> str:
        """A text that names the group in a row."""
        return f"{self.entity_id}/{self.topic}"

    @classmethod
    def from_key(cls, key: str) -> Group:
        entity, _, topic = key.partition("/")
        return cls(int(entity), topic)


EVERYTHING = Group()


@dataclass(frozen=True, slots=True)
class Series:
    """Cells of some groups from `start` (Unix seconds, a multiple of `seconds`) on.

    `cells` is int64 (groups, 4, steps) in the order of KINDS.
    """

    groups: tuple[Group, ...]
    start: int
    seconds: int
    cells: np.ndarray

    @property
    def steps(self) -> int:
        return self.cells.shape[2]

    @property
    def end(self) -> int:
        """Unix seconds, exclusive."""
        return self.start + self.steps * self.seconds

    @property
    def stories(self) -> np.ndarray:
        return self.cells[:, 0]  # (groups, steps)

    def window(self, seconds: int, start: int, end: int) -> np.ndarray:
        """Sums over the `seconds` that end with each step of [start, end): int64 (groups, 4, steps in that range).

        The series must reach back far enough. Raises `ValueError` where it does not.
        """
        first, last, width = self.step(start), self.step(end), seconds // self.seconds
        if first + 1 - width < 0 or last > self.steps:
            raise ValueError("the series is shorter than the windows that are asked of it")
        cells = self.cells[:, :, first + 1 - width : last]
        if last - first == 1:  # the live case: one window, and no need for running totals
            return cells.sum(axis=2, keepdims=True)
        total = np.zeros((len(self.groups), len(KINDS), last - first + width), dtype=np.int64)
        np.cumsum(cells, axis=2, out=total[:, :, 1:])
        return total[:, :, width:] - total[:, :, :-width]

    def step(self, moment: int) -> int:
        return (moment - self.start) // self.seconds

    def part(self, groups: Sequence[Group]) -> Series:
        """The same of some of the groups, in that order."""
        if tuple(groups) == self.groups:
            return self
        position = {group: i for i, group in enumerate(self.groups)}
        return Series(tuple(groups), self.start, self.seconds, self.cells[[position[group] for group in groups]])


def dense(groups: Sequence[Group], start: int, end: int, seconds: int, cells: np.ndarray) -> Series:
    """Cells laid out for groups that share a topic; those of other entities and times are left out.

    `cells` is float64 (n, 6): entity, start in Unix seconds, stories, and the sums negative, neutral and positive.
    """
    steps = max(0, end - start) // seconds
    laid = np.zeros((len(groups), len(KINDS), steps), dtype=np.int64)
    entities = np.array([group.entity_id for group in groups], dtype=np.float64)
    order = np.argsort(entities)
    if len(cells) and len(groups) and steps:
        cells = cells[(cells[:, 1] >= start) & (cells[:, 1] < end) & np.isin(cells[:, 0], entities)]
        where = order[np.searchsorted(entities, cells[:, 0], sorter=order)]
        when = ((cells[:, 1] - start) // seconds).astype(np.int64)
        figures = cells[:, 2:].copy()
        figures[:, 1:] *= PARTS
        laid[where[:, None], np.arange(len(KINDS)), when[:, None]] = np.rint(figures).astype(np.int64)
    return Series(tuple(groups), start, seconds, laid)


def unix(moment: datetime) -> int:
    """Whole Unix seconds of an aware time, rounded down."""
    return int(moment.timestamp() // 1)


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def floor(seconds: int, step: int) -> int:
    return seconds - seconds % step


def ceiling(seconds: int, step: int) -> int:
    return seconds + -seconds % step
