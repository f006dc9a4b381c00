"""The knowledge graph as a channel: items that are linked to an item, or to the same things in the same way.

A link (head, relation, tail) ends in items or in names. Two items that share a neighbour (the same author, say) are
related by 1 / (how many items have that neighbour), summed over all that they share: what everything has says nothing.
This is the resource allocation index of Zhou, Lü and Zhang, Predicting missing links via local information, 2009, kept
apart by relation. A direct link counts 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sparse

from domains.commerce.recommender.sources import Neighbours
from domains.commerce.recommender.statistics import best_of_each

Triple = tuple[str, str, str]  # head, relation, tail
Trait = tuple[str, str, bool]  # relation, the other end, whether that is the tail
KEPT = 100  # related items an item
COMMON = 500  # a trait that more items have relates none of them; bounds the work
BLOCK = 2_000  # items whose relations are cut at once


@dataclass(frozen=True)
class Graph:
    """Related items of every item as CSR arrays, strongest first. A `GraphSource` in memory."""

    item_keys: Sequence[str]
    indptr: np.ndarray  # int64 (n + 1,)
    indices: np.ndarray  # int32 (links,)
    weights: np.ndarray  # float32 (links, 1)

    @cached_property
    def codes(self) -> dict[str, int]:
        return {key: code for code, key in enumerate(self.item_keys)}

    def related(self, keys: Sequence[str]) -> dict[str, Neighbours]:
        return {key: self.of(self.codes[key]) for key in keys if key in self.codes}

    def of(self, code: int) -> Neighbours:
        part = slice(self.indptr[code], self.indptr[code + 1])
        return Neighbours([self.item_keys[item] for item in self.indices[part]], self.weights[part])

    def rows(self) -> Iterator[tuple[str, Neighbours]]:
        """(item key, related items) of every item that has any."""
        for code in np.flatnonzero(np.diff(self.indptr)).tolist():
            yield self.item_keys[code], self.of(code)


def traits(link: Triple) -> tuple[tuple[str, Trait], tuple[str, Trait]]:
    """What a link says of its head and of its tail."""
    head, relation, tail = link
    return (head, (relation, tail, True)), (tail, (relation, head, False))


def build_graph(links: Iterable[Triple], items: Sequence[str]) -> Graph:
    """Relations among `items`, in the order given; links that come twice count once."""
    codes = {key: code for code, key in enumerate(items)}
    columns: dict[Trait, int] = {}
    cells: set[tuple[int, int]] = set()
    direct: set[tuple[int, int]] = set()
    for link in links:
        for end, trait in traits(link):
            if end in codes:
                cells.add((codes[end], columns.setdefault(trait, len(columns))))
        if link[0] in codes and link[2] in codes and link[0] != link[2]:
            a, b = codes[link[0]], codes[link[2]]
            direct |= {(a, b), (b, a)}
    has = matrix(cells, (len(items), len(columns)))
    degrees = np.asarray(has.sum(axis=0)).ravel()
    says = sparse.diags_array(np.where((degrees > 1) & (degrees <= COMMON), 1.0 / np.maximum(degrees, 1), 0.0))
    weighted, others = (has @ says).tocsr(), has.T.tocsr()
    linked = matrix(direct, (len(items), len(items)))
    counts, indices, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
    for first in range(0, len(items), BLOCK):
        part = slice(first, first + BLOCK)
        block = (weighted[part] @ others + linked[part]).tocoo()
        kept = (block.row + first != block.col) & (block.data > 0)
        rows, found, scores = block.row[kept], block.col[kept], block.data[kept].round(7)
        order = np.argsort(rows, kind="stable")
        rows, found, scores = rows[order], found[order], scores[order]
        sizes = np.bincount(rows, minlength=min(BLOCK, len(items) - first))
        best = best_of_each(scores, found, sizes, KEPT)
        counts.append(np.minimum(sizes, KEPT))
        indices.append(found[best].astype(np.int32))
        weights.append(scores[best].astype(np.float32))
    indptr = np.concatenate(([0], np.cumsum(np.concatenate(counts)))).astype(np.int64)
    return Graph(items, indptr, np.concatenate(indices), np.concatenate(weights)[:, None])


def matrix(cells: set[tuple[int, int]], shape: tuple[int, int]) -> sparse.csr_array:
    """Sparse 0/1 with ones in these cells."""
    rows, columns = np.array(sorted(cells), np.int64).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


def shared_traits(links: Iterable[Triple], pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[Trait]]:
    """What both items of a pair have, or the traits of the first that name the second where they are linked directly;
    `links` are those of all these items. Pairs without either are left out.
    """
    of_item: dict[str, set[Trait]] = defaultdict(set)
    for link in links:
        for end, trait in traits(link):
            of_item[end].add(trait)
    found = {}
    for a, b in pairs:
        direct = [trait for trait in of_item[a] if trait[1] == b]
        if both := direct or of_item[a] & of_item[b]:
            found[a, b] = sorted(both)
    return found
