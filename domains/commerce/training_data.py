"""Examples for the heads of commerce, from the project's own sample: its people, and what they went on to look at.

A persona of the sample stands on one side only, with everybody like them: so validation is about people that the head
has never seen.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from domains.commerce.sample.player import Action, Player, read_items
from suite.releases.heads import Examples, LabelledText

FOLDER = Path(__file__).parent / "sample"
FILES = {"shop": "items.jsonl", "zh": "items_zh.jsonl", "articles": "articles.jsonl"}
UNTIL = datetime(2026, 1, 1, tzinfo=UTC)  # any fixed day: the same examples every time
PROFILE = 5  # newest items that describe a person
EACH = 12  # positive examples a person; as many negative ones
HELD_OUT = 4  # one persona in so many is for validation
SEED = 11


def profile_text(titles: Sequence[str]) -> str:
    """What a person looked at last, newest first."""
    return " | ".join(titles[:PROFILE])


def item_text(item: Mapping[str, Any]) -> str:
    return f"{item['title']}. {item['category'].replace(' > ', ', ')}"


@cache
def interest_examples() -> Examples:
    """Pairs of (profile, item): "yes" for what a person looked at next, "no" for what somebody else did."""
    train: list[LabelledText] = []
    validation: list[LabelledText] = []
    cast = json.loads((FOLDER / "personas.json").read_text(encoding="utf-8"))
    for catalogue, name in FILES.items():
        items = read_items(FOLDER / name)
        personas = [persona["name"] for persona in cast[catalogue]["personas"]]
        held_out = set(personas[::HELD_OUT])
        player = Player(items, cast[catalogue], SEED)
        persona_of = {shopper.name: shopper.persona for shopper in player.shoppers}
        by_person: dict[str, list[Action]] = defaultdict(list)
        for action in player.history(UNTIL):
            if action.kind == "view" and action.user:
                by_person[action.user].append(action)
        for person, actions in sorted(by_person.items()):
            side = validation if persona_of[person] in held_out else train
            side += pairs([action.item for action in actions], {item["item_id"]: item for item in items})
    return Examples(tuple(train), tuple(validation))


def pairs(views: Sequence[str], items: Mapping[str, Mapping[str, Any]]) -> list[LabelledText]:
    """Examples of one person from their views in order."""
    dice = random.Random(f"{SEED} {views[0]}")
    found: list[LabelledText] = []
    seen = set(views)
    others = [key for key in items if key not in seen]
    places = range(2, len(views))
    for place in dice.sample(places, min(EACH, len(places))):
        past = list(dict.fromkeys(reversed(views[:place])))
        if views[place] in past or not others:
            continue
        profile = profile_text([items[key]["title"] for key in past])
        found.append(((profile, item_text(items[views[place]])), "yes"))
        found.append(((profile, item_text(items[dice.choice(others)])), "no"))
    return found
