"""Two public data sets as labelled texts: SEntFiN, and the Twitter financial topics. Nothing of them is kept here."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from domains.finance.news import directory
from suite.formats import FormatError, LoadOptions, Problem, Record, Skipped, read_records

DECISION = re.compile(r"""['"](.+?)['"]: '(negative|neutral|positive)'(?=, ['"]|\})""")
TOPIC_NAME = re.compile(r'"LABEL_(\d+)":\s*"([^"]+)"')


def read_sentfin(path: Path, options: LoadOptions) -> Iterator[Record]:
    """A folder with sentfin.csv and entities.csv, or the first of them alone."""
    names = (path / "entities.csv") if path.is_dir() else path.with_name("entities.csv")
    if names.is_file() and not options.is_dry:
        directory.write_entities(sentfin_entities(names))
    for found in read_records(path / "sentfin.csv" if path.is_dir() else path, options):
        if isinstance(found, Problem):
            yield found
            continue
        number, record = found
        text, decided = str(record.get("Title") or ""), decisions(record.get("Decisions"))
        if not text or not decided:
            yield Problem(number, "has no Title or no Decisions")
        for name, label in decided.items():
            if name in text:
                yield labelled("finance.sentiment.labelled", {"text": text, "entity": name, "label": label})
            else:
                yield Skipped("the headline does not hold the judged name")


def decisions(value: Any) -> dict[str, str]:
    """A dict of name to leaning, as it is or as Python's text of it; names may hold quotes that nobody escaped."""
    if isinstance(value, dict):
        return {str(name): str(label) for name, label in value.items()}
    return dict(DECISION.findall(str(value or "")))


def sentfin_entities(path: Path) -> Iterator[dict[str, Any]]:
    """Symbols with their names; a company's long name comes first in its cell."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            names = [name.strip() for name in (row.get("Entity") or "").split(",") if name.strip()]
            symbol = (row.get("Symbol") or "").strip()
            if symbol and names:
                aliases = [name[:200] for name in names]
                yield {"symbol": symbol[:60], "name": names[0][:200], "kind": "other", "aliases": aliases}


def read_twitter_topics(path: Path, options: LoadOptions) -> Iterator[Record]:
    """A folder with train.csv and dataset_card.md, which names the topics; or the csv file."""
    card = (path if path.is_dir() else path.parent) / "dataset_card.md"
    names = dict(TOPIC_NAME.findall(card.read_text(encoding="utf-8"))) if card.is_file() else {}
    file = path / "train.csv" if path.is_dir() else path
    if not file.is_file():
        raise FormatError(f"{file}: there is no such file")
    for found in read_records(file, options):
        if isinstance(found, Problem):
            yield found
            continue
        number, record = found
        text, label = str(record.get("text") or ""), str(record.get("label") or "")
        if not text or not label:
            yield Problem(number, "has no text or no label")
            continue
        yield labelled("finance.topic.labelled", {"text": text, "label": names.get(label, label)})


def labelled(kind: str, data: dict[str, str]) -> dict[str, Any]:
    digest = hashlib.blake2b("\0".join(data.values()).encode(), digest_size=12).hexdigest()
    return {"id": digest, "source": "file", "type": kind, "data": data}
