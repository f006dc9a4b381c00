"""Claim a batch of outstanding events, run the domains' handlers on it, remove the marks with the effect.

The effect and the removal of the mark are one transaction, and the removal is conditional on the lease, so a batch
that was taken over is rolled back: every accepted event has its effect exactly once. A batch that fails is split until
the guilty event stands alone; that one is retried with back-off, then a dead letter.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from suite.domain import NotYet, handlers
from suite.events.database import UNAVAILABLE, is_reachable, patiently
from suite.events.leases import claimed
from suite.events.models import DeadLetter, Event, HandledBatch, PendingEvent

log = logging.getLogger(__name__)
KEPT = timedelta(hours=1)  # how long finished batches are kept one by one
FOLDED = datetime(1970, 1, 1, tzinfo=UTC)  # the time that bears the sum of all older ones
MAX_REASON = 2_000
WAITING = "waits: "  # how the `last_error` of a mark begins that was put off by `NotYet`
WAIT_SECONDS = 3.0
REPORT_SECONDS, IDLE_SECONDS = 1.0, 0.2


class LeaseLost(Exception):
    """Another worker took the batch over; whatever this one did is rolled back."""


def handle_pending(seconds: float | None = None) -> int:
    """Handle batches until nothing is due, or `seconds` have passed; returns how many events were handled.

    Raises `OperationalError` or `InterfaceError` where the database is gone; no event is blamed for that.
    """
    handled = 0
    started = time.monotonic()
    while seconds is None or time.monotonic() - started < seconds:
        done = handle_batch()
        if done is None:
            break
        handled += done
    return handled


def handle_all(report: Callable[[int], None]) -> int:
    """Handle until nothing is outstanding, beside any workers: what they hold, or what waits for its back-off, is
    waited for. `report` hears now and then how many events are left. Returns how many are left because what they need
    is not there yet (`NotYet`): a first release, say.
    """
    marks = PendingEvent.objects.filter(work=PendingEvent.HANDLE)
    while is_outstanding():
        report(marks.count())
        if not handle_pending(REPORT_SECONDS):
            time.sleep(IDLE_SECONDS)
    waiting = marks.count()
    report(waiting)
    return waiting


def is_outstanding() -> bool:
    """Is there an event that some worker can handle, now or after its back-off? One that put itself off cannot be."""
    return PendingEvent.objects.filter(work=PendingEvent.HANDLE).exclude(last_error__startswith=WAITING).exists()


def handle_batch() -> int | None:
    """Claim one batch and handle it; returns how many events succeeded, or None where none was due."""
    started = time.monotonic()
    with claimed(PendingEvent.HANDLE, settings.BATCH_EVENTS) as claim:
        if not claim.marks:
            return None
        by_type: dict[str, list[PendingEvent]] = defaultdict(list)
        for mark in claim.marks:
            by_type[mark.event.type].append(mark)
        done = sum(attempt(name, marks, claim.lease) for name, marks in by_type.items())
    seconds = time.monotonic() - started
    patiently(lambda: HandledBatch.objects.create(finished_at=timezone.now(), events=done, seconds=seconds))
    return done


def attempt(event_type: str, marks: Sequence[PendingEvent], lease: str) -> int:
    """Run one type's handler; on failure halve the batch, and put a lone guilty event aside.

    Returns how many succeeded. A handler may run several times on an event before it has its effect, never after.
    """
    try:
        patiently(lambda: run(event_type, marks, lease))
        return len(marks)
    except LeaseLost:
        log.warning("a batch of %s %s events was taken over by another worker", len(marks), event_type)
        return 0
    except NotYet as reason:
        put_off(marks, lease, str(reason))
        return 0
    except Exception as error:  # whatever a handler raises must not stop its neighbours
        if isinstance(error, UNAVAILABLE) and not is_reachable():
            raise
        if len(marks) == 1:
            put_aside(marks[0], lease, f"{type(error).__name__}: {error}")
            return 0
    middle = len(marks) // 2
    return attempt(event_type, marks[:middle], lease) + attempt(event_type, marks[middle:], lease)


def run(event_type: str, marks: Sequence[PendingEvent], lease: str) -> None:
    """The slow part outside any transaction; then the effect and the removal of the marks in one."""
    handler = handlers().get(event_type)
    if handler is None:
        raise LookupError(f"no handler for {event_type}")
    events: list[Event] = [mark.event for mark in marks]
    prepared = handler.prepare(events) if handler.prepare else None
    with transaction.atomic():
        ids = [mark.pk for mark in marks]
        held = PendingEvent.objects.filter(id__in=ids, lease=lease)
        if held.delete()[0] != len(ids):
            raise LeaseLost
        handler.apply(events, prepared)


def put_off(marks: Sequence[PendingEvent], lease: str, reason: str) -> None:
    """Try again in a moment; it does not count as an attempt."""
    until = timezone.now() + timedelta(seconds=WAIT_SECONDS)
    held = PendingEvent.objects.filter(id__in=[mark.pk for mark in marks], lease=lease)
    patiently(lambda: held.update(available_at=until, lease="", last_error=f"{WAITING}{reason}"[:MAX_REASON]))


def put_aside(mark: PendingEvent, lease: str, reason: str, channel: str = "handler") -> None:
    """Retry later with doubled back-off, or give the event up as a dead letter with its reason."""
    attempts = mark.attempts + 1
    log.warning("%s of event %s failed, attempt %s: %s", mark.work, mark.event_id, attempts, reason.split(":")[0])
    reason = reason.replace("\x00", "").encode("utf-8", "replace").decode()[:MAX_REASON]

    def write() -> None:
        held = PendingEvent.objects.filter(pk=mark.pk, lease=lease)
        if attempts < settings.MAX_ATTEMPTS:
            available_at = timezone.now() + timedelta(seconds=settings.RETRY_SECONDS * 2 ** (attempts - 1))
            held.update(attempts=attempts, available_at=available_at, lease="", last_error=reason)
            return
        with transaction.atomic():
            if held.delete()[0]:
                DeadLetter.objects.create(
                    event=mark.event, work=mark.work, channel=channel, reason=reason, attempts=attempts
                )

    patiently(write)


def fold_batches() -> None:
    """Fold what is known of finished batches that are older than an hour into one row: the total stays right."""
    old = HandledBatch.objects.filter(finished_at__lt=timezone.now() - KEPT)
    if old.count() < 2:
        return
    with transaction.atomic():
        old = HandledBatch.objects.filter(pk__in=list(old.select_for_update().values_list("pk", flat=True)))
        sums = old.aggregate(events=Sum("events"), seconds=Sum("seconds"))
        if old.delete()[0]:
            HandledBatch.objects.create(finished_at=FOLDED, **sums)
