"""What comes in for commerce: items as they change, and what people do with them.

`validate_*` turn an envelope into the data to store, field by field, and touch no row of their own. The rows are
written by `services`, in the transaction that stores the events.
"""

from __future__ import annotations

import math
import time
from typing import Any

from domains.commerce import services
from domains.commerce.models import Catalogue, Interaction
from suite.domain import EventType
from suite.events.envelope import Envelope, Rejected, kind_of, parse_time, text_field

MAX_KEY = 200
MAX_DESCRIPTION = 20_000
MAX_ATTRIBUTES = 60
MAX_ATTRIBUTE_TEXT = 1_000
MAX_ATTRIBUTE_VALUES = 100
MAX_NUMBER = 1e15
KINDS = tuple(Interaction.Kind.values)
ITEM_FIELDS = frozenset(
    ("item_id", "title", "description", "category", "brand", "price", "currency", "available", "created_at")
)
INTERACTION_FIELDS = frozenset(("user_id", "item_id", "timestamp", "kind", "value", "session_id"))
LINK_FIELDS = ("head", "relation", "tail")
NOT_ATTRIBUTES = ITEM_FIELDS | {"catalogue", "attributes"}
KNOWN_SECONDS = 1.0  # how long names of catalogues may be remembered; an unknown name always looks again

_known: tuple[float, frozenset[str]] = (-math.inf, frozenset())


def validate_item(envelope: Envelope) -> dict[str, Any]:
    """The fields of `commerce.items`; what is left out is empty, what is not known becomes an attribute."""
    data = envelope.data
    created_at = data.get("created_at")
    return {
        "catalogue": catalogue_name(data),
        "item_id": text_field(data, "item_id", MAX_KEY, prefix="data."),
        "title": text_field(data, "title", 500, prefix="data."),
        "description": text_field(data, "description", MAX_DESCRIPTION, required=False, prefix="data."),
        "category": text_field(data, "category", 300, required=False, prefix="data."),
        "brand": text_field(data, "brand", 200, required=False, prefix="data."),
        "price": number(data, "price", low=0.0),
        "currency": currency(data),
        "available": boolean(data, "available", default=True),
        "created_at": None if created_at in (None, "") else parse_time(created_at, "data.created_at").isoformat(),
        "attributes": attributes(data),
    }


def validate_removal(envelope: Envelope) -> dict[str, Any]:
    return {
        "catalogue": catalogue_name(envelope.data),
        "item_id": text_field(envelope.data, "item_id", MAX_KEY, prefix="data."),
    }


def validate_interaction(envelope: Envelope) -> dict[str, Any]:
    """The fields of `commerce.interactions`. Somebody did it: a user, a session, or both."""
    data = envelope.data
    user = text_field(data, "user_id", MAX_KEY, required=False, prefix="data.")
    session = text_field(data, "session_id", MAX_KEY, required=False, prefix="data.")
    if not user and not session:
        raise Rejected("data.user_id", "is required where there is no session_id")
    kind = data.get("kind") or "view"
    if kind not in KINDS:
        raise Rejected("data.kind", f"must be one of {', '.join(KINDS)}")
    value = number(data, "value")
    if kind == "rating" and value is None:
        raise Rejected("data.value", "is required for a rating")
    timestamp = data.get("timestamp")
    return {
        "catalogue": catalogue_name(data),
        "user_id": user,
        "session_id": session,
        "item_id": text_field(data, "item_id", MAX_KEY, prefix="data."),
        "kind": kind,
        "value": value,
        "timestamp": None if timestamp in (None, "") else parse_time(timestamp, "data.timestamp").isoformat(),
    }


def validate_link(envelope: Envelope) -> dict[str, Any]:
    """The fields of `commerce.links`: a statement of the knowledge graph."""
    ends = {name: text_field(envelope.data, name, MAX_KEY, prefix="data.") for name in LINK_FIELDS}
    return {"catalogue": catalogue_name(envelope.data)} | ends


def catalogue_name(data: dict[str, Any]) -> str:
    """The named catalogue, empty for the first one. A name that is not known is a mistake, unless none exists yet."""
    global _known
    name = text_field(data, "catalogue", 60, required=False, prefix="data.")
    if not name:
        return ""
    read_at, names = _known
    if name not in names or time.monotonic() - read_at > KNOWN_SECONDS:
        names = frozenset(Catalogue.objects.values_list("slug", flat=True))
        _known = (time.monotonic(), names)
    if names and name not in names:
        raise Rejected("data.catalogue", f"is not known; known catalogues: {', '.join(sorted(names)[:20])}")
    if not services.is_slug(name):
        raise Rejected("data.catalogue", "may hold letters, digits, '-' and '_' only")
    return name


def number(data: dict[str, Any], name: str, low: float = -MAX_NUMBER) -> float | None:
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Rejected(f"data.{name}", f"must be a number, not {kind_of(value)}")
    if not low <= value <= MAX_NUMBER:  # false for NaN, too
        raise Rejected(f"data.{name}", f"must be a number from {low:g} to {MAX_NUMBER:g}")
    return float(value)


