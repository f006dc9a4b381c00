"""Articles for the tests of finance, as a sender would write them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from suite.events.handling import handle_pending
from suite.events.ingestion import Result, ingest

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # a Monday
_numbers = itertools.count()


def article(title: str, minute: float = 0.0, *, id: str = "", key: str = "", **more: Any) -> dict[str, Any]:
    """One `finance.article.published`, some minutes after START; it and its article are new unless named."""
    number = next(_numbers)
    data = {
        "article_id": key or f"a{number}",
        "title": title,
        "published_at": (START + timedelta(minutes=minute)).isoformat(),
    } | more
    return {
        "id": id or f"e{number}",
        "source": "tests",
        "type": "finance.article.published",
        "time": data["published_at"],
        "data": data,
    }


def take(*events: dict[str, Any]) -> list[Result]:
    """Ingest and handle; everything must be accepted or known already."""
    results = ingest(list(events))
    assert not [result for result in results if result.status == "rejected"], results
    handle_pending()
    return results
