import time
from collections.abc import Sequence

from domains.tally.models import Effect

from suite.domain import Handler
from suite.events.models import Event


def prepare(events: Sequence[Event]) -> None:
    time.sleep(0.02)  # as slow as a small model, so that a kill often hits it


def apply(events: Sequence[Event], prepared: None) -> None:
    if any(event.data["is_poison"] for event in events):
        raise ValueError("poison")
    Effect.objects.bulk_create([Effect(name=event.event_id) for event in events])


HANDLERS = {"tally.mark.made": Handler(apply, prepare)}
