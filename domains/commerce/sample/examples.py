"""Examples for the interest head of a first release, from the sample: its people, and what they went on to look at.

A persona of the sample stands on one side only, with everybody like them: so validation is about people that the head
has never seen. One visit gives many pairs on one profile, and the items are few: the encoder reads each text once.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from domains.commerce.sample.player import Player, read_items
from domains.commerce.training_data import item_text, profile_text
from suite.releases.heads import Examples, LabelledText

FOLDER = Path(__file__).parent
FILES = {"shop": "items.jsonl", "zh": "items_zh.jsonl", "articles": "articles.jsonl"}
UNTIL = datetime(2026, 1, 1, tzinfo=UTC)  # any fixed day: the same examples every time
HELD_OUT = 3  # one persona in so many is for validation
VISITS = {"train": 1, "validation": 2}  # a person: calibration is measured on pairs, so it wants many
LEAST = 3  # items that follow in a visit worth an example
SEED = 11


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit of a person with an account: what they had looked at (newest first), and what followed."""

    past: Sequence[str]
    following: Sequence[str]


@cache
def interest_examples() -> Examples:
    """Pairs of (profile, item): "yes" for what a person looked at next, "no" for what only others did."""
    sides: dict[str, list[LabelledText]] = {"train": [], "validation": []}
    cast = json.loads((FOLDER / "personas.json").read_text(encoding="utf-8"))
    for catalogue, name in FILES.items():
        items = read_items(FOLDER / name)
        held_out = {persona["name"] for persona in cast[catalogue]["personas"][::HELD_OUT]}
        player = Player(items, cast[catalogue], SEED)
        persona_of = {shopper.name: shopper.persona for shopper in player.shoppers}
        views: dict[str, list[tuple[str, str]]] = defaultdict(list)  # (session, item) by person
        for action in player.history(UNTIL):
            if action.kind == "view" and action.user:
                views[action.user].append((action.session, action.item))
        everything = [item for done in views.values() for _, item in done]  # popular items often
        for person, done in sorted(views.items()):
            side = "validation" if persona_of[person] in held_out else "train"
            dice = random.Random(f"{SEED} {person}")
            found = list(visits(done))
            seen = {item for _, item in done}
            others = [item for item in everything if item not in seen]
            for visit in dice.sample(found, min(VISITS[side], len(found))):
                sides[side] += pairs(visit, {item["item_id"]: item for item in items}, others, dice)
    return Examples(tuple(sides["train"]), tuple(sides["validation"]))


def visits(views: Sequence[tuple[str, str]]) -> Iterator[Visit]:
    """The visits of one person, each after its second item; views are (session, item) in order."""
    past: list[str] = []
    for _, visit in groupby(views, key=lambda view: view[0]):
        items = [item for _, item in visit]
        newest = list(dict.fromkeys([*items[1::-1], *reversed(past)]))
        following = list(dict.fromkeys(item for item in items[2:] if item not in newest))
        if len(following) >= LEAST:
            yield Visit(newest, following)
        past += items


def pairs(
    visit: Visit, items: Mapping[str, Mapping[str, Any]], others: Sequence[str], dice: random.Random
) -> Iterator[LabelledText]:
    """As many pairs of either kind."""
    profile = profile_text([items[key]["title"] for key in visit.past])
    for key in visit.following:
        yield (profile, item_text(items[key])), "yes"
        yield (profile, item_text(items[dice.choice(others)])), "no"
