"""Work that is repeated: the domains' jobs (`jobs.py: JOBS`) and the platform's own. One run at a time, everywhere.

Who runs a job holds its `JobLease` row and keeps it alive; whoever dies with it loses it after `SUITE_LEASE_SECONDS`.
The end of the lease is the claim itself: it is only ever moved by a write that names the value it had.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import F, Q
from django.utils import timezone

from suite.domain import DomainError, Job, declared
from suite.events.database import patiently
from suite.events.models import JobLease
from suite.index.services import tidy

log = logging.getLogger(__name__)
MAX_ERROR = 2_000  # characters
OWN = {"suite.tidy-index": Job(run=tidy, every=60)}


@cache
def jobs() -> dict[str, Job]:
    """Every repeated job by name."""
    found = dict(OWN)
    for domain, name, job in declared("jobs", "JOBS"):
        if not name.startswith(f"{domain.label}."):
            raise DomainError(f"domains/{domain.label}/jobs.py: job {name!r} must start with '{domain.label}.'")
        found[name] = job
    return found


def due() -> list[str]:
    """Names of the jobs whose turn has come and that nobody runs, in order."""
    now = timezone.now()
    rows = {row.name: row for row in JobLease.objects.filter(name__in=jobs())}
    return sorted(name for name, job in jobs().items() if name not in rows or is_due(rows[name], job, now))


def is_due(row: JobLease, job: Job, now: datetime) -> bool:
    """A failed run waits for the next turn, so a bad job cannot keep a worker busy; one that was killed does not."""
    if row.leased_until is not None and row.leased_until >= now:
        return False
    if row.started_at is None or row.finished_at is None or row.finished_at < row.started_at:
        return True
    return row.started_at + timedelta(seconds=job.every) <= now


def run(name: str) -> bool:
    """Run a job where its turn has come and nobody else runs it; False where not. What it raises is stored and logged.

    Raises `LookupError` where no domain declares the job.
    """
    job = jobs().get(name)
    if job is None:
        raise LookupError(f"there is no job {name!r}")
    with held(name, every=job.every) as is_ours:
        if not is_ours:
            return False
        error = ""
        try:
            job.run()
        except Exception as raised:  # whatever it is, the other jobs go on
            log.exception("job %s failed", name)
            error = f"{type(raised).__name__}: {raised}"[:MAX_ERROR]
        patiently(lambda: JobLease.objects.filter(name=name).update(last_error=error))
        return True


@contextmanager
def held(name: str, every: float = 0.0) -> Iterator[Keeper | None]:
    """Hold the lease `name` inside, by what keeps it; None where somebody else does, or where it was taken less than
    `every` ago."""
    until = patiently(lambda: claim(name, every))
    if until is None:
        yield None
        return
    keeper = Keeper(name, until)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.finish()


def claim(name: str, every: float) -> datetime | None:
    """Take the lease; its end where it is ours now."""
    now = timezone.now()
    until = now + timedelta(seconds=settings.LEASE_SECONDS)
    JobLease.objects.get_or_create(name=name)
    free = Q(leased_until=None) | Q(leased_until__lt=now)
    broken_off = Q(finished_at=None) | Q(finished_at__lt=F("started_at"))
    turn = Q(started_at__lte=now - timedelta(seconds=every))
    taken = JobLease.objects.filter(free, broken_off | turn, name=name).update(
        leased_until=until, started_at=now, holder=holder_name(os.getpid())
    )
    return until if taken else None


def holder_name(process: int) -> str:
    return f"{socket.gethostname()[:100]} {process}"


def release_leases() -> None:
    """Free the jobs that a dead process of this machine held; for the start of a process, when it holds none."""
    for row in JobLease.objects.exclude(leased_until=None).exclude(holder=""):
        host, _, process = row.holder.rpartition(" ")
        if host == socket.gethostname()[:100] and (int(process) == os.getpid() or not is_alive(int(process))):
            JobLease.objects.filter(name=row.name, leased_until=row.leased_until).update(leased_until=None)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class LeaseLost(Exception):
    """This process was held up for so long that another one may be at its work."""


class Keeper(threading.Thread):
    """Moves the end of a lease on, three times in its length, until it is finished, or lost: where this process was
    held up for longer than the lease lasts, somebody else may have it."""

    def __init__(self, name: str, until: datetime) -> None:
        super().__init__(name="lease", daemon=True)
        self.lease = name
        self.until = until
        self.is_lost = False
        self.done = threading.Event()

    def run(self) -> None:
        try:
            while not self.is_lost and not self.done.wait(settings.LEASE_SECONDS / 3):
                try:
                    self.move(timezone.now() + timedelta(seconds=settings.LEASE_SECONDS))
                except (DatabaseError, InterfaceError) as error:
                    log.warning("the lease of %s could not be kept (%s)", self.lease, type(error).__name__)
                    connection.close_if_unusable_or_obsolete()
        finally:
            connection.close()

    def move(self, until: datetime) -> None:
        if JobLease.objects.filter(name=self.lease, leased_until=self.until).update(leased_until=until):
            self.until = until
        else:
            self.is_lost = True

    def look(self) -> None:
        """Raises `LeaseLost`."""
        if self.is_lost:
            raise LeaseLost

    def finish(self) -> None:
        """Give the lease back, where it is still ours."""
        self.done.set()
        self.join()
        ours = JobLease.objects.filter(name=self.lease, leased_until=self.until)
        patiently(lambda: ours.update(leased_until=None, finished_at=timezone.now()))
