"""The envelope of an event: CloudEvents 1.0, parsed and checked. Pure: it touches no database."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

MAX_ID = 200
MAX_DEPTH = 20
FIT_NAME = re.compile(r"[\w-]{1,40}\Z")  # of a field, to be shown to whom sent it
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class Rejected(Exception):
    """An event that cannot be taken: `field` names the place, `reason` says what is wrong and what would be right."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Envelope:
    """One checked event, not stored yet. `time` is None where the sender gave none."""

    id: str
    source: str
    type: str
    data: dict[str, Any]
    subject: str = ""
    time: datetime | None = None


def parse(item: object) -> Envelope:
    """The envelope of one decoded JSON value. Raises `Rejected`."""
    if isinstance(item, Rejected):  # it was found bad before it came here
        raise item
    if not isinstance(item, dict):
        raise Rejected("event", f"must be a JSON object, not {kind_of(item)}")
    version = item.get("specversion", "1.0")
    if version != "1.0":
        raise Rejected("specversion", "must be '1.0'")
    data = item.get("data")
    if data is None and "data_base64" in item:
        raise Rejected("data_base64", "is not taken; send the data as a JSON object in `data`")
    if not isinstance(data, dict):
        raise Rejected("data", f"must be a JSON object, not {kind_of(data)}")
    check_size(data)
    return Envelope(
        id=text_field(item, "id", MAX_ID),
        source=text_field(item, "source", MAX_ID),
        type=text_field(item, "type", MAX_ID),
        subject=text_field(item, "subject", MAX_ID, required=False),
        time=parse_time(item["time"], "time") if item.get("time") is not None else None,
        data=data,
    )


def text_field(item: dict[str, Any], name: str, limit: int, *, required: bool = True, prefix: str = "") -> str:
    """A text of at most `limit` characters that a database can store. Raises `Rejected` with the field's name."""
    value = item.get(name)
    field = prefix + name
    if value is None or value == "":
        if required:
            raise Rejected(field, "is required")
        return ""
    if not isinstance(value, str):
        raise Rejected(field, f"must be a text, not {kind_of(value)}")
    if len(value) > limit:
        raise Rejected(field, f"is {len(value):,} characters long, the limit is {limit:,}")
    if "\x00" in value or (not value.isprintable() and has_surrogate(value)):
        raise Rejected(field, "holds a NUL or a lone surrogate, which cannot be stored")
    return value


def has_surrogate(value: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in value)


def parse_time(value: object, field: str) -> datetime:
    """An aware time from ISO 8601 (no offset means UTC) or Unix seconds. Raises `Rejected`."""
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, int | float):
            if not math.isfinite(value):
                raise ValueError
            time = EARLIEST + timedelta(seconds=value)
        elif isinstance(value, str) and len(value) <= 40:
            time = datetime.fromisoformat(value)
        else:
            raise ValueError
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        time = time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Rejected(field, "must be ISO 8601 (2026-01-31T12:00:00Z) or Unix seconds") from None
    if time < EARLIEST:
        raise Rejected(field, "must not be before 1970")
    return time


def check_size(data: dict[str, Any]) -> None:
    """Raises `Rejected` where `data` is too deep, too large, or holds what a database cannot store."""
    if depth_of(data) > MAX_DEPTH:
        raise Rejected("data", f"is nested deeper than {MAX_DEPTH} levels")
    try:
        encoded = json.dumps(data, ensure_ascii=False, allow_nan=False)
        size = len(encoded.encode())
    except UnicodeEncodeError:
        raise Rejected(place_of(data, is_broken) or "data", "holds a lone surrogate, which is not text") from None
    except ValueError:
        endless = place_of(data, is_endless) or "data"
        raise Rejected(endless, "holds NaN or an infinite number, which is not JSON") from None
    if size > settings.MAX_EVENT_BYTES:
        raise Rejected("data", f"is {size:,} bytes, the limit is {settings.MAX_EVENT_BYTES:,}")
    if "\\u0000" in encoded and (place := place_of(data, holds_nul)):
        raise Rejected(place, "holds a NUL character, which cannot be stored")


def holds_nul(value: object) -> bool:
    return isinstance(value, str) and "\x00" in value


def is_broken(value: object) -> bool:
    return isinstance(value, str) and has_surrogate(value)


def is_endless(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def place_of(value: object, is_bad: Callable[[object], bool], place: str = "data") -> str | None:
    """Where the first bad value stands, such as `data.lines.0.text`; where a name is bad, or not fit to be shown, what
    holds it. The depth of the value is checked already.
    """
    if is_bad(value):
        return place
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        if is_bad(name):
            return place
        if found := place_of(child, is_bad, f"{place}.{name}" if FIT_NAME.match(str(name)) else place):
            return found
    return None


def depth_of(value: object) -> int:
    """Levels of nesting, found without recursion; stops counting just past the limit."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        depth += 1
    return depth


def kind_of(value: object) -> str:
    """The JSON name of a value's type, for messages that must not quote the value."""
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), "an object")
