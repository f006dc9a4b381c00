"""Files that become events of commerce: the plain formats, two public data sets, and the sample of this folder.

Each line gives the same event id every time, so a file that is loaded twice only finds duplicates.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from domains.commerce import online_retail, services
from domains.commerce.events import ITEM_FIELDS
from domains.commerce.models import Catalogue
from domains.commerce.sample.player import Player, read_items
from suite.formats import FormatError, Loader, LoadOptions, Problem, Record, open_bytes, read_records

NUMBERS = ("price", "value", "timestamp", "created_at")
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
INTERACTION_FIELDS = frozenset(("user_id", "item_id", "timestamp", "kind", "value", "session_id"))
SAMPLES = {  # catalogue: (its title, its kind, its items); the first one is the default catalogue
    "shop": ("Household shop", "products", "items.jsonl"),
    "zh": ("中文商店", "products", "items_zh.jsonl"),
    "articles": ("Magazine", "articles", "articles.jsonl"),
}


def into(catalogue: str, title: str, read: Callable[[Path, LoadOptions], Iterator[Record]]) -> Any:
    """The reader for a data set that has a catalogue of its own, unless the user names one."""

    def reading(path: Path, options: LoadOptions) -> Iterator[Record]:
        own = replace(options, catalogue=ready_catalogue(options, catalogue, title))
        yield from read(path, own)

    return reading


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
    """`commerce.items`. Of several lines for one item the last one holds."""
    started = datetime.now(UTC)
    catalogue = ready_catalogue(options)
    for found in read_records(path, options):
        if isinstance(found, Problem):
            yield found
            continue
        number, record = found
        data = {"catalogue": catalogue} | (record if path.name.endswith((".jsonl", ".jsonl.gz")) else typed(record))
        name = f"{catalogue} {text_of(record, 'item_id')} {digest(record)}"
        yield event(name, "commerce.item.changed", data, started + timedelta(microseconds=number))


def read_interaction_file(path: Path, options: LoadOptions) -> Iterator[Record]:
    """`commerce.interactions`. The time is required here: a file says what happened, not what happens."""
    catalogue = ready_catalogue(options)
    for found in read_records(path, options):
        if isinstance(found, Problem):
            yield found
            continue
        number, record = found
        for name in record.keys() - INTERACTION_FIELDS:
            options.unknown_field(name)
        if record.get("timestamp") in (None, ""):
            yield Problem(number, "has no timestamp")
            continue
        known = {name: record[name] for name in INTERACTION_FIELDS & record.keys()}
        data = {"catalogue": catalogue} | (known if path.name.endswith((".jsonl", ".jsonl.gz")) else typed(known))
        yield event(f"{catalogue} {number} {digest(known)}", "commerce.interaction.recorded", data)


def typed(record: dict[str, Any]) -> dict[str, Any]:
    """A csv record with its numbers, and what is true or false, as such; attributes that look like numbers are."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if name == "available" and isinstance(value, str):
            found[name] = BOOLEANS.get(value.strip().lower(), value)
        elif isinstance(value, str) and (name in NUMBERS or name not in ITEM_FIELDS | INTERACTION_FIELDS):
            found[name] = number_or_text(value)
        else:
            found[name] = value
    return found


def number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def text_of(record: dict[str, Any], name: str) -> str:
    return str(record.get(name, ""))[:100]


def digest(record: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=8).hexdigest()


def event(name: str, kind: str, data: dict[str, Any], time: datetime | None = None) -> Record:
    when = {"time": time.isoformat()} if time else {}
    return {"id": name, "source": "file", "type": kind, "data": data} | when


def read_movielens(folder: Path, options: LoadOptions) -> Iterator[Record]:
    """A folder with RecBole's atomic files: NAME.item (optional) and NAME.inter."""
    inter = sorted(folder.glob("*.inter")) if folder.is_dir() else []
    if len(inter) != 1:
        raise FormatError(f"{folder}: must be a folder with one .inter file, it has {len(inter)}")
    titles = inter[0].with_suffix(".item")
    for number, row in atomic_rows(titles, options) if titles.exists() else ():
        title = next((value for name, value in row.items() if "title" in name and value), "")
        genres = row.get("class") or row.get("genre") or ""
        own = {name: number_or_text(row[name]) for name in row if name in {"release_year", "year"} and row[name]}
        data: dict[str, Any] = {
            "catalogue": options.catalogue,
            "item_id": row.get("item_id", ""),
            "title": title or row.get("item_id", ""),
            "category": genres.replace("|", " ").split(" ")[0],
            "genres": genres.replace("|", " ").split(),
        }
        yield event(f"{options.catalogue} item {number} {digest(row)}", "commerce.item.changed", data | own)
    for number, row in atomic_rows(inter[0], options):
        try:
            value, time = float(row["rating"]) if row.get("rating") else None, float(row["timestamp"])
        except (KeyError, ValueError):
            yield Problem(number, "has a rating or timestamp that is not a number")
            continue
        data = {
            "catalogue": options.catalogue,
            "user_id": row.get("user_id", ""),
            "item_id": row.get("item_id", ""),
            "kind": "view" if value is None else "rating",
            "value": value,
            "timestamp": time,
        }
        yield event(f"{options.catalogue} {number} {digest(row)}", "commerce.interaction.recorded", data)


def atomic_rows(path: Path, options: LoadOptions) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a RecBole file: tab-separated, a header of `name:type`."""
    try:
        with open_bytes(path, options) as file:
            lines = csv.reader(
                (line.decode("utf-8", "replace") for line in file), delimiter="\t", quoting=csv.QUOTE_NONE
            )
            header = [name.split(":")[0] for name in next(lines, [])]
            for number, cells in enumerate(lines, start=2):
                yield number, dict(zip(header, cells, strict=False))
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error


def read_sample(folder: Path, options: LoadOptions) -> Iterator[Record]:
    """The catalogues of the sample folder, and what its people did in the last month."""
    cast = json.loads((folder / "personas.json").read_text(encoding="utf-8"))
    now = datetime.now(UTC)
    for catalogue, (title, kind, name) in SAMPLES.items():
        if not options.is_dry:
            services.ensure_catalogue(catalogue, title=title, kind=kind)
        items = read_items(folder / name)
        options.on_bytes((folder / name).stat().st_size)
        for item in items:
            created = {"time": item["created_at"]} if item.get("created_at") else {}
            data = {"catalogue": catalogue} | item
            yield {
                "id": f"item {item['item_id']}",
                "source": "sample",
                "type": "commerce.item.changed",
                "data": data,
            } | created
        for number, action in enumerate(Player(items, cast[catalogue]).history(now)):
            if action.time <= now:
                data = {"catalogue": catalogue} | action.data()
                yield {
                    "id": f"{catalogue} {number}",
                    "source": "sample",
                    "type": "commerce.interaction.recorded",
                    "time": action.time.isoformat(),
                    "data": data,
                }


LOADERS = {
    "commerce.items": Loader(read_item_file, "items: .jsonl or .csv, also .gz"),
    "commerce.interactions": Loader(read_interaction_file, "what people did with items: .jsonl or .csv, also .gz"),
    "online-retail": Loader(
        into("online-retail", "Online retail", online_retail.read), "order lines of UCI Online Retail: .csv, also .gz"
    ),
    "movielens": Loader(
        into("movielens", "MovieLens", read_movielens), "a folder with RecBole's .inter and .item", takes_folder=True
    ),
    "sample": Loader(read_sample, "this project's own sample data: a folder", takes_folder=True),
}
