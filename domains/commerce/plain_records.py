"""Records of the plain formats as evaluation and training take them: an interaction's columns, an item's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from domains.commerce.documents import text_of
from domains.commerce.events import NOT_ATTRIBUTES
from domains.commerce.recommender.log import KINDS
from suite.events.envelope import Rejected, parse_time

Row = tuple[str, str, float, str, float | None]  # user, item, Unix seconds, kind, value


def interaction_row(record: Mapping[str, Any]) -> Row:
    """The columns of an interaction. Raises `KeyError` and `ValueError`."""
    user = str(record.get("user_id") or "") or str(record.get("session_id") or "")
    item, kind, stamp = str(record["item_id"]), str(record.get("kind") or "view"), record["timestamp"]
    if not user or not item:
        raise ValueError("user_id and item_id are required")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    try:
        seconds = float(stamp)
    except (TypeError, ValueError):
        seconds = seconds_of(stamp)
    if not np.isfinite(seconds):
        raise ValueError("timestamp must be finite")
    return user, item, seconds, kind, float(record["value"]) if record.get("value") not in (None, "") else None


def seconds_of(stamp: object) -> float:
    try:
        return parse_time(stamp, "timestamp").timestamp()
    except Rejected as error:
        raise ValueError(f"timestamp {error.reason}") from None


def encoded_text(item: Mapping[str, Any]) -> str:
    """Title and text as `suite.index.vectors.encoded_text` joins them."""
    row = {name: str(item.get(name) or "") for name in ("category", "brand", "description")}
    own = {name: value for name, value in item.items() if name not in NOT_ATTRIBUTES}
    attributes = (item.get("attributes") or {}) | own
    return f"{item.get('title') or ''}\n{text_of(row | {'attributes': attributes})}".strip()
