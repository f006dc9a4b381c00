"""Writes of commerce: catalogues, items and interactions, in few statements whatever the number of rows.

An item row shows its newest event by (time, source and id); an older one never overwrites a newer one, and a removal
is a row like any other, so events in any order and number end in the same rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from domains.commerce.models import Catalogue, Interaction, Item, Link
from suite.events.models import Event
from suite.events.rows import insert, upsert_newest

DEFAULT_CATALOGUE = "shop"
ROWS_A_STATEMENT = 1_000
Row = tuple[Any, ...]  # values of ITEM_COLUMNS
SLUG = re.compile(r"[-a-zA-Z0-9_]{1,60}\Z")
ITEM_COLUMNS = (
    "catalogue_id", "key", "title", "description", "category", "brand", "price", "currency", "is_available",
    "created_at", "attributes", "is_removed", "changed_at", "changed_by",
)  # fmt: skip
INTERACTION_COLUMNS = (
    "event_id", "catalogue_id", "user_key", "session_key", "item_key", "kind", "value", "timestamp",
)  # fmt: skip


def is_slug(name: str) -> bool:
    return SLUG.match(name) is not None


def ensure_catalogue(slug: str, *, title: str = "", kind: str = "products") -> Catalogue:
    """The catalogue of that name, made where it does not exist."""
    title = title or slug.replace("-", " ").replace("_", " ").capitalize()
    return Catalogue.objects.get_or_create(slug=slug, defaults={"title": title, "kind": kind})[0]


def catalogue_ids(names: Iterable[str]) -> dict[str, int]:
    """The id of each named catalogue, "" being the first one; a missing one is made."""
    ids: dict[str, int] = {}
    for slug, catalogue_id in Catalogue.objects.order_by("id").values_list("slug", "id"):
        ids.setdefault("", catalogue_id)
        ids[slug] = catalogue_id
    for name in sorted(set(names) - ids.keys(), reverse=True):  # "" last: a named one made here is then the first
        ids[name] = ids[""] if name == "" and "" in ids else ensure_catalogue(name or DEFAULT_CATALOGUE).pk
        ids.setdefault("", ids[name])
    return ids


def record_items(events: Sequence[Event]) -> None:
    ids = catalogue_ids(event.data["catalogue"] for event in events)
    rows = [_item_row(event, ids[event.data["catalogue"]]) for event in events]
    upsert_newest(Item, ITEM_COLUMNS, ITEM_COLUMNS[:2], rows)


def record_removals(events: Sequence[Event]) -> None:
    ids = catalogue_ids(event.data["catalogue"] for event in events)
    rows = [_removal_row(event, ids[event.data["catalogue"]]) for event in events]
    upsert_newest(Item, ITEM_COLUMNS, ITEM_COLUMNS[:2], rows)


def _item_row(event: Event, catalogue_id: int) -> Row:
    data = event.data
    created_at = data["created_at"]
    return (
        catalogue_id, data["item_id"], data["title"], data["description"], data["category"], data["brand"],
        data["price"], data["currency"], data["available"],
        datetime.fromisoformat(created_at) if created_at else None,
        json.dumps(data["attributes"], ensure_ascii=False), False, event.time, f"{event.source} {event.event_id}",
    )  # fmt: skip


def _removal_row(event: Event, catalogue_id: int) -> Row:
    """A tombstone: empty fields, so that it looks the same whether the item's older events came before or after."""
    name = f"{event.source} {event.event_id}"
    return (catalogue_id, event.data["item_id"], "", "", "", "", None, "", False, None, "{}", True, event.time, name)


def record_interactions(events: Sequence[Event]) -> None:
    ids = catalogue_ids(event.data["catalogue"] for event in events)
    insert(
        Interaction, INTERACTION_COLUMNS, [_interaction_row(event, ids[event.data["catalogue"]]) for event in events]
    )


def _interaction_row(event: Event, catalogue_id: int) -> Row:
    data = event.data
    timestamp = data["timestamp"]
    return (
        event.pk, catalogue_id, data["user_id"], data["session_id"], data["item_id"], data["kind"], data["value"],
        datetime.fromisoformat(timestamp) if timestamp else event.time,
    )  # fmt: skip


def record_links(events: Sequence[Event]) -> None:
    """Links are statements: one that comes again says nothing new."""
    ids = catalogue_ids(event.data["catalogue"] for event in events)
    names = {
        (ids[event.data["catalogue"]], event.data["head"], event.data["relation"], event.data["tail"])
        for event in events
    }
    rows = [
        Link(catalogue_id=catalogue_id, head=head, relation=relation, tail=tail)
        for catalogue_id, head, relation, tail in sorted(names)  # two transactions lock rows in the same order
    ]
    Link.objects.bulk_create(rows, ignore_conflicts=True, batch_size=ROWS_A_STATEMENT)
