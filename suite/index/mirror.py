"""The memory of one embedded generation: attributes, and vectors for exact search, beside its file.

Rows are only ever appended: a changed document gets a new slot and its old one is dead. So a search works on the first
n slots without a lock while others append. Slots stand in the order of the file's sequence, which is how a hit of the
text index finds its slot again. Float16 halves the memory; numkong multiplies it at full speed without widening it.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numkong
import numpy as np

from suite.index.engine import Filter, Query, Range, Term
from suite.index.graph import Graph

FIRST_SLOTS = 1_024
DENSE = 0.25  # share of wanted rows from which looking at all of them is faster than picking


@dataclass(frozen=True, slots=True)
class Row:
    """A document as the generation's file has it; a deleted one has no attributes and no vector."""

    sequence: int
    key: str
    is_deleted: bool
    terms: Iterable[tuple[str, str]]
    numbers: Iterable[tuple[str, float]]
    vector: bytes | None


@dataclass(slots=True)
class Numbers:
    """One numeric attribute: its slots and their values."""

    slots: array[int] = field(default_factory=lambda: array("i"))
    values: array[float] = field(default_factory=lambda: array("d"))


class Mirror:
    """Slots of documents. Whoever calls `append` or `snapshot` holds the one lock of the opened generation."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.size = 0
        self.dead = 0
        self.last_sequence = 0
        self.keys: list[str] = []
        self.slots: dict[str, int] = {}
        self.postings: dict[tuple[str, str], array[int]] = defaultdict(lambda: array("i"))
        self.numbers: dict[str, Numbers] = defaultdict(Numbers)
        self.sequences = np.zeros(FIRST_SLOTS, dtype=np.int64)
        self.alive = np.zeros(FIRST_SLOTS, dtype=bool)
        self.has_vector = np.zeros(FIRST_SLOTS, dtype=bool)
        self.matrix = np.zeros((FIRST_SLOTS, dimensions), dtype=np.float16)

    @property
    def count(self) -> int:
        return len(self.slots)

    def append(self, rows: Iterable[Row]) -> None:
        """Take rows in the order of their sequence."""
        for row in rows:
            self.last_sequence = row.sequence
            old = self.slots.pop(row.key, None)
            if old is not None:
                self.alive[old] = False
                self.dead += 1
            if not row.is_deleted:
                self._append(row)

    def _append(self, row: Row) -> None:
        slot = self.size
        if slot == len(self.alive):
            self._grow()
        for term in row.terms:
            self.postings[term].append(slot)
        for name, value in row.numbers:
            self.numbers[name].slots.append(slot)
            self.numbers[name].values.append(value)
        if row.vector is not None and self.dimensions:
            self.matrix[slot] = np.frombuffer(row.vector, dtype=np.float16)
            self.has_vector[slot] = True
        self.sequences[slot] = row.sequence
        self.alive[slot] = True
        self.keys.append(row.key)
        self.slots[row.key] = slot
        self.size = slot + 1

    def _grow(self) -> None:
        """Twice the room, in new arrays: a search that runs goes on reading the old ones."""

        def grown(old: np.ndarray) -> np.ndarray:
            new = np.zeros((2 * len(old), *old.shape[1:]), dtype=old.dtype)
            new[: len(old)] = old
            return new

        self.sequences, self.alive = grown(self.sequences), grown(self.alive)
        self.has_vector, self.matrix = grown(self.has_vector), grown(self.matrix)

    def snapshot(self, query: Query) -> Snapshot:
        """What one search reads: every slot there is now, and which of them the query allows."""
        size = self.size
        mask = self.alive[:size].copy()
        for condition in query.filters:
            mask &= self._matching(condition)
        for key in query.exclude:
            slot = self.slots.get(key)
            if slot is not None:
                mask[slot] = False
        return Snapshot(self.keys, self.sequences[:size], mask, mask & self.has_vector[:size], self.matrix[:size])

    def _matching(self, condition: Filter) -> np.ndarray:
        mask = np.zeros(self.size, dtype=bool)
        match condition:
            case Term(name, values):
                for value in values:
                    found = self.postings.get((name, value))
                    if found:
                        mask[np.array(found)] = True
            case Range(name, gte, lte):
                numbers = self.numbers.get(name)
                if numbers:
                    values_found = np.array(numbers.values)
                    fits = values_found >= (-np.inf if gte is None else gte)
                    fits &= values_found <= (np.inf if lte is None else lte)
                    mask[np.array(numbers.slots)[fits]] = True
        return mask


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The slots of one moment. `allowed` and `searchable` are (n,) masks: may be found by words, by vector."""

    keys: list[str]
    sequences: np.ndarray  # int64 (n,), ascending
    allowed: np.ndarray
    searchable: np.ndarray
    matrix: np.ndarray  # float16 (n, d)

    def nearest(self, vector: np.ndarray, depth: int, graph: Graph | None = None) -> list[tuple[str, float]]:
        """The `depth` most similar allowed documents as (key, cosine), best first. Exact where there is no graph, and
        where the filters leave less than a quarter of the documents."""
        slots = np.flatnonzero(self.searchable)
        if not len(slots):
            return []
        if graph and len(slots) >= DENSE * len(self.searchable):
            found = self._by_graph(vector, depth, graph, len(slots) / len(self.searchable))
            if len(found) >= min(depth, len(slots)):
                return found
        return self._exact(vector, slots, depth)

    def _exact(self, vector: np.ndarray, slots: np.ndarray, depth: int) -> list[tuple[str, float]]:
        """Over the slots given, in ascending order."""
        low, high = int(slots[0]), int(slots[-1]) + 1
        is_dense = len(slots) > DENSE * (high - low)  # a scan in order is faster than picking that many rows
        matrix = self.matrix[low:high] if is_dense else self.matrix[slots]
        wanted = np.ascontiguousarray(vector, dtype=np.float16)[None]
        similarity = np.asarray(numkong.cdist(wanted, matrix, "dot"), dtype=np.float32)[0]
        similarity = similarity[slots - low] if is_dense else similarity
        return [(self.keys[slots[i]], float(similarity[i])) for i in _top(similarity, depth)]

    def _by_graph(self, vector: np.ndarray, depth: int, graph: Graph, share: float) -> list[tuple[str, float]]:
        """The graph's allowed neighbours, and the exact ones among the rows that came after it."""
        sequences, similarity = graph.search(vector, int(1.5 * depth / share))
        slots = np.minimum(np.searchsorted(self.sequences, sequences), len(self.sequences) - 1)
        fits = (self.sequences[slots] == sequences) & self.searchable[slots]
        pairs = zip(slots[fits], similarity[fits], strict=True)
        found = [(self.keys[slot], float(cosine)) for slot, cosine in pairs]
        start = int(np.searchsorted(self.sequences, graph.covered, side="right"))
        later = start + np.flatnonzero(self.searchable[start:])
        if len(later):
            found += self._exact(vector, later, depth)
        return sorted(found, key=lambda pair: -pair[1])[:depth]

    def allowed_sequences(self) -> list[int]:
        return self.sequences[self.allowed].tolist()

    def keys_of(self, sequences: np.ndarray) -> list[str | None]:
        """The key of each sequence, None where the document is dead, newer than this moment or not allowed."""
        if not len(self.sequences):
            return [None] * len(sequences)
        slots = np.minimum(np.searchsorted(self.sequences, sequences), len(self.sequences) - 1)
        fits = (self.sequences[slots] == sequences) & self.allowed[slots]
        return [self.keys[slot] if fit else None for slot, fit in zip(slots, fits, strict=True)]


def _top(scores: np.ndarray, depth: int) -> np.ndarray:
    """Positions of the `depth` highest scores, best first; equal scores in the order of their position."""
    is_long = len(scores) > depth
    kept = np.sort(np.argpartition(-scores, depth - 1)[:depth]) if is_long else np.arange(len(scores))
    return kept[np.argsort(-scores[kept], kind="stable")]
