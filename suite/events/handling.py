"""Claim a batch of outstanding events, run the domains' handlers on it, remove the marks with the effect.

A claim is a lease: whoever dies with it loses it after `SUITE_LEASE_SECONDS`. The effect and the removal of the mark
are one transaction, and the removal is conditional on the lease, so a batch that was taken over is rolled back. A
batch that fails is split until the guilty event stands alone; that one is retried with back-off, then a dead letter.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from suite.domain import handlers
from suite.events.models import DeadLetter, Event, HandledBatch, PendingEvent

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker took the batch over; whatever this one did is rolled back."""


def handle_pending(limit: int | None = None) -> int:
    """Handle batches until nothing is due (or `limit` events are done); returns how many events were handled."""
    handled = 0
    while limit is None or handled < limit:
        lease = secrets.token_hex(16)
        marks = claim(PendingEvent.HANDLE, settings.BATCH_EVENTS, lease)
        if not marks:
            break
        started = time.monotonic()
        done = handle(marks, lease)
        HandledBatch.objects.create(finished_at=timezone.now(), events=done, seconds=time.monotonic() - started)
        handled += done
    return handled


def claim(work: str, size: int, lease: str) -> list[PendingEvent]:
    """Take up to `size` due marks, interactive ones first, under `lease`; their events are loaded."""
    now = timezone.now()
    until = now + timedelta(seconds=settings.LEASE_SECONDS)
    with transaction.atomic():
        due = PendingEvent.objects.filter(work=work, available_at__lte=now).order_by("priority", "id")
        if connection.vendor == "postgresql":
            due = due.select_for_update(skip_locked=True)
        ids = list(due.values_list("id", flat=True)[:size])
        PendingEvent.objects.filter(id__in=ids).update(lease=lease, available_at=until)
    return list(PendingEvent.objects.filter(id__in=ids, lease=lease).select_related("event").order_by("id"))


def handle(marks: Sequence[PendingEvent], lease: str) -> int:
    """Handle claimed marks type by type; returns how many succeeded."""
    by_type: dict[str, list[PendingEvent]] = defaultdict(list)
    for mark in marks:
        by_type[mark.event.type].append(mark)
    return sum(attempt(name, group, lease) for name, group in by_type.items())


def attempt(event_type: str, marks: Sequence[PendingEvent], lease: str) -> int:
    """Run one type's handler; on failure halve the batch, and put a lone guilty event aside."""
    try:
        run(event_type, marks, lease)
        return len(marks)
    except LeaseLost:
        return 0
    except Exception as error:  # whatever a handler raises must not stop its neighbours
        if len(marks) > 1:
            middle = len(marks) // 2
            return attempt(event_type, marks[:middle], lease) + attempt(event_type, marks[middle:], lease)
        put_aside(marks[0], lease, f"{type(error).__name__}: {error}")
        return 0


def run(event_type: str, marks: Sequence[PendingEvent], lease: str) -> None:
    handler = handlers().get(event_type)
    if handler is None:
        raise LookupError(f"no handler for {event_type}")
    events: list[Event] = [mark.event for mark in marks]
    prepared = handler.prepare(events) if handler.prepare else None
    with transaction.atomic():
        ids = [mark.pk for mark in marks]
        removed, _ = PendingEvent.objects.filter(id__in=ids, lease=lease).delete()
        if removed != len(ids):
            raise LeaseLost
        handler.apply(events, prepared)


def put_aside(mark: PendingEvent, lease: str, reason: str, channel: str = "handler") -> None:
    """Retry later with doubled back-off, or give the event up as a dead letter with its reason."""
    attempts = mark.attempts + 1
    log.warning("%s of event %s failed, attempt %s: %s", mark.work, mark.event_id, attempts, reason.split(":")[0])
    with transaction.atomic():
        held = PendingEvent.objects.filter(pk=mark.pk, lease=lease)
        if attempts < settings.MAX_ATTEMPTS:
            wait = settings.RETRY_SECONDS * 2 ** (attempts - 1)
            available_at = timezone.now() + timedelta(seconds=wait)
            held.update(attempts=attempts, available_at=available_at, lease="", last_error=reason[:2000])
        elif held.delete()[0]:
            DeadLetter.objects.create(
                event=mark.event, work=mark.work, channel=channel, reason=reason[:2000], attempts=attempts
            )


def release_leases() -> int:
    """Make every claimed mark due again; for the start of the one process that is the only worker."""
    return PendingEvent.objects.exclude(lease="").update(lease="", available_at=timezone.now())
