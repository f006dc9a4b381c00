"""A stream of each domain, the same whenever it is made: what two installations are compared by."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from domains.finance.sample.press import companies, outlets, phrases, write
from domains.support.sample.files import sample_answers, sample_questions
from tests.project import ROOT

SOURCE = "two-stacks"  # of every event, and the catalogue's name
ITEMS, USERS, INTERACTIONS = 120, 12, 400
CUSTOMERS = 16
TRICKLE, BURST = 60, 24  # pieces of news
START = datetime(2026, 1, 1, tzinfo=UTC)
Event = dict[str, Any]


class Events:
    """Makes events, one a minute from `START` on, their ids in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counter = itertools.count()

    def __call__(self, kind: str, data: dict[str, Any]) -> Event:
        number = next(self.counter)
        time = (START + timedelta(minutes=number)).isoformat()
        about = {"specversion": "1.0", "id": f"{self.name} {number:05}", "source": SOURCE, "time": time}
        return {**about, "type": kind, "data": data}


def shop() -> Iterator[Event]:
    """Items of the sample, then what people do with them; every item twice, removals and repeats among it."""
    lines = (ROOT / "domains" / "commerce" / "sample" / "items.jsonl").read_text().splitlines()
    items = [json.loads(line) | {"catalogue": SOURCE} for line in lines[:ITEMS]]
    dice, event = random.Random(7), Events("shop")
    yield from (event("commerce.item.changed", {**item, "price": 1}) for item in items)
    yield from (event("commerce.item.changed", item) for item in items)
    for item in items[-5:]:
        yield event("commerce.item.removed", {"item_id": item["item_id"], "catalogue": SOURCE})
    for _ in range(INTERACTIONS):
        user = dice.randrange(USERS)
        item = items[(user * 10 + dice.randrange(20)) % len(items)]
        kind = dice.choice(["view", "view", "cart", "purchase"])
        did = {"user_id": f"user-{user}", "item_id": item["item_id"], "kind": kind, "catalogue": SOURCE}
        yield event("commerce.interaction.recorded", did)


class Desk:
    """A support desk: its answers, then customers, what agents decide on them, and customers who ask the like."""

    def __init__(self) -> None:
        self.event = Events("desk")
        asked = [one["text"] for one in sample_questions() if one["answer_ids"]]
        self.questions = random.Random(11).sample(asked, CUSTOMERS)

    def answers(self) -> list[Event]:
        """Each of them twice, the last ones removed."""
        found = sample_answers()
        changed = [self.event("support.answer.changed", {**one, "text": "It is written anew."}) for one in found]
        changed += [self.event("support.answer.changed", one) for one in found]
        removed = [self.event("support.answer.removed", {"answer_id": one["answer_id"]}) for one in found[-3:]]
        return changed + removed

    def customers(self) -> list[Event]:
        return [
            self.message(f"customer-{number}", f"{number}-1", text, customer={"name": "Ada", "order": str(number)})
            for number, text in enumerate(self.questions)
        ]

    def decisions(self, offered: dict[str, list[str]]) -> list[Event]:
        """From {conversation: ids of its suggestions, best first}. The first is taken and the second refused; the
        conversation is solved by a reply, which is a suggestion to later ones."""
        events = []
        for number, (conversation, ids) in enumerate(offered.items()):
            for kind, uid in zip(("accepted", "rejected"), ids, strict=False):
                events.append(self.event(f"support.suggestion.{kind}", {"suggestion_id": uid, "text": "As it is."}))
            reply = f"I have looked after it: {self.questions[number]} That is done, and takes until Friday."
            events.append(self.message(conversation, f"{number}-2", reply, author="agent"))
            solved = {"conversation_id": conversation, "state": "solved"}
            events.append(self.event("support.conversation.changed", solved))
        return events

    def later_customers(self) -> list[Event]:
        """The same questions in a few more words, some of them in two messages."""
        events = []
        for number, text in enumerate(self.questions):
            events.append(self.message(f"later-{number}", f"later-{number}-1", f"Hello again. {text}"))
            if number % 4 == 0:
                events.append(self.message(f"later-{number}", f"later-{number}-2", "It is urgent, please help me."))
        return events

    def message(self, conversation: str, name: str, text: str, **more: Any) -> Event:
        data = {"conversation_id": conversation, "message_id": name, "text": text, **more}
        return self.event("support.message.received", data)


def news(begin: datetime) -> list[Event]:
    """Three hours of news from `begin` on: a trickle about some companies, and bad news about one of them within
    twenty minutes; other outlets tell it again in the same words and in others. It comes in without any order."""
    dice, event = random.Random(13), Events("news")
    known = [company for company in companies() if company.language == "en"][:6]
    told = [phrase for phrase in phrases() if phrase.language == "en" and phrase.companies == 1]
    bad = [phrase for phrase in told if phrase.leans.get("a") == "negative"]
    writers = outlets()["en"]
    pieces = [
        (dice.uniform(0, 180), write(dice.choice(told), dice, (dice.choice(known).name,))) for _ in range(TRICKLE)
    ]
    pieces += [(dice.uniform(90, 110), write(phrase, dice, (known[0].name,))) for phrase in dice.sample(bad, BURST)]
    events = []
    for number, (minute, piece) in enumerate(pieces):
        for copy in range(dice.randint(1, 3)):
            published = begin + timedelta(minutes=minute + 2 * copy)
            article = {
                "article_id": f"piece-{number}-{copy}",
                "title": piece.titles[copy // 2 % len(piece.titles)],
                "body": f"{piece.titles[0]}. Nobody could be reached about it.",
                "source": writers[copy % len(writers)],
                "published_at": published.isoformat(),
            }
            events.append(event("finance.article.published", article))
    dice.shuffle(events)
    return events
