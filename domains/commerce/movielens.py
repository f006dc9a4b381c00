"""RecBole's atomic files (MovieLens and many other data sets) as events."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domains.commerce.plain_files import digest, event, number_or_text
from suite.formats import FormatError, LoadOptions, Problem, Record, Skipped, open_bytes


def read_movielens(folder: Path, options: LoadOptions) -> Iterator[Record]:
    """A folder with RecBole's atomic files: NAME.inter, and where they are there NAME.item, NAME.kg and NAME.link."""
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
    yield from read_links(inter[0].with_suffix(".kg"), inter[0].with_suffix(".link"), options)


def read_links(graph: Path, items: Path, options: LoadOptions) -> Iterator[Record]:
    """The knowledge graph, its entities named by the item that they are. Links that touch no item are left out."""
    if not graph.exists() or not items.exists():
        return
    item_of = {row.get("entity_id", ""): row.get("item_id", "") for _, row in atomic_rows(items, options)}
    for _, row in atomic_rows(graph, options):
        head, relation, tail = (row.get(name, "") for name in ("head_id", "relation_id", "tail_id"))
        if head not in item_of and tail not in item_of:
            yield Skipped("a link between two things that are no items")
            continue
        link = {"head": item_of.get(head, head), "relation": relation, "tail": item_of.get(tail, tail)}
        name = f"{options.catalogue} {digest(link)}"
        yield event(name, "commerce.link.recorded", {"catalogue": options.catalogue} | link)


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
