"""What `manage.py load` can read for finance, and the live stream of `manage.py play`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from domains.finance.events import ARTICLE_FIELDS, SENTIMENT_FIELDS, TOPIC_FIELDS
from domains.finance.news import directory
from domains.finance.public_data import read_sentfin, read_twitter_topics
from domains.finance.sample.stream import LIVE as LIVE
from domains.finance.sample.stream import read_sample
from suite.events.envelope import Rejected, parse_time
from suite.formats import (
    EventOfLine,
    Loader,
    LoadOptions,
    Problem,
    Record,
    Skipped,
    read_records,
    unix_or_text,
    with_texts,
)

SOURCE = "file"
NAMES = ("article_id", "label")  # which may be numbers in a JSON file


def read_lines(kind: str, fields: frozenset[str], path: Path, options: LoadOptions) -> Iterator[Record]:
    """Every line as an event of that kind; the same line gives the same id every time."""
    for found in read_records(path, options):
        if isinstance(found, Problem):
            yield found
            continue
        number, record = found
        for name in record.keys() - fields:
            options.unknown_field(name)
        known = with_texts({name: value for name, value in record.items() if name in fields}, NAMES)
        yield EventOfLine(number, event(kind, known))


def event(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=12).hexdigest()
    return {"id": digest, "source": SOURCE, "type": kind, "data": data}


def read_articles(path: Path, options: LoadOptions) -> Iterator[Record]:
    """`finance.articles`. Of several lines about one article the one with the latest time holds."""
    for found in read_lines("finance.article.published", ARTICLE_FIELDS, path, options):
        if isinstance(found, dict) and "published_at" in found["data"]:
            found["data"]["published_at"] = published = unix_or_text(found["data"]["published_at"])
            with suppress(Rejected):  # which is told of the field in the data
                parse_time(published, "published_at")
                found["time"] = published
        yield found


def read_entities(path: Path, options: LoadOptions) -> Iterator[Record]:
    """`finance.entities`: rows, no events; those that are there stay as they are."""
    for found in read_records(path, options):
        if isinstance(found, Problem):
            yield found
            continue
        number, record = found
        try:
            directory.check(record)
            if not options.is_dry:
                directory.write_entities([record])
        except directory.BadEntity as error:
            yield Problem(number, f"is not an entity ({error})")
            continue
        yield Skipped("entity written as a row")


LOADERS = {
    "finance.articles": Loader(read_articles, "articles: .jsonl or .csv, also .gz"),
    "finance.sentiment": Loader(
        partial(read_lines, "finance.sentiment.labelled", SENTIMENT_FIELDS),
        "texts with how they, or a name in them, lean; kept for training: .jsonl or .csv, also .gz",
    ),
    "finance.topics": Loader(
        partial(read_lines, "finance.topic.labelled", TOPIC_FIELDS),
        "texts with their topic; kept for training: .jsonl or .csv, also .gz",
    ),
    "finance.entities": Loader(
        read_entities, "whom news is about (symbol, name, kind, aliases): .jsonl or .csv, also .gz"
    ),
    "sentfin": Loader(
        read_sentfin,
        "SEntFiN: a folder with sentfin.csv (headlines with the leaning of each name: kept for training) and "
        "entities.csv (names)",
        takes_folder=True,
    ),
    "twitter-topic": Loader(
        read_twitter_topics, "Twitter financial topics: a folder with train.csv; kept for training", takes_folder=True
    ),
    "sample": Loader(read_sample, "this project's own sample data: a folder", takes_folder=True),
}
