"""The sample as events: a household shop's answers, a few days of conversations, and customers who write from now on.

A sample that was loaded before is the days before it first came in, so that it ends in the same rows whenever a load
that was killed goes on.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import DatabaseError

from domains.support import services
from domains.support.sample.files import read, sample_questions
from suite.events.models import Event
from suite.formats import LoadOptions, Record

SOURCE = "support sample"
PAUSE = 8.0  # seconds between two customers, on average
MOST_WAITING = 8  # then a colleague takes the one who waits longest
NAMES = ("Ada", "Bruno", "Carla", "Dario", "Emil", "Fatima", "Gustav", "Hanna", "Ivo", "Julia", "Karim", "Lotte")
OPENINGS = ("", "", "Hi, ", "Hello! ", "Good morning, ")
EDITED = 0.2  # of what the colleague takes: only its beginning is sent
REPLY = "Thank you for writing. I have looked into it and sent you the details by e-mail."
Happening = tuple[float, dict[str, Any]]


def read_sample(folder: Path, options: LoadOptions) -> Iterator[Record]:
    """Answers and conversations, always with the same event ids."""
    first = Event.objects.filter(source=SOURCE).order_by("id").values_list("received_at", flat=True).first()
    now = first or datetime.now(UTC)
    for answer in read(folder / "answers.jsonl"):
        yield event(f"answer {answer['answer_id']}", "support.answer.changed", answer, now - timedelta(days=30))
    options.on_bytes((folder / "answers.jsonl").stat().st_size)
    conversations = read(folder / "conversations.jsonl")
    for number, one in enumerate(conversations):
        age = timedelta(minutes=3 * (len(conversations) - number))
        begun = now - (age if one["state"] == "waiting" else age * 60)
        yield from conversation(f"sample-{number + 1}", one, begun)
    options.on_bytes((folder / "conversations.jsonl").stat().st_size)


def conversation(key: str, one: dict[str, Any], begun: datetime) -> Iterator[dict[str, Any]]:
    yield message(key, f"{key}-1", one["question"], begun, customer=one["customer"])
    if "reply" in one:
        yield message(key, f"{key}-2", one["reply"], begun + timedelta(minutes=4), author="agent")
    if one["state"] == "solved":
        solved = {"conversation_id": key, "state": "solved"}
        yield event(f"{key} solved", "support.conversation.changed", solved, begun + timedelta(minutes=9))


def customers() -> Iterator[Happening]:
    """(pause in seconds, event): customers who write, and a colleague who answers where too many wait, with what is
    suggested where it is right; without end."""
    dice, run = random.Random(), uuid.uuid4().hex[:8]
    waiting: deque[tuple[str, list[str]]] = deque()
    number = 0
    while True:
        number += 1
        key = f"live-{run}-{number}"
        question = dice.choice(sample_questions())
        yield dice.expovariate(1 / PAUSE), asked(key, question["text"], dice)
        waiting.append((key, question["answer_ids"]))
        if len(waiting) > MOST_WAITING:
            done, right = waiting.popleft()
            yield from ((0.5, each) for each in answered(done, right, dice))
            solved = {"conversation_id": done, "state": "solved"}
            yield 0.5, event(f"{done} solved", "support.conversation.changed", solved)


def answered(key: str, right: Collection[str], dice: random.Random) -> Iterator[dict[str, Any]]:
    """A reply, and what it says of the suggestions: a right one is taken, of none that is right the first is rejected,
    the others are passed over."""
    try:
        offered = services.offered(key)
        taken = next((one for one in offered if one.answer and one.answer.key in right), None)
    except DatabaseError:  # it is played into a Suite elsewhere
        offered, taken = [], None
    customer = taken.conversation.customer if taken else {}
    words = services.own_words(taken, customer) if taken else REPLY
    if taken and dice.random() < EDITED:
        words = words[: len(words) // 2]
    yield message(key, f"{key}-reply", words, author="agent")
    for one in offered:
        kind = "rejected" if taken is None and one is offered[0] else "ignored"
        data: dict[str, Any] = {"suggestion_id": one.uid, "position": one.position}
        if one is taken:
            kind, data["text"] = services.kind_of(words, one, customer), words
        yield event(f"{key} feedback {one.position}", f"support.suggestion.{kind}", data)


def asked(key: str, question: str, dice: random.Random) -> dict[str, Any]:
    is_english = question.isascii()
    opening = dice.choice(OPENINGS) if is_english else ""
    customer = {"name": dice.choice(NAMES), "order": str(dice.randrange(10_000, 99_999)), "locale": "en"}
    customer |= {} if is_english else {"locale": "zh"}
    return message(key, f"{key}-1", f"{opening}{question}", customer=customer)


def message(key: str, message_id: str, text: str, time: datetime | None = None, **more: Any) -> dict[str, Any]:
    data = {"conversation_id": key, "message_id": message_id, "text": text, "author": "customer"} | more
    return event(f"message {message_id}", "support.message.received", data, time)


def event(name: str, kind: str, data: dict[str, Any], time: datetime | None = None) -> dict[str, Any]:
    return {"id": name, "source": SOURCE, "type": kind, "data": data} | ({"time": time.isoformat()} if time else {})


LIVE: dict[str, Callable[[], Iterator[Happening]]] = {"support.customers": customers}
