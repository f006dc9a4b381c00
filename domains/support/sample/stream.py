"""The sample as events: a household shop's answers, a few days of conversations, and customers who write from now on.

A sample that was loaded before is the days before it first came in, so that it ends in the same rows whenever a load
that was killed goes on.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from domains.support.sample.files import read, sample_questions
from suite.events.models import Event
from suite.formats import LoadOptions, Record

SOURCE = "support sample"
PAUSE = 8.0  # seconds between two customers, on average
MOST_WAITING = 8  # then a colleague takes the one who waits longest
NAMES = ("Ada", "Bruno", "Carla", "Dario", "Emil", "Fatima", "Gustav", "Hanna", "Ivo", "Julia", "Karim", "Lotte")
OPENINGS = ("", "", "Hi, ", "Hello! ", "Good morning, ")
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
    """(pause in seconds, event): customers who write, and a colleague who answers where too many wait; without end."""
    dice, run = random.Random(), uuid.uuid4().hex[:8]
    waiting: deque[str] = deque()
    number = 0
    while True:
        number += 1
        key = f"live-{run}-{number}"
        yield dice.expovariate(1 / PAUSE), asked(key, dice)
        waiting.append(key)
        if len(waiting) > MOST_WAITING:
            done = waiting.popleft()
            yield 1.0, message(done, f"{done}-reply", REPLY, author="agent")
            yield (
                0.5,
                event(f"{done} solved", "support.conversation.changed", {"conversation_id": done, "state": "solved"}),
            )


def asked(key: str, dice: random.Random) -> dict[str, Any]:
    question = dice.choice(sample_questions())["text"]
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
