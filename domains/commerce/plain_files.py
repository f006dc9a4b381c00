"""The plain formats of commerce as events: one record a line, `.jsonl` or `.csv`, also `.gz`.

Each line gives the same event id every time, so a file that is loaded twice only finds duplicates. An item is a state
and not a happening: where its row shows something else meanwhile, the file's line is news once more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from domains.commerce import services
from domains.commerce.events import INTERACTION_FIELDS, ITEM_FIELDS, LINK_FIELDS
from domains.commerce.models import Catalogue, Item
from suite.formats import (
    EventOfLine,
    FormatError,
    LoadOptions,
    Problem,
    Record,
    Skipped,
    read_records,
    unix_or_text,
    with_texts,
)

SOURCE = "file"
TIMES = ("timestamp", "created_at")
NUMBERS = ("price", "value", *TIMES)
NAMES = ("item_id", "user_id", "session_id", *LINK_FIELDS)  # which may be numbers in a JSON file
LARGEST = 2**53  # up to which every whole number is a float
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
TEXTS = ITEM_FIELDS | INTERACTION_FIELDS | set(LINK_FIELDS)  # but for the numbers; other fields are what they look like
AT_ONCE = 500  # items whose rows are looked at together
Line = tuple[int, dict[str, Any]]


def ready_catalogue(options: LoadOptions, default: str = "", title: str = "") -> str:
    """The name of the catalogue to load into, made where it is not there; empty for the first one."""
    name = options.catalogue or default
    if name and not services.is_slug(name):
        raise FormatError(f"catalogue {name!r}: letters, digits, '-' and '_' only, at most 60")
    if name and not options.is_dry:
        services.ensure_catalogue(name, title="" if options.catalogue else title)
    if name and options.is_dry and not Catalogue.objects.filter(slug=name).exists():
        return ""  # nothing is stored, so any catalogue will do for the check
    return name


def read_item_file(path: Path, options: LoadOptions) -> Iterator[Record]:
    """`commerce.items`. Of several lines for one item the last one holds. The file is read twice."""
    started = datetime.now(UTC)
    catalogue = ready_catalogue(options)
    last = {item_id(found[1]): found[0] for found in read_records(path) if not isinstance(found, Problem)}
    waiting: list[Line] = []
    for found in lines(path, options):
        if isinstance(found, Problem):
            yield found
        elif item_id(found[1]) and last[item_id(found[1])] != found[0]:
            yield Skipped("a later line is about the same item")
        else:
            waiting.append(found)
        if len(waiting) == AT_ONCE:
            yield from item_events(waiting, catalogue, started)
            waiting = []
    yield from item_events(waiting, catalogue, started)


def item_events(found: Sequence[Line], catalogue: str, started: datetime) -> Iterator[Record]:
    """The events of different items, later lines being newer."""
    first = Catalogue.objects.order_by("id").values_list("slug", flat=True).first()
    rows = Item.objects.filter(catalogue__slug=catalogue or first, key__in=[item_id(record) for _, record in found])
    shown = dict(rows.values_list("key", "changed_by"))
    for number, record in found:
        name = f"{catalogue} {item_id(record)[:90]} {digest(record)}"
        shows = shown.get(item_id(record), "").removeprefix(f"{SOURCE} ")
        if shows.startswith(f"{name} after "):  # this very line came back to an item, and still holds
            name = shows
        elif shows not in ("", name):
            name = f"{name} after {digest(shows)}"
        data = {"catalogue": catalogue} | record
        changed = event(name, "commerce.item.changed", data, started + timedelta(microseconds=number))
        yield EventOfLine(number, changed)


def read_interaction_file(path: Path, options: LoadOptions) -> Iterator[Record]:
    """`commerce.interactions`. The time is required here: a file says what happened, not what happens."""
    catalogue = ready_catalogue(options)
    for found in lines(path, options, INTERACTION_FIELDS):
        if isinstance(found, Problem):
            yield found
        elif found[1].get("timestamp") in (None, ""):
            yield Problem(found[0], "has no timestamp")
        else:
            name = f"{catalogue} {found[0]} {digest(found[1])}"
            recorded = event(name, "commerce.interaction.recorded", {"catalogue": catalogue} | found[1])
            yield EventOfLine(found[0], recorded)


def read_link_file(path: Path, options: LoadOptions) -> Iterator[Record]:
    """`commerce.links`. A link that is stated twice is one event."""
    catalogue = ready_catalogue(options)
    for found in lines(path, options, frozenset(LINK_FIELDS)):
        if isinstance(found, Problem):
            yield found
        else:
            data = {"catalogue": catalogue} | found[1]
            recorded = event(f"{catalogue} {digest(found[1])}", "commerce.link.recorded", data)
            yield EventOfLine(found[0], recorded)


def lines(path: Path, options: LoadOptions, fields: frozenset[str] | None = None) -> Iterator[Line | Problem]:
    """(line number, record) of every line, cells of csv typed; other fields than `fields` are reported and left out."""
    is_typed = path.name.endswith((".jsonl", ".jsonl.gz"))
    for found in read_records(path, options):
        if isinstance(found, Problem):
            yield found
            continue
        number, record = found
        for name in record.keys() - fields if fields is not None else ():
            options.unknown_field(name)
        known = {name: value for name, value in record.items() if fields is None or name in fields}
        known = with_texts(known if is_typed else typed(known), NAMES)
        yield number, known | {name: unix_or_text(known[name]) for name in TIMES if name in known}


def typed(record: dict[str, Any]) -> dict[str, Any]:
    """A csv record with its numbers, and what is true or false, as such; attributes that look like numbers are."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if name == "available" and isinstance(value, str):
            found[name] = BOOLEANS.get(value.strip().lower(), value)
        elif isinstance(value, str) and name not in TIMES and (name in NUMBERS or name not in TEXTS):
            found[name] = number_or_text(value)
        else:
            found[name] = value
    return found


def number_or_text(text: str) -> float | str:
    """The number that a cell holds; what would be another as a number (00123, 1_000, inf, a long id) stays text."""
    try:
        number = float(text)
    except ValueError:
        return text
    is_name = "_" in text or (text[:1] == "0" and text[1:2].isdigit()) or not abs(number) <= LARGEST
    return text if is_name else number


def item_id(record: dict[str, Any]) -> str:
    return "" if record.get("item_id") is None else str(record["item_id"])


def digest(value: object) -> str:
    """16 hex digits of a record or a text."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def event(name: str, kind: str, data: dict[str, Any], time: datetime | None = None) -> dict[str, Any]:
    when = {"time": time.isoformat()} if time else {}
    return {"id": name, "source": SOURCE, "type": kind, "data": data} | when
