"""People who shop in the sample catalogues: a believable stream of what they do, the same for the same seed.

Everybody has interests, favourites and an hour of the day. They come in sessions with an intent: look at something of
the kind they like, go on to what follows from it or belongs with it, put some of it in the cart, buy part of that. One
in four does not log in. Around each persona there are others like them, so that the statistics have something to find.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

DAYS = 30  # of history
FOLLOWERS = 4  # others like each persona
SESSIONS_A_DAY = 0.45
ANONYMOUS = 0.25
FOLLOW, MATCH, STAY = 0.35, 0.30, 0.28  # next: what follows, what belongs together, the same kind; else anything
CART, BUY, DISMISS = 0.22, 0.6, 0.02
HOURS = {
    "morning": 8,
    "commute": 8,
    "lunch": 12,
    "afternoon": 15,
    "evening": 20,
    "night": 23,
    "weekend": 14,
}  # fmt: skip  centre of the day's visits; weekend: on those days only


@dataclass(frozen=True, slots=True)
class Shopper:
    """A persona, or somebody like one."""

    name: str
    persona: str
    interests: Mapping[str, float]
    favourites: Sequence[str]
    rhythm: str


@dataclass(frozen=True, slots=True)
class Action:
    """One interaction, as `commerce.interactions` describes it."""

    time: datetime
    user: str
    session: str
    item: str
    kind: str

    def data(self) -> dict[str, Any]:
        who = {"user_id": self.user} if self.user else {}
        return who | {
            "session_id": self.session,
            "item_id": self.item,
            "kind": self.kind,
            "timestamp": self.time.isoformat(),
        }


class Player:
    """The people of one catalogue. `items` are records of `commerce.items`, `cast` a part of personas.json."""

    def __init__(self, items: Sequence[Mapping[str, Any]], cast: Mapping[str, Any], seed: int = 7) -> None:
        self.items = [item["item_id"] for item in items if item.get("available", True)]
        self.of_category: dict[str, list[str]] = defaultdict(list)  # with those of the categories under it
        for item in items:
            levels = item["category"].split(" > ") if item.get("available", True) else []
            for depth in range(len(levels)):
                self.of_category[" > ".join(levels[: depth + 1])].append(item["item_id"])
        self.cast = cast
        self.random = random.Random(seed)
        self.followed: dict[str, list[str]] = defaultdict(list)
        self.matched: dict[str, list[str]] = defaultdict(list)
        on_sale = set(self.items)
        for sequence in cast["sequences"]:
            for item, following in pairwise(sequence):
                self.followed[item] += [following] if following in on_sale else []
        for bundle in cast["bundles"]:
            for item in bundle:
                self.matched[item] += [other for other in bundle if other != item and other in on_sale]

    @cached_property
    def shoppers(self) -> list[Shopper]:
        found = []
        for persona in self.cast["personas"]:
            for number in range(FOLLOWERS + 1):
                name = persona["name"] + (f"-{number + 1}" if number else "")
                interests = {
                    k: v * (self.random.uniform(0.5, 1.5) if number else 1) for k, v in persona["interests"].items()
                }
                favourites = persona["favourites"] if not number else self.random.sample(persona["favourites"], 2)
                found.append(Shopper(name, persona["name"], interests, favourites, persona["rhythm"]))
        return found

    def history(self, until: datetime, days: int = DAYS) -> list[Action]:
        """What everybody did in the days before a moment, in order of time."""
        actions: list[Action] = []
        midnight = until.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for back in range(days, -1, -1):
            day = midnight - timedelta(days=back)
            for shopper in self.shoppers:
                is_day = shopper.rhythm != "weekend" or day.weekday() >= 5
                chance = SESSIONS_A_DAY * (1.0 if shopper.rhythm != "weekend" else 3.0)
                if is_day and self.random.random() < chance:
                    start = day + timedelta(hours=self.random.gauss(HOURS.get(shopper.rhythm, 18), 1.5))
                    actions += self.session(shopper, start, f"{shopper.name} {day:%j}")
        return sorted(actions, key=lambda action: action.time)  # those after `until` are the caller's to leave out

    def live(self) -> Iterator[Action]:
        """What people do from now on, without end; the caller sets the pace. Several sessions run side by side."""
        number = 0
        running: list[Iterator[Action]] = []
        while True:
            while len(running) < 5:
                number += 1
                shopper = self.random.choice(self.shoppers)
                now = datetime.now(UTC)
                running.append(self.session(shopper, now, f"{shopper.name} {now:%y%m%d%H%M%S} {number}"))
            session = self.random.choice(running)
            action = next(session, None)
            if action is None:
                running.remove(session)
            else:
                yield Action(datetime.now(UTC), action.user, action.session, action.item, action.kind)

    def session(self, shopper: Shopper, start: datetime, name: str) -> Iterator[Action]:
        """One visit: looking around with an intent, and perhaps buying."""
        user = "" if self.random.random() < ANONYMOUS else shopper.name
        intent = self.random.choices(list(shopper.interests), list(shopper.interests.values()))[0]
        item = self.first(shopper, intent)
        time, cart = start, []
        for _ in range(self.random.randint(2, 9)):
            yield Action(time, user, name, item, "view")
            time += timedelta(seconds=self.random.uniform(8, 90))
            if self.random.random() < DISMISS:
                yield Action(time, user, name, item, "dismiss")
            elif self.random.random() < CART:
                yield Action(time, user, name, item, "cart")
                cart.append(item)
            item = self.next(item, intent)
        if cart and self.random.random() < BUY:
            for item in cart:
                yield Action(time + timedelta(seconds=30), user, name, item, "purchase")

    def first(self, shopper: Shopper, intent: str) -> str:
        wanted = [item for item in shopper.favourites if item in self.of_category[intent]]
        if wanted and self.random.random() < 0.5:
            return self.random.choice(wanted)
        return self.of_kind(intent)

    def next(self, item: str, intent: str) -> str:
        dice = self.random.random()
        for chance, candidates in ((FOLLOW, self.followed[item]), (MATCH, self.matched[item])):
            if dice < chance and candidates:
                return self.random.choice(candidates)
            dice -= chance
        return self.of_kind(intent) if dice < STAY else self.random.choice(self.items)

    def of_kind(self, intent: str) -> str:
        """An item of a category or of those under it, the earlier ones of the file more often."""
        known = self.of_category[intent] or self.items
        return known[min(int(self.random.expovariate(4.0 / len(known))), len(known) - 1)]


def read_items(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
