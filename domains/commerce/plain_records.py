"""Records of the plain formats as evaluation and training take them: an interaction's columns, an item's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from domains.commerce.documents import text_of
from domains.commerce.events import NOT_ATTRIBUTES
from domains.commerce.recommender.log import KINDS
from suite.events.envelope import Rejected, parse_time
from suite.formats import unix_or_text

Row = tuple[str, str, float, str, float | None]  # user, item, Unix seconds, kind, value


def interaction_row(record: Mapping[str, Any]) -> Row:
    """The columns of an interaction. Raises `KeyError` and `ValueError`."""
    user = key_of(record.get("user_id")) or key_of(record.get("session_id"))
    item, kind = key_of(record["item_id"]), str(record.get("kind") or "view")
    stamp = unix_or_text(record["timestamp"])
    if not user or not item:
        raise ValueError("user_id and item_id are required")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}")
    seconds = float(stamp) if isinstance(stamp, int | float) else seconds_of(stamp)
    if not np.isfinite(seconds):
        raise ValueError("timestamp must be finite")
    return user, item, seconds, kind, float(record["value"]) if record.get("value") not in (None, "") else None


def key_of(value: object) -> str:
    """A user's or an item's name, which may be a number, 0 even; "" where there is none."""
    return "" if value is None else str(value)


def item_record(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The item, where its text can be made. Raises `KeyError` and `ValueError`."""
    if not key_of(record["item_id"]):
        raise ValueError("item_id is required")
    if not isinstance(record.get("title") or "", str):
        raise ValueError("title must be a text")
    if not isinstance(record.get("attributes") or {}, Mapping):
        raise ValueError("attributes must be an object")
    return record


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
