"""What a log of interactions says of items: popularity, and the items that go with each item.

Neighbours carry several columns, so that a blend can learn which kind of "together" matters in this shop:

- `next`: how often b came after a (within a window of the same user's sequence), out of all that came after a.
- `near`: cosine of the same window in both directions.
- `people`: cosine over the users who had both, whatever the order.
- `linear`: the weight of a in the best linear guess of who has b (EASE, Steck 2019), among the most popular items only,
  since the dense solve grows with the cube of their number; weights below 0 are left out.

A pair counts less with every step between the two, with the time between them and with its own age. Everything is
computed with sparse matrices: a full rebuild takes seconds, so there is no incremental state that could drift.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sparse

from domains.commerce.recommender.log import KINDS, InteractionLog
from domains.commerce.recommender.sources import Neighbours, Popularity

COLUMNS = ("next", "near", "people", "linear")
DAY = 86_400.0
CHUNK = 400_000  # interactions whose pairs are held at once: bounds the memory
PACKING = 1  # the version of `pack`
LEAST = 1e-4  # smaller linear weights are left out
BLOCK = 2_000  # items whose neighbours are cut at once


@dataclass(frozen=True)
class StatisticsSettings:
    """Steps, days and counts. `window` and `people` bound the work: pairs an interaction, items a user."""

    neighbours: int = 250  # kept an item
    window: int = 20
    step_decay: float = 0.9  # a pair one step further apart counts this much
    gap_days: float = 60.0  # a pair this far apart in time counts 1/e
    half_life_days: float = 120.0  # a pair this old counts half
    popularity_half_life_days: float = 14.0
    prior_count: float = 20.0  # added to the count of a, so that rare items are not sure of anything
    people: int = 200  # the newest items of a user that enter `people` and `linear`
    linear: int = 4_000  # the most popular items, which have the column `linear`
    ridge: float = 300.0
    trend_prior: float = 5.0  # added to all that ever happened to an item


@dataclass(frozen=True)
class Statistics:
    """Neighbours of every item as CSR arrays, best first, and popularity. A `StatisticsSource` in memory.

    `popularities` and `trends` float32 (n,); item i has the neighbours `indices[indptr[i]:indptr[i + 1]]` with
    `weights` float32 (len(indices), len(COLUMNS)).
    """

    item_keys: Sequence[str]
    popularities: np.ndarray
    trends: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    weights: np.ndarray

    @cached_property
    def codes(self) -> dict[str, int]:
        return {key: code for code, key in enumerate(self.item_keys)}

    @cached_property
    def order(self) -> np.ndarray:
        """Item codes by popularity, most popular first, ties by code; never seen items are left out."""
        order = np.lexsort((np.arange(len(self.popularities)), -self.popularities))
        return order[self.popularities[order] > 0]

    def of(self, code: int) -> Neighbours:
        part = slice(self.indptr[code], self.indptr[code + 1])
        return Neighbours([self.item_keys[item] for item in self.indices[part]], self.weights[part])

    def neighbours(self, keys: Sequence[str]) -> dict[str, Neighbours]:
        return {key: self.of(self.codes[key]) for key in keys if key in self.codes}

    def popular(self, m: int) -> list[tuple[str, float]]:
        return [(self.item_keys[code], float(self.popularities[code])) for code in self.order[:m]]

    def popularity(self, keys: Sequence[str]) -> dict[str, Popularity]:
        codes = {key: self.codes[key] for key in keys if key in self.codes}
        return {key: self.popularity_of(code) for key, code in codes.items()}

    def popularity_of(self, code: int) -> Popularity:
        return Popularity(float(self.popularities[code]), float(self.trends[code]))

    def rows(self) -> Iterator[tuple[str, Popularity, bytes]]:
        """(item key, popularity, packed neighbours) of every item that was ever seen: what a database row holds."""
        for code in np.flatnonzero((self.popularities > 0) | (np.diff(self.indptr) > 0)).tolist():
            yield self.item_keys[code], self.popularity_of(code), pack(self.of(code))


def build_statistics(
    log: InteractionLog, *, now: float | None = None, settings: StatisticsSettings | None = None
) -> Statistics:
    """Statistics of a log as seen at `now` (Unix seconds; default: its last interaction). Dismissals do not count."""
    settings = settings or StatisticsSettings()
    log = log.select(log.kinds != KINDS.index("dismiss"))
    n = len(log.item_keys)
    now = float(log.timestamps.max(initial=0.0)) if now is None else now
    ages = np.maximum(now - log.timestamps, 0.0) / DAY
    popularities = np.bincount(log.items, 0.5 ** (ages / settings.popularity_half_life_days), minlength=n)
    trends = popularities / (np.bincount(log.items, minlength=n) + settings.trend_prior)
    indptr, indices, weights = cut(columns_of(log, ages, settings), n, settings.neighbours)
    return Statistics(
        log.item_keys, popularities.astype(np.float32), trends.astype(np.float32), indptr, indices, weights
    )


def columns_of(log: InteractionLog, ages: np.ndarray, settings: StatisticsSettings) -> list[Callable[[slice], Any]]:
    """One function a column of `COLUMNS`: it gives the sparse rows of a slice of items, weights from 0 to about 1."""
    forward = following(log, ages, settings)
    both = (forward + forward.T).tocsr()
    sets = user_sets(log, settings.people)
    ahead = sparse.diags_array(1.0 / (np.asarray(forward.sum(axis=1)).ravel() + settings.prior_count))
    near = sparse.diags_array(1.0 / np.sqrt(np.asarray(both.sum(axis=1)).ravel() + settings.prior_count))
    owners = sparse.diags_array(1.0 / np.sqrt(np.asarray(sets.sum(axis=0)).ravel() + settings.prior_count))
    forward = (ahead @ forward).tocsr()
    both = (near @ both @ near).tocsr()
    scaled = (sets @ owners).tocsr()
    by_item = scaled.T.tocsr()
    guess = linear(sets, settings)
    return [
        lambda part: forward[part],
        lambda part: both[part],
        lambda part: by_item[part] @ scaled,
        lambda part: guess[part],
    ]


def following(log: InteractionLog, ages: np.ndarray, settings: StatisticsSettings) -> Any:
    """Sparse (n, n): how much b (column) followed a (row) in the sequences of the log."""
    n = len(log.item_keys)
    total = sparse.csr_array((n, n), dtype=np.float32)
    for first in range(0, len(log), CHUNK):
        part = slice(first, first + CHUNK + settings.window)
        users, items, times, age = log.users[part], log.items[part], log.timestamps[part], ages[part]
        pairs = []
        for step in range(1, settings.window + 1):
            stop = min(CHUNK, len(users) - step)  # a pair belongs to the chunk of its first item
            if stop <= 0:
                break
            a, b = np.arange(stop), np.arange(step, stop + step)
            kept = (users[a] == users[b]) & (items[a] != items[b])
            a, b = a[kept], b[kept]
            gap = (times[b] - times[a]) / DAY
            weight = settings.step_decay ** (step - 1) * np.exp(-gap / settings.gap_days)
            pairs.append((items[a], items[b], weight * 0.5 ** (age[b] / settings.half_life_days)))
        if pairs:
            rows, columns, weights = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
            total = total + sparse.csr_array((weights.astype(np.float32), (rows, columns)), shape=(n, n))
    return total


def user_sets(log: InteractionLog, newest: int) -> Any:
    """Sparse 0/1 (users, items): who had what, each user's newest interactions only."""
    recent = log.select(log.positions_from_end() < newest)
    shape = (len(log.user_keys), len(log.item_keys))
    sets = sparse.csr_array((np.ones(len(recent), np.float32), (recent.users, recent.items)), shape=shape)
    sets.data[:] = 1.0
    return sets