def boolean(data: dict[str, Any], name: str, *, default: bool) -> bool:
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise Rejected(f"data.{name}", f"must be true or false, not {kind_of(value)}")
    return value


def currency(data: dict[str, Any]) -> str:
    code = text_field(data, "currency", 3, required=False, prefix="data.").upper()
    if code and not (len(code) == 3 and code.isascii() and code.isalpha()):
        raise Rejected("data.currency", "must be a three-letter code (ISO 4217), such as EUR")
    return code


def attributes(data: dict[str, Any]) -> dict[str, Any]:
    """Fields that are not known, and those under `attributes`; nulls and empty texts are left out."""
    given = data.get("attributes")
    if given is not None and not isinstance(given, dict):
        raise Rejected("data.attributes", f"must be an object, not {kind_of(given)}")
    own = (given or {}) | {name: value for name, value in data.items() if name not in NOT_ATTRIBUTES}
    if len(own) > MAX_ATTRIBUTES:
        raise Rejected("data.attributes", f"are {len(own)}, the limit is {MAX_ATTRIBUTES}")
    checked = {}
    for name, value in own.items():
        if not name or len(name) > 60:
            raise Rejected("data.attributes", "have a name that is empty or longer than 60 characters")
        if name in NOT_ATTRIBUTES:
            raise Rejected(f"data.attributes.{name}", "is a field of the item, not an attribute")
        if value is not None and value != "":
            checked[name] = attribute(name, value)
    return checked


def attribute(name: str, value: object) -> Any:
    """A text, a number, true or false, or a list of texts and numbers."""
    field = f"data.{name}"
    if isinstance(value, list):
        if len(value) > MAX_ATTRIBUTE_VALUES:
            raise Rejected(field, f"is a list of {len(value):,}, the limit is {MAX_ATTRIBUTE_VALUES}")
        if any(isinstance(part, list | dict) or part is None for part in value):
            raise Rejected(field, "must be a list of texts or numbers")
        return [attribute(name, part) for part in value]
    if isinstance(value, dict):
        raise Rejected(field, "must be a text, a number, true, false or a list, not an object")
    if isinstance(value, str) and len(value) > MAX_ATTRIBUTE_TEXT:
        raise Rejected(field, f"is {len(value):,} characters long, the limit is {MAX_ATTRIBUTE_TEXT:,}")
    if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) <= MAX_NUMBER:
        raise Rejected(field, f"must be a number from {-MAX_NUMBER:g} to {MAX_NUMBER:g}")
    return value


TEXT: dict[str, Any] = {"type": "string"}
TIME: dict[str, Any] = {"type": ["string", "number"], "description": "ISO 8601, or Unix seconds"}
NAMES: dict[str, Any] = {"item_id": TEXT | {"maxLength": MAX_KEY}, "catalogue": TEXT | {"maxLength": 60}}
REMOVAL_SCHEMA = {"type": "object", "required": ["item_id"], "properties": NAMES}
ITEM_SCHEMA = {
    "type": "object",
    "required": ["item_id", "title"],
    "properties": NAMES
    | {
        "title": TEXT | {"maxLength": 500},
        "description": TEXT | {"maxLength": MAX_DESCRIPTION},
        "category": TEXT | {"maxLength": 300, "description": "levels joined by ' > '"},
        "brand": TEXT | {"maxLength": 200},
        "price": {"type": "number", "minimum": 0},
        "currency": TEXT | {"minLength": 3, "maxLength": 3},
        "available": {"type": "boolean", "default": True},
        "created_at": TIME,
    },
    "additionalProperties": {"description": "an attribute: text, number, true or false, or a list"},
}
INTERACTION_SCHEMA = {
    "type": "object",
    "required": ["item_id"],
    "anyOf": [{"required": ["user_id"]}, {"required": ["session_id"]}],
    "properties": NAMES
    | {
        "user_id": TEXT | {"maxLength": MAX_KEY},
        "session_id": TEXT | {"maxLength": MAX_KEY},
        "timestamp": TIME | {"description": "ISO 8601, or Unix seconds; default: the event's time"},
        "kind": {"enum": list(KINDS), "default": "view"},
        "value": {"type": "number", "description": "stars of a rating, quantity of a purchase"},
    },
}
LINK_SCHEMA = {
    "type": "object",
    "required": list(LINK_FIELDS),
    "properties": {name: TEXT | {"maxLength": MAX_KEY} for name in LINK_FIELDS} | {"catalogue": NAMES["catalogue"]},
    "description": "head and tail are item ids, or names of anything: book-7, author, Ada Lovelace",
}
EVENT_TYPES = {
    "commerce.item.changed": EventType(validate_item, services.record_items, True, ITEM_SCHEMA),
    "commerce.item.removed": EventType(validate_removal, services.record_removals, True, REMOVAL_SCHEMA),
    "commerce.interaction.recorded": EventType(
        validate_interaction, services.record_interactions, True, INTERACTION_SCHEMA
    ),
    "commerce.link.recorded": EventType(validate_link, services.record_links, False, LINK_SCHEMA),
}
