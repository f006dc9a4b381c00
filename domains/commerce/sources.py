"""What the recommender reads while serving: rows behind its statistics, the index behind its text.

One pair of sources is made for one request, and every question costs a fixed number of statements.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence, Set

import numpy as np

from domains.commerce.documents import COLLECTION, FIELDS, attributes_of, document_key, split_key
from domains.commerce.filters import ONLY_AVAILABLE, passes
from domains.commerce.models import Catalogue, Item, ItemStatistics, RelatedItems
from domains.commerce.recommender.sources import GraphSource, Neighbours, NoGraph, Popularity
from domains.commerce.recommender.statistics import unpack
from suite.index.engine import Filter, Query, Term
from suite.index.selectors import NO_RELEASE, active_generation, search, vectors

log = logging.getLogger(__name__)


class RowStatistics:
    """`StatisticsSource` over `ItemStatistics` rows."""

    def __init__(self, catalogue_id: int) -> None:
        self.rows = ItemStatistics.objects.filter(catalogue_id=catalogue_id)

    def neighbours(self, keys: Sequence[str]) -> Mapping[str, Neighbours]:
        found = self.rows.filter(item_key__in=keys).values_list("item_key", "neighbours")
        try:
            return {key: unpack(bytes(packed)) for key, packed in found}
        except ValueError as error:  # of an older version; the next build replaces them
            log.warning("%s", error)
            return {}

    def popular(self, m: int) -> list[tuple[str, float]]:
        return list(self.rows.order_by("-popularity", "id").values_list("item_key", "popularity")[:m])

    def popularity(self, keys: Sequence[str]) -> Mapping[str, Popularity]:
        found = self.rows.filter(item_key__in=keys).values_list("item_key", "popularity", "trend")
        return {key: Popularity(recent, trend) for key, recent, trend in found}


class RowGraph:
    """`GraphSource` over `RelatedItems` rows."""

    def __init__(self, catalogue_id: int) -> None:
        self.rows = RelatedItems.objects.filter(catalogue_id=catalogue_id)

    def related(self, keys: Sequence[str]) -> Mapping[str, Neighbours]:
        found = self.rows.filter(item_key__in=keys).values_list("item_key", "related")
        return {key: unpack(bytes(packed), 1) for key, packed in found}


def graph_source(catalogue: Catalogue) -> GraphSource:
    """The catalogue's related items, where it has links."""
    return RowGraph(catalogue.pk) if catalogue.graph_link else NoGraph()


class IndexText:
    """`TextSource` over the index. `release` is the one whose vectors are read, `degraded` what could not be had."""

    def __init__(self, slug: str, filters: Sequence[Filter]) -> None:
        self.slug = slug
        self.filters = (Term("catalogue", (slug,)), *filters)
        generation = active_generation(COLLECTION)
        self.release = generation.fingerprint if generation else ""
        self.degraded: list[str] = [] if generation else [NO_RELEASE]

    def vectors(self, keys: Sequence[str]) -> Mapping[str, np.ndarray]:
        if not self.release or not keys:
            return {}
        found = vectors(COLLECTION, [document_key(self.slug, key) for key in keys], self.release)
        return {split_key(key)[1]: vector for key, vector in found.items()}

    def nearest(self, vector: np.ndarray, k: int, exclude: Set[str]) -> list[tuple[str, float]]:
        if not self.release:
            return []
        excluded = frozenset(document_key(self.slug, key) for key in exclude)
        hits = search(
            COLLECTION, Query(vector=vector, filters=self.filters, exclude=excluded, k=k), release=self.release
        )
        self.degraded += [reason for reason in hits.degraded if reason not in self.degraded]
        return [(split_key(each.key)[1], each.similarity or 0.0) for each in hits.candidates]


class AllowedItems:
    """Which items of a catalogue may be shown: they exist, and pass the filters."""

    def __init__(self, catalogue_id: int, filters: Sequence[Filter]) -> None:
        self.filters = [condition for condition in filters if condition != ONLY_AVAILABLE]
        self.rows = Item.objects.filter(catalogue_id=catalogue_id, is_removed=False)
        if len(self.filters) < len(filters):
            self.rows = self.rows.filter(is_available=True)

    def __call__(self, keys: Collection[str]) -> set[str]:
        rows = self.rows.filter(key__in=keys)
        if not self.filters:
            return set(rows.values_list("key", flat=True))
        return {row["key"] for row in rows.values(*FIELDS) if passes(attributes_of(row), self.filters)}

    def newest(self, count: int, exclude: Set[str]) -> list[str]:
        """The items that came last, whatever anybody did with them."""
        rows = self.rows.order_by("-id")
        found: list[str] = []
        for row in rows.values(*FIELDS).iterator(chunk_size=200):
            if len(found) == count:
                break
            if row["key"] not in exclude and (not self.filters or passes(attributes_of(row), self.filters)):
                found.append(row["key"])
        return found
