"""What the recommender reads: one person's history, the statistics of items, vectors of their text, and their graph.

The recommender knows these protocols alone. Serving puts database rows and the index behind them, an evaluation puts
arrays there (`statistics.Statistics`, `ArrayText`), so both run the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Seen:
    """One past interaction of the person asking: the item's key, its age in seconds, its kind and its value."""

    key: str
    age: float = 0.0
    kind: str = "view"
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The items that go with one item: `weights` is float32 (len(keys), columns); which columns, the source says."""

    keys: list[str]
    weights: np.ndarray


class Popularity(NamedTuple):
    """How popular an item is now, and how much of that is new: the share of all that ever happened to it, 0 to 1."""

    recent: float
    trend: float


class StatisticsSource(Protocol):
    """What interactions say of items. Keys that are unknown are left out of the answers."""

    def neighbours(self, keys: Sequence[str]) -> Mapping[str, Neighbours]: ...

    def popular(self, m: int) -> list[tuple[str, float]]:
        """The m most popular items, most popular first; fewer only where there are no more."""
        ...

    def popularity(self, keys: Sequence[str]) -> Mapping[str, Popularity]: ...


class TextSource(Protocol):
    """Unit vectors of the items' text. Keys that are unknown are left out of the answers."""

    def vectors(self, keys: Sequence[str]) -> Mapping[str, np.ndarray]: ...

    def nearest(self, vector: np.ndarray, k: int, exclude: Set[str]) -> list[tuple[str, float]]:
        """Up to k items with their cosine, nearest first; honours the filters of the request."""
        ...


class GraphSource(Protocol):
    """What the knowledge graph says of items. Keys that are unknown are left out of the answers."""

    def related(self, keys: Sequence[str]) -> Mapping[str, Neighbours]:
        """The items related to each, with `weights` of one column; see `graph.build_graph`."""
        ...


class NoGraph:
    """A graph source for a shop without links."""

    def related(self, keys: Sequence[str]) -> dict[str, Neighbours]:
        return {}


class NoText:
    """A text source for a shop without vectors: the other channels carry the answer."""

    def vectors(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        return {}

    def nearest(self, vector: np.ndarray, k: int, exclude: Set[str]) -> list[tuple[str, float]]:
        return []


class ArrayText:
    """Vectors in memory. `matrix` is float32 (len(keys), dimensions), rows of unit length or zero."""

    def __init__(self, keys: Sequence[str], matrix: np.ndarray) -> None:
        if matrix.ndim != 2 or len(keys) != len(matrix):
            raise ValueError(f"matrix: one row a key wanted, got shape {matrix.shape} for {len(keys)} keys")
        self.keys = list(keys)
        self.matrix = np.ascontiguousarray(matrix, dtype=np.float32)
        self.rows = {key: row for row, key in enumerate(self.keys)}

    def vectors(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        return {key: self.matrix[self.rows[key]] for key in keys if key in self.rows}

    def nearest(self, vector: np.ndarray, k: int, exclude: Set[str]) -> list[tuple[str, float]]:
        cosines = self.matrix @ vector
        wanted = min(len(self.keys), k + len(exclude))
        if wanted < 1:
            return []
        best = np.argpartition(-cosines, wanted - 1)[:wanted]
        best = best[np.lexsort((best, -cosines[best]))]
        found = [(self.keys[row], float(cosines[row])) for row in best if self.keys[row] not in exclude]
        return found[:k]