def linear(sets: Any, settings: StatisticsSettings) -> Any:
    """Sparse (n, n): EASE's weights B = I - P / diag(P), P = (X'X + ridge)^-1, of the most popular items."""
    n = sets.shape[1]
    counts = np.asarray(sets.sum(axis=0)).ravel()
    chosen = np.sort(np.lexsort((np.arange(n), -counts))[: settings.linear])
    chosen = chosen[counts[chosen] > 0]
    if not len(chosen):
        return sparse.csr_array((n, n), dtype=np.float32)
    weights = ease_weights(sets[:, chosen], settings.ridge)
    rows, columns = np.nonzero(weights > LEAST)
    found = weights[rows, columns].astype(np.float32)
    return sparse.csr_array((found, (chosen[rows], chosen[columns])), shape=(n, n))


def ease_weights(sets: Any, ridge: float) -> np.ndarray:
    """Dense (n, n) weights from a (row) to b (column), 0 on the diagonal: "Embarrassingly shallow autoencoders for
    sparse data", Steck 2019, equation 8.
    """
    gram = (sets.T @ sets).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += ridge
    inverse = scipy.linalg.inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def cut(columns: Sequence[Callable[[slice], Any]], n: int, keep: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best `keep` neighbours of every item by the sum of its columns, each scaled to the item's largest weight."""
    counts, indices, weights = [], [], []
    for first in range(0, n, BLOCK):
        part = slice(first, min(first + BLOCK, n))
        blocks = [column(part).tocsr() for column in columns]
        union = sum(abs(block) for block in blocks).tocoo()
        rows, items = union.row.astype(np.int64), union.col.astype(np.int64)
        kept = rows + first != items
        rows, items = rows[kept], items[kept]
        table = np.stack([np.asarray(block[rows, items]).ravel() for block in blocks], axis=1)  # (pairs, columns)
        table = table.round(7)  # equal weights stay equal, whatever order they were summed in
        largest = np.zeros((part.stop - first, len(columns)), np.float32)
        np.maximum.at(largest, rows, table)
        scores = (table / np.maximum(largest[rows], 1e-12)).sum(axis=1)
        order = np.argsort(rows, kind="stable")
        sizes = np.bincount(rows, minlength=part.stop - first)
        best = best_of_each(scores[order], items[order], sizes, keep)
        best = order[best]
        counts.append(np.minimum(sizes, keep))
        indices.append(items[best].astype(np.int32))
        weights.append(table[best].astype(np.float32))
    if not counts:
        return np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros((0, len(columns)), np.float32)
    return np.concatenate(([0], np.cumsum(np.concatenate(counts)))), np.concatenate(indices), np.concatenate(weights)


def best_of_each(scores: np.ndarray, items: np.ndarray, sizes: np.ndarray, keep: int) -> np.ndarray:
    """Positions of the `keep` highest scores of each run of `sizes`, highest first, ties by item."""
    chosen, start = [np.zeros(0, np.int64)], 0
    for size in sizes.tolist():
        run = scores[start : start + size]
        kept = np.arange(size) if size <= keep else np.flatnonzero(run >= np.partition(run, size - keep)[size - keep])
        kept += start
        chosen.append(kept[np.lexsort((items[kept], -scores[kept]))][:keep])
        start += size
    return np.concatenate(chosen)


def pack(neighbours: Neighbours) -> bytes:
    """Neighbours as bytes for one database row: a header, float16 weights by column, UTF-8 keys parted by NUL."""
    count, columns = neighbours.weights.shape
    largest = np.maximum(neighbours.weights.max(axis=0, initial=0.0), 1e-12).astype("<f4")
    halves = (neighbours.weights / largest).astype("<f2")  # scaled, so that small weights keep their digits
    header = struct.pack("<BBI", PACKING, columns, count)
    return header + largest.tobytes() + halves.T.tobytes() + "\0".join(neighbours.keys).encode()


def unpack(packed: bytes, wanted: int = len(COLUMNS)) -> Neighbours:
    """What `pack` wrote. Empty bytes are no neighbours. Raises ValueError where the bytes are of another version, or do
    not have as many columns as are wanted.
    """
    if not packed:
        return Neighbours([], np.zeros((0, wanted), np.float32))
    version, columns, count = struct.unpack_from("<BBI", packed)
    if version != PACKING or columns != wanted:
        raise ValueError(f"neighbours: packed by version {version} with {columns} columns; build the statistics again")
    start = struct.calcsize("<BBI")
    largest = np.frombuffer(packed, "<f4", columns, start)
    halves = np.frombuffer(packed, "<f2", columns * count, start + 4 * columns).reshape(columns, count)
    keys = packed[start + 4 * columns + 2 * columns * count :].decode()
    return Neighbours(keys.split("\0") if count else [], halves.T.astype(np.float32) * largest)
