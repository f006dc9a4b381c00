"""Reads of the event stream and of its state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count, Max, Sum
from django.utils import timezone

from suite.events.models import DeadLetter, Event, HandledBatch, PendingEvent

RATE_SECONDS = 60


def events_after(sequence: int, *, event_type: str = "", limit: int = 100) -> list[Event]:
    """Events with a sequence above `sequence`, oldest first. None is ever missed by asking for those after the last."""
    events = Event.objects.filter(id__gt=sequence)
    if event_type:
        events = events.filter(type=event_type)
    return list(events.order_by("id")[:limit])


def as_cloud_event(event: Event) -> dict[str, Any]:
    """The event as CloudEvents 1.0 JSON, with its sequence as the extension of that name."""
    item = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": event.source,
        "type": event.type,
        "time": event.time.isoformat(),
        "sequence": event.pk,
        "data": event.data,
    }
    return item | {"subject": event.subject} if event.subject else item


def outstanding() -> dict[str, int]:
    """How much work waits, by kind."""
    counts = PendingEvent.objects.values_list("work").annotate(count=Count("id")).order_by()
    return {PendingEvent.HANDLE: 0, PendingEvent.PUBLISH: 0} | dict(counts)


def oldest_outstanding_seconds(work: str) -> float:
    """How long the oldest outstanding work of a kind has waited; 0 where there is none."""
    firsts = [
        PendingEvent.objects.filter(work=work, priority=priority).order_by("id").values_list("marked_at", flat=True)[:1]
        for priority in (PendingEvent.INTERACTIVE, PendingEvent.BULK)
    ]
    marked = [time for first in firsts for time in first]
    return max(0.0, (timezone.now() - min(marked)).total_seconds()) if marked else 0.0


def handled_total() -> int:
    """Events handled since the first start."""
    return HandledBatch.objects.aggregate(total=Sum("events"))["total"] or 0


def handled_per_second() -> float:
    """Events handled a second, over the last minute."""
    since = timezone.now() - timedelta(seconds=RATE_SECONDS)
    total = HandledBatch.objects.filter(finished_at__gte=since).aggregate(total=Sum("events"))["total"] or 0
    return total / RATE_SECONDS


def open_dead_letters() -> int:
    return DeadLetter.objects.filter(replayed_at=None).count()


def last_sequence() -> int:
    """The sequence of the newest event, 0 where there is none."""
    return Event.objects.aggregate(last=Max("id"))["last"] or 0
