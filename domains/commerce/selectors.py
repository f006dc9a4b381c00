"""Reads of commerce: recommendations with their reasons, similar items, search, items. Nothing here loads torch.

An answer is made from the rows as they are now, so the next request sees the last click. It says who made it
(`served_by`), with which release, and what could not be had (`degraded`). It is never empty while the catalogue has
items that pass the filters and were not dismissed.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from domains.commerce.documents import COLLECTION, split_key
from domains.commerce.filters import parse_filters
from domains.commerce.links import links_between
from domains.commerce.models import Catalogue, Interaction, Item
from domains.commerce.reasons import ASKED, newest_reason, reasons, strongest
from domains.commerce.recommender.blend import Blend
from domains.commerce.recommender.ranker import Ranked, Recommender
from domains.commerce.recommender.sources import Seen
from domains.commerce.sources import AllowedItems, IndexText, RowStatistics, graph_source
from suite.index import selectors as index
from suite.index.engine import Filter, Query, Term

PAST = 2_000  # newest interactions of a person that are looked at
EXCLUSIONS = ("seen", "bought", "dismissed")
BLEND, POPULAR, NEWEST = "blend", "popular", "newest"  # who made an answer
SHOWN = ("key", "title", "category", "brand", "price", "currency", "is_available")


class NotFound(LookupError):
    """There is no such catalogue or item; the message names it."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever asks: a user, or the session of somebody without an account."""

    key: str
    is_session: bool = False

    @property
    def column(self) -> str:
        return "session_key" if self.is_session else "user_key"

    def topic(self, slug: str) -> str:
        """What pages of this person listen to: it moves with each interaction."""
        return f"commerce.{'session' if self.is_session else 'user'}.{slug}.{self.key}"


@dataclass(frozen=True, slots=True)
class Past:
    """What a person did: `history` oldest first without what was dismissed since, and the keys by what was done."""

    history: list[Seen]
    kinds: Mapping[str, set[str]]

    def excluded(self, exclusions: Iterable[str]) -> set[str]:
        wanted = set(exclusions)
        return {
            key
            for key, kinds in self.kinds.items()
            if ("seen" in wanted and kinds - {"dismiss"})
            or ("bought" in wanted and "purchase" in kinds)
            or ("dismissed" in wanted and "dismiss" in kinds)
        }


def find_catalogue(slug: str = "") -> Catalogue:
    """The catalogue with this name, or the first one. Raises `NotFound`."""
    found = Catalogue.objects.filter(slug=slug) if slug else Catalogue.objects.order_by("id")
    catalogue = found.first()
    if catalogue is None:
        known = ", ".join(Catalogue.objects.values_list("slug", flat=True)[:20]) or "none"
        raise NotFound(f"There is no catalogue {slug!r}; known catalogues: {known}." if slug else "No catalogue yet.")
    return catalogue


def catalogue_of(person: Person) -> Catalogue:
    """Where this person was last; the first catalogue where nothing is known of them. Raises `NotFound`."""
    rows = Interaction.objects.filter(catalogue__in=Catalogue.objects.all(), **{person.column: person.key})
    newest = rows.order_by("-timestamp", "-event_id").select_related("catalogue").first()
    return newest.catalogue if newest else find_catalogue()


def catalogue_with(item_key: str) -> Catalogue:
    """The first catalogue that has this item, else the first one. Raises `NotFound`."""
    held = Catalogue.objects.filter(items__key=item_key, items__is_removed=False).order_by("id").first()
    return held or find_catalogue()


def catalogues() -> list[dict[str, Any]]:
    """Every catalogue with the number of its items, the default one first."""
    items = Count("items", filter=Q(items__is_removed=False))
    return [
        {"catalogue": slug, "title": title, "kind": kind, "items": count}
        for slug, title, kind, count in Catalogue.objects.order_by("id")
        .annotate(count=items)
        .values_list("slug", "title", "kind", "count")
    ]


def past(catalogue: Catalogue, person: Person | None) -> Past:
    """The newest interactions of a person, read from the rows."""
    if person is None:
        return Past([], {})
    rows = Interaction.objects.filter(catalogue=catalogue, **{person.column: person.key})
    newest = rows.order_by("-timestamp", "-event_id").values_list("item_key", "kind", "value", "timestamp")[:PAST]
    return past_of((key, kind, value, timestamp.timestamp()) for key, kind, value, timestamp in newest)


def past_of(newest_first: Iterable[tuple[str, str, float | None, float]]) -> Past:
    """A past from (item id, kind, value, Unix seconds). What was dismissed since counts no more."""
    now = time.time()
    kinds: dict[str, set[str]] = defaultdict(set)
    history: list[Seen] = []
    for key, kind, value, timestamp in newest_first:
        if kind != "dismiss" and "dismiss" not in kinds[key]:
            history.append(Seen(key, max(now - timestamp, 0.0), kind, value))
        kinds[key].add(kind)
    return Past(history[::-1], kinds)


def recommendations(
    catalogue: Catalogue,
    person: Person | None,
    k: int = 10,
    *,
    filters: Sequence[Filter] | None = None,
    exclude: Iterable[str] = EXCLUSIONS,
) -> dict[str, Any]:
    """What this person may want next: `{"items", "served_by", "release", "degraded", ...}`, best first.

    Somebody of whom nothing is known gets what is popular (`served_by` says so), then what is newest.
    """
    return recommendations_after(catalogue, past(catalogue, person), k, filters=filters, exclude=exclude)


