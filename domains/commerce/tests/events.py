"""Events for the tests of commerce, as a sender would write them."""

from __future__ import annotations

import itertools
from typing import Any

from suite.events.ingestion import Result, ingest

_numbers = itertools.count()


def event(
    kind: str, data: dict[str, Any], *, id: str = "", time: str | None = "2026-01-01T12:00:00Z"
) -> dict[str, Any]:
    """One CloudEvent of type `commerce.<kind>`; its id is new unless one is given."""
    envelope = {
        "specversion": "1.0",
        "id": id or f"e{next(_numbers)}",
        "source": "tests",
        "type": f"commerce.{kind}",
        "data": data,
    }
    return envelope | ({"time": time} if time else {})


def item(item_id: str = "board", title: str = "Oak chess board", **more: Any) -> dict[str, Any]:
    return event("item.changed", {"item_id": item_id, "title": title} | more)


def did(item_id: str, user: str = "ann", kind: str = "view", **more: Any) -> dict[str, Any]:
    return event("interaction.recorded", {"user_id": user, "item_id": item_id, "kind": kind} | more)


def take(*events: dict[str, Any]) -> list[Result]:
    """Ingest, and insist that all is well."""
    results = ingest(events)
    assert {result.status for result in results} <= {"accepted", "duplicate"}, results
    return results
