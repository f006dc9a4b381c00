"""Claims on outstanding work. A claim is a lease: it is kept alive while its holder lives, and whoever dies with it
loses it after `SUITE_LEASE_SECONDS`. A mark may only be changed or removed under the lease that claimed it.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.utils import timezone

from suite.events.database import patiently
from suite.events.models import PendingEvent

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """Marks that are ours for now, their events loaded, in order of the events."""

    lease: str
    marks: list[PendingEvent]


@contextmanager
def claimed(work: str, size: int) -> Iterator[Claim]:
    """Claim up to `size` due marks and keep the lease alive inside; what is left of it at the end is due again."""
    claim = patiently(lambda: take(work, size))
    if not claim.marks:
        yield claim
        return
    done = threading.Event()
    thread = threading.Thread(target=_keep, args=(claim.lease, done), name="lease", daemon=True)
    thread.start()
    try:
        yield claim
    finally:
        done.set()
        thread.join()


def take(work: str, size: int) -> Claim:
    """Claim up to `size` due marks, interactive ones first."""
    lease = secrets.token_hex(16)
    if not is_due(work):  # without this, each look of an idle worker would take SQLite's only write lock
        return Claim(lease, [])
    with transaction.atomic():
        due = PendingEvent.objects.filter(work=work, available_at__lte=timezone.now()).order_by("priority", "id")
        if connection.vendor == "postgresql":
            due = due.select_for_update(skip_locked=True)
        ids = list(due.values_list("id", flat=True)[:size])
        PendingEvent.objects.filter(id__in=ids).update(lease=lease, available_at=_end_of_lease())
    marks = PendingEvent.objects.filter(id__in=ids, lease=lease).select_related("event").order_by("event_id")
    return Claim(lease, list(marks))


def is_due(work: str) -> bool:
    """Whether there is work that nobody holds and that need not wait."""
    return PendingEvent.objects.filter(work=work, available_at__lte=timezone.now()).exists()


def postpone(lease: str, seconds: float) -> None:
    """Give back what is still held under the lease, due after a while."""
    until = timezone.now() + timedelta(seconds=seconds)
    patiently(lambda: PendingEvent.objects.filter(lease=lease).update(lease="", available_at=until))


def release_leases() -> int:
    """Make every claimed mark due again; for the start of the one process that is the only worker."""
    return PendingEvent.objects.exclude(lease="").update(lease="", available_at=timezone.now())


def _end_of_lease() -> datetime:
    return timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)


def _keep(lease: str, done: threading.Event) -> None:
    """Move the end of the lease on, three times in its length, until `done`."""
    try:
        while not done.wait(settings.LEASE_SECONDS / 3):
            try:
                PendingEvent.objects.filter(lease=lease).update(available_at=_end_of_lease())
            except (DatabaseError, InterfaceError) as error:
                log.warning("a lease could not be kept (%s); others may take the batch over", type(error).__name__)
                connection.close_if_unusable_or_obsolete()
    finally:
        connection.close()