def recommendations_after(
    catalogue: Catalogue,
    known: Past,
    k: int = 10,
    *,
    filters: Sequence[Filter] | None = None,
    exclude: Iterable[str] = EXCLUSIONS,
) -> dict[str, Any]:
    """The same for a past that is given, stored or not."""
    exclude = set(exclude)
    never = known.excluded(exclude & {"dismissed"})
    return _answer(catalogue, known, known.excluded(exclude), never, k, filters)


def similar(
    catalogue: Catalogue, item_key: str, k: int = 10, *, filters: Sequence[Filter] | None = None
) -> dict[str, Any]:
    """Items like this one, by their text and by what people chose together. Raises `NotFound`."""
    if not Item.objects.filter(catalogue=catalogue, key=item_key, is_removed=False).exists():
        raise NotFound(f"There is no item {item_key[:200]!r} in the catalogue {catalogue.slug!r}.")
    alike = Blend.from_json(catalogue.blend).without("popular")  # an item is not more alike for being popular
    return _answer(catalogue, Past([Seen(item_key)], {item_key: {ASKED}}), {item_key}, {item_key}, k, filters, alike)


def _answer(
    catalogue: Catalogue,
    known: Past,
    excluded: Set[str],
    never: Set[str],
    k: int,
    filters: Sequence[Filter] | None,
    blend: Blend | None = None,
) -> dict[str, Any]:
    """What is `excluded` is shown where there is nothing else, but for what may `never` be."""
    conditions = parse_filters(()) if filters is None else filters
    text = IndexText(catalogue.slug, conditions)
    allowed = AllowedItems(catalogue.pk, conditions)
    blend = blend or Blend.from_json(catalogue.blend)
    recommender = Recommender(RowStatistics(catalogue.pk), text, blend, graph_source(catalogue))
    ranked = recommender.recommend(known.history, k, exclude=excluded, allowed=allowed)
    keys = [each.key for each in ranked]
    missing = k - len(keys)
    newest = allowed.newest(missing, excluded | set(keys)) if missing > 0 else []
    if not keys and not newest and excluded:  # everything was seen: better shown again than nothing
        newest = allowed.newest(k, never)
    served_by = BLEND if any(each.because for each in ranked) else POPULAR if ranked else NEWEST
    return {
        "items": _items(catalogue, ranked, newest, known),
        "served_by": served_by,
        "release": text.release,
        "degraded": text.degraded,
        "catalogue": catalogue.slug,
        "history": len(known.history),
        "excluded": len(excluded),
    }


def _items(catalogue: Catalogue, ranked: Sequence[Ranked], newest: Sequence[str], known: Past) -> list[dict[str, Any]]:
    """The answer's items with what a page shows of them, and their reasons."""
    causes = {key for each in ranked for key, _, _ in each.because}
    shown = shown_items(catalogue, {*causes, *(each.key for each in ranked), *newest})
    titles = {key: row["title"] for key, row in shown.items()}
    kinds = {key: strongest(known.kinds[key]) for key in causes if key in known.kinds}
    linked = {(key, each.key) for each in ranked for key, channel, _ in each.because if channel == "graph"}
    links = links_between(catalogue, linked, titles) if linked else {}
    found = [
        shown[each.key] | {"score": round(each.score, 6), "reasons": reasons(each, titles, kinds, links)}
        for each in ranked
        if each.key in shown
    ]
    return found + [shown[key] | {"score": 0.0, "reasons": [newest_reason()]} for key in newest if key in shown]


def shown_items(catalogue: Catalogue, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What pages and answers show of items, by item id; removed ones are left out."""
    rows = Item.objects.filter(catalogue=catalogue, key__in=set(keys), is_removed=False).values_list(*SHOWN)
    return {
        key: {
            "item_id": key,
            "title": title,
            "category": category,
            "brand": brand,
            "price": price,
            "currency": currency,
            "available": available,
        }
        for key, title, category, brand, price, currency, available in rows
    }


def find_item(catalogue: Catalogue, item_key: str) -> dict[str, Any]:
    """Everything that is known of one item. Raises `NotFound`."""
    item = Item.objects.filter(catalogue=catalogue, key=item_key, is_removed=False).first()
    if item is None:
        raise NotFound(f"There is no item {item_key[:200]!r} in the catalogue {catalogue.slug!r}.")
    return shown_items(catalogue, [item_key]).get(item_key, {}) | {
        "description": item.description,
        "attributes": item.attributes,
        "created_at": item.created_at,
        "changed_at": item.changed_at,
    }


def search(catalogue: Catalogue, text: str, k: int = 20, *, filters: Sequence[Filter] | None = None) -> dict[str, Any]:
    """Items that match a typed text, by its words and by its meaning. Where the index is down, by words in titles."""
    conditions = parse_filters(()) if filters is None else filters
    query = Query(text=text, filters=(Term("catalogue", (catalogue.slug,)), *conditions), k=k)
    hits = index.search(COLLECTION, query)
    scores = {split_key(each.key)[1]: each.score for each in hits.candidates}
    served_by = "index"
    if not scores and hits.degraded:
        served_by = "titles"
        allowed = AllowedItems(catalogue.pk, conditions)
        titled = Item.objects.filter(catalogue=catalogue, title__icontains=text.strip(), is_removed=False)
        found = list(titled.order_by("-id").values_list("key", flat=True)[:500])
        permitted = allowed(found)
        scores = {key: 0.0 for key in found if key in permitted}
    shown = shown_items(catalogue, scores)
    return {
        "items": [shown[key] | {"score": round(score, 6)} for key, score in scores.items() if key in shown][:k],
        "served_by": served_by,
        "release": hits.release,
        "degraded": list(hits.degraded),
        "catalogue": catalogue.slug,
    }
