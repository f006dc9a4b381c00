"""The sample as events: the catalogues of this folder, what their people did in the last month, and what they do next.

A sample that was loaded before is the month before it first came in, so that it ends in the same rows whenever a load
that was killed goes on.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from domains.commerce import services
from domains.commerce.sample.player import Action, Player, read_items
from suite.events.models import Event
from suite.formats import LoadOptions, Record

FOLDER = Path(__file__).parent
SOURCE = "sample"
PAUSE = 2.0  # seconds between two interactions of a catalogue, on average
SAMPLES = {  # catalogue: (its title, its kind, its items); the first one is the default catalogue
    "shop": ("Household shop", "products", "items.jsonl"),
    "zh": ("中文商店", "products", "items_zh.jsonl"),
    "articles": ("Magazine", "articles", "articles.jsonl"),
}


def read_sample(folder: Path, options: LoadOptions) -> Iterator[Record]:
    """Items and interactions of every catalogue, always with the same event ids."""
    cast = json.loads((folder / "personas.json").read_text(encoding="utf-8"))
    first = Event.objects.filter(source=SOURCE).order_by("id").values_list("received_at", flat=True).first()
    now = first or datetime.now(UTC)
    for catalogue, (title, kind, name) in SAMPLES.items():
        if not options.is_dry:
            services.ensure_catalogue(catalogue, title=title, kind=kind)
        items = read_items(folder / name)
        options.on_bytes((folder / name).stat().st_size)
        for item in items:
            created = {"time": item["created_at"]} if item.get("created_at") else {}
            yield event(f"item {item['item_id']}", "commerce.item.changed", catalogue, item) | created
        for head, relation, tail in links_of(items, cast[catalogue]):
            link = {"head": head, "relation": relation, "tail": tail}
            yield event(f"link {head} {relation} {tail}", "commerce.link.recorded", catalogue, link)
        for number, action in enumerate(Player(items, cast[catalogue]).history(now)):
            if action.time <= now:
                yield interaction(f"{catalogue} {number}", catalogue, action) | {"time": action.time.isoformat()}


def links_of(items: Sequence[dict[str, Any]], cast: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The sample's knowledge graph: who makes what, and what belongs with what."""
    for item in items:
        if item.get("brand"):
            yield item["item_id"], "maker", item["brand"]
    for bundle in cast["bundles"]:
        for item, other in pairwise(bundle):
            yield item, "belongs_with", other


def live(catalogue: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """(pause in seconds, event): what the people of a catalogue do from now on, without end."""
    cast = json.loads((FOLDER / "personas.json").read_text(encoding="utf-8"))[catalogue]
    dice = random.Random()
    run = uuid.uuid4().hex
    player = Player(read_items(FOLDER / SAMPLES[catalogue][2]), cast, dice.getrandbits(64))
    for number, action in enumerate(player.live()):
        yield dice.expovariate(1 / PAUSE), interaction(f"{run} {number}", catalogue, action)


def interaction(name: str, catalogue: str, action: Action) -> dict[str, Any]:
    return event(name, "commerce.interaction.recorded", catalogue, action.data())


def event(name: str, kind: str, catalogue: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "source": SOURCE, "type": kind, "data": {"catalogue": catalogue} | data}


LIVE: dict[str, Callable[[], Iterator[tuple[float, dict[str, Any]]]]] = {
    f"commerce.{catalogue}": partial(live, catalogue) for catalogue in SAMPLES
}
