"""What `manage.py load` can read for commerce, and the live streams of `manage.py play`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from domains.commerce.movielens import read_movielens
from domains.commerce.online_retail import read as read_online_retail
from domains.commerce.plain_files import read_interaction_file, read_item_file, read_link_file, ready_catalogue
from domains.commerce.sample.stream import LIVE as LIVE
from domains.commerce.sample.stream import read_sample
from suite.formats import Loader, LoadOptions, Record

Read = Callable[[Path, LoadOptions], Iterator[Record]]


def into(catalogue: str, title: str, read: Read) -> Read:
    """The reader for a data set that has a catalogue of its own, unless the user names one."""

    def reading(path: Path, options: LoadOptions) -> Iterator[Record]:
        own = replace(options, catalogue=ready_catalogue(options, catalogue, title))
        yield from read(path, own)

    return reading


LOADERS = {
    "commerce.items": Loader(read_item_file, "items: .jsonl or .csv, also .gz", has_catalogues=True),
    "commerce.interactions": Loader(
        read_interaction_file, "what people did with items: .jsonl or .csv, also .gz", has_catalogues=True
    ),
    "commerce.links": Loader(
        read_link_file, "the knowledge graph (head, relation, tail): .jsonl or .csv, also .gz", has_catalogues=True
    ),
    "online-retail": Loader(
        into("online-retail", "Online retail", read_online_retail),
        "order lines of UCI Online Retail: .csv, also .gz",
        has_catalogues=True,
    ),
    "movielens": Loader(
        into("movielens", "MovieLens", read_movielens),
        "a folder with RecBole's .inter, and .item, .kg and .link",
        takes_folder=True,
        has_catalogues=True,
    ),
    "sample": Loader(read_sample, "this project's own sample data: a folder", takes_folder=True),
}
