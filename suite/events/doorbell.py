"""Wake-ups: small messages that say "look now", sent after the commit, at most one a moment, never in the way.

A thread sends them, so that a broker that is down delays no request; the sweep finds what a lost one left.
"""

from __future__ import annotations

import logging
import threading
import time

from suite.celery import app
from suite.events.models import PendingEvent

log = logging.getLogger(__name__)
QUIET_SECONDS = 0.02  # wake-ups for the same task within this time are one
BACKLOG_AGE = 1.0  # seconds that a counted backlog may be old

_due: set[str] = set()
_condition = threading.Condition()
_thread: threading.Thread | None = None
_backlog = (0.0, 0)


def ring(task: str) -> None:
    """Ask a worker to run the argument-free `task` soon. Returns at once and never raises."""
    global _thread
    with _condition:
        _due.add(task)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_send_forever, name="doorbell", daemon=True)
            _thread.start()
        _condition.notify()


def ring_events() -> None:
    ring("workers.events.handle_pending")


def ring_publishing() -> None:
    ring("workers.events.publish_pending")


def ring_indexing() -> None:
    ring("workers.indexing.synchronise")


def _send_forever() -> None:
    while True:
        with _condition:
            while not _due:
                _condition.wait()
            tasks = sorted(_due)
            _due.clear()
        for task in tasks:
            try:
                app.send_task(task, retry=False)
            except Exception as error:  # the broker's client raises many kinds; the sweep covers for all of them
                log.warning(
                    "wake-up for %s was not sent (%s); the sweep will find the work", task, type(error).__name__
                )
        time.sleep(QUIET_SECONDS)


def backlog() -> int:
    """Events that wait to be handled, counted at most once a second."""
    global _backlog
    counted_at, count = _backlog
    if time.monotonic() - counted_at > BACKLOG_AGE:
        count = PendingEvent.objects.filter(work=PendingEvent.HANDLE).count()
        _backlog = (time.monotonic(), count)
    return count
