"""A small domain of its own: `trial.note.written` is handled, `trial.note.read` is only stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection

from suite.domain import EventType, Handler, event_types
from suite.events import auth, doorbell, handling
from suite.events.envelope import Envelope, text_field
from suite.events.models import Event

WRITTEN, READ = "trial.note.written", "trial.note.read"


class Trouble(Exception):
    """What the trial's handler raises on purpose."""


@dataclass
class Trial:
    """What the trial domain was asked to do. Its effects are rows, so a rolled-back effect is no effect."""

    recorded: list[str] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    poison: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def validate(self, envelope: Envelope) -> dict[str, Any]:
        return {"text": text_field(envelope.data, "text", 100, prefix="data.")}

    def record(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.event_id in self.refused:
                raise Trouble
        self.recorded += [event.event_id for event in events]

    def apply(self, events: Sequence[Event], prepared: Any) -> None:
        self.batches.append([event.event_id for event in events])
        with connection.cursor() as cursor:
            for event in events:
                cursor.execute("INSERT INTO trial_effect (event_id) VALUES (%s)", [event.event_id])
                if event.event_id in self.poison:
                    raise Trouble(f"{event.event_id} is poison")

    def effects(self) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT event_id FROM trial_effect ORDER BY event_id")
            return [row[0] for row in cursor.fetchall()]


@pytest.fixture
def trial(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    trial = Trial()
    monkeypatch.setitem(event_types(), WRITTEN, EventType(trial.validate, trial.record, is_handled=True))
    monkeypatch.setitem(event_types(), READ, EventType(trial.validate))
    monkeypatch.setattr(handling, "handlers", lambda: {WRITTEN: Handler(apply=trial.apply)})
    monkeypatch.setattr(doorbell, "ring", lambda task: None)
    monkeypatch.setattr(doorbell, "_backlog", (0.0, 0))
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE trial_effect (event_id VARCHAR(200) NOT NULL)")  # not unique: doubles must show
    yield trial
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE trial_effect")


@pytest.fixture(autouse=True)
def no_remembered_keys() -> None:
    auth._known.clear()


def note(event_id: str, text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"id": event_id, "source": "test", "type": WRITTEN, "data": {"text": text}} | more
