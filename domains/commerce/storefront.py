"""What the storefront reads beside the answers of `selectors`: pages of items, categories, what a person did."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q

from domains.commerce.models import Catalogue, Interaction, Item
from domains.commerce.selectors import Past, Person, shown_items

PAGE_ITEMS = 24
CATEGORY_SECONDS = 10.0  # how long counted categories may be remembered
RECENT = 20

_categories: dict[int, tuple[float, list[tuple[str, int]]]] = {}


@dataclass(frozen=True, slots=True)
class Done:
    """One thing a person did, as the page tells it. `event_id` is the event's id, by which a page finds its click."""

    event_id: str
    item: dict[str, Any]
    kind: str
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Page:
    items: list[dict[str, Any]]
    next: int  # number of the next page; 0 where this is the last


def browse(catalogue: Catalogue, category: str, number: int) -> Page:
    """A page of the catalogue's items, newest first, of one category and those below it."""
    rows = Item.objects.filter(catalogue=catalogue, is_removed=False)
    if category:
        rows = rows.filter(Q(category=category) | Q(category__startswith=f"{category} > "))
    start = (number - 1) * PAGE_ITEMS
    keys = list(rows.order_by("-id").values_list("key", flat=True)[start : start + PAGE_ITEMS + 1])
    shown = shown_items(catalogue, keys[:PAGE_ITEMS])
    items = [shown[key] for key in keys[:PAGE_ITEMS] if key in shown]
    return Page(items, number + 1 if len(keys) > PAGE_ITEMS else 0)


def categories(catalogue: Catalogue) -> list[tuple[str, int]]:
    """(first level, number of items), the largest first; counted at most every ten seconds."""
    counted_at, found = _categories.get(catalogue.pk, (0.0, []))
    if not found or time.monotonic() - counted_at > CATEGORY_SECONDS:
        counts: Counter[str] = Counter()
        rows = Item.objects.filter(catalogue=catalogue, is_removed=False).exclude(category="")
        for category, count in rows.values_list("category").annotate(Count("id")).order_by():
            counts[category.split(" > ")[0]] += count
        found = counts.most_common()
        _categories[catalogue.pk] = (time.monotonic(), found)
    return found


def recent(catalogue: Catalogue, person: Person) -> list[Done]:
    """The newest things a person did, newest first; an item that is gone is shown by its id."""
    rows = Interaction.objects.filter(catalogue=catalogue, **{person.column: person.key})
    newest = rows.order_by("-timestamp", "-event_id").values_list("event__event_id", "item_key", "kind", "timestamp")
    done = list(newest[:RECENT])
    shown = shown_items(catalogue, [key for _, key, _, _ in done])
    return [
        Done(event_id, shown.get(key) or {"item_id": key, "title": key, "category": ""}, kind, timestamp)
        for event_id, key, kind, timestamp in done
    ]


def left_out(known: Past) -> list[tuple[int, str]]:
    """(number of items, why) of what a person's list leaves out, each item counted once."""
    bought = known.excluded(["bought"])
    dismissed = known.excluded(["dismissed"]) - bought
    seen = known.excluded(["seen"]) - bought - dismissed
    reasons = ((bought, "bought before"), (dismissed, "you said “not for me”"), (seen, "seen before"))
    return [(len(keys), reason) for keys, reason in reasons if keys]


def in_cart(known: Past) -> set[str]:
    """Items put in the cart and not bought since: the rows do not say when, so a purchase of the item ends it."""
    return {key for key, kinds in known.kinds.items() if "cart" in kinds and "purchase" not in kinds}
