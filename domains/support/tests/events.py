"""Events for the tests of support, as a sender would write them."""

from __future__ import annotations

import itertools
from typing import Any

from suite.events.ingestion import Result, ingest

_numbers = itertools.count()


def event(kind: str, data: dict[str, Any], *, id: str = "", minute: int = 0) -> dict[str, Any]:
    """One CloudEvent of type `support.<kind>`; its id is new unless one is given."""
    return {
        "id": id or f"e{next(_numbers)}",
        "source": "tests",
        "type": f"support.{kind}",
        "time": f"2026-01-01T12:{minute:02}:00Z",
        "data": data,
    }


def answer(key: str, text: str, title: str = "", **more: Any) -> dict[str, Any]:
    minute = more.pop("minute", 0)
    return event("answer.changed", {"answer_id": key, "title": title, "text": text} | more, minute=minute)


def message(text: str, conversation: str = "c", id: str = "", minute: int = 0, **more: Any) -> dict[str, Any]:
    name = id or f"m{next(_numbers)}"
    data = {"conversation_id": conversation, "message_id": name, "text": text} | more
    return event("message.received", data, id=f"{conversation} {name}", minute=minute)


def state(value: str, conversation: str = "c", minute: int = 0) -> dict[str, Any]:
    return event("conversation.changed", {"conversation_id": conversation, "state": value}, minute=minute)


def take(*events: dict[str, Any]) -> list[Result]:
    """Ingest, and insist that all is well."""
    results = ingest(events)
    assert {result.status for result in results} <= {"accepted", "duplicate"}, results
    return results
