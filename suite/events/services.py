"""Writes that are not ingestion: what the suite itself concludes, replaying events, replaying dead letters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from suite.domain import event_types
from suite.events import doorbell
from suite.events.decoding import TooManyItems, Unreadable, decode
from suite.events.envelope import Envelope
from suite.events.ingestion import Result, as_row, ingest, insert_events, mark
from suite.events.models import DeadLetter, Event, PendingEvent

REPLAY_AT_ONCE = 2_000


def record_events(envelopes: Sequence[Envelope]) -> None:
    """Store what the suite concludes (source "suite") in the caller's transaction; ids must be new.

    On PostgreSQL this takes the lock that keeps event ids in order until the caller's transaction ends: call it last
    in the transaction. Where RabbitMQ is in use the events are marked to be published.
    """
    if not envelopes:
        return
    with transaction.atomic():
        now = timezone.now()
        events = [as_row(envelope, now) for envelope in envelopes]
        insert_events(events)
        if not settings.IS_EMBEDDED:
            mark([event.pk for event in events], PendingEvent.PUBLISH, PendingEvent.INTERACTIVE)
            transaction.on_commit(doorbell.ring_publishing)


def replay_events(*, since: datetime | None = None, types: Collection[str] = (), after: int = 0) -> int:
    """Mark events as outstanding again, so that their handlers run once more; returns how many were marked.

    `since` looks at the time an event was received. Events that are still outstanding are left as they are.
    """
    handled = {name for name, event_type in event_types().items() if event_type.is_handled}
    events = Event.objects.filter(type__in=handled & set(types) if types else handled)
    if since is not None:
        events = events.filter(received_at__gte=since)
    marked = 0
    while ids := list(events.filter(id__gt=after).order_by("id").values_list("id", flat=True)[:REPLAY_AT_ONCE]):
        marked += mark(ids, PendingEvent.HANDLE, PendingEvent.BULK)
        after = ids[-1]
    if marked:
        doorbell.ring_events()
    return marked


class NotReplayed(Exception):
    """A dead letter that cannot be replayed; the message says why."""


def replay_dead_letter(letter: DeadLetter) -> None:
    """Try given-up work once more: mark the event as outstanding, or take the raw message in again.

    A letter that was replayed before stays as it is. Raises `NotReplayed`.
    """
    with transaction.atomic():
        if not DeadLetter.objects.filter(pk=letter.pk, replayed_at=None).update(replayed_at=timezone.now()):
            return
        if letter.event_id is not None:
            mark([letter.event_id], letter.work, PendingEvent.INTERACTIVE)
            transaction.on_commit(doorbell.ring_events)
            return
        for result in _take_again(letter):
            if result.status == "rejected":
                raise NotReplayed(f"{result.field}: {result.reason}")


def _take_again(letter: DeadLetter) -> list[Result]:
    try:
        return ingest(decode(bytes(letter.body), settings.MAX_BATCH_ITEMS))
    except Unreadable as error:
        raise NotReplayed(f"the message {error}") from None
    except TooManyItems:
        raise NotReplayed(f"the message holds more than {settings.MAX_BATCH_ITEMS:,} events") from None
