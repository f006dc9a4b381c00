"""What was shown to whom, as `commerce.recommendation.served` events: what people did not choose is only known so.

A request puts its list into a small buffer and goes on; a thread writes the buffer a moment later. This is best effort
by intent: what is in the buffer when a process is killed is lost, and a full buffer drops. Inside a transaction the
event is written with it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections, connection, transaction
from django.utils import timezone

from domains.commerce.selectors import Person
from suite.events.envelope import Envelope
from suite.events.services import record_events

log = logging.getLogger(__name__)
TYPE = "commerce.recommendation.served"
BUFFER = 5_000  # lists
QUIET_SECONDS = 0.5  # lists served within this time are written together
AT_ONCE = 500

_buffer: queue.Queue[Envelope] = queue.Queue(BUFFER)
_lock = threading.Lock()
_thread: threading.Thread | None = None


def record_exposure(person: Person | None, surface: str, answer: dict[str, Any]) -> None:
    """Note that this answer was shown. `surface` says where: user, session or similar. Never raises, never waits."""
    global _thread
    key = person.key if person else ""
    is_session = bool(person and person.is_session)
    data = {
        "catalogue": answer["catalogue"],
        "user_id": "" if is_session else key,
        "session_id": key if is_session else "",
        "surface": surface,
        "served_by": answer["served_by"],
        "release": answer["release"],
        "items": [item["item_id"] for item in answer["items"]],
    }
    envelope = Envelope(uuid.uuid4().hex, "suite", TYPE, data, answer["catalogue"], timezone.now())
    if connection.in_atomic_block:
        record_events([envelope])
        return
    try:
        _buffer.put_nowait(envelope)
    except queue.Full:
        log.warning("an exposure was dropped: %s wait to be written", BUFFER)
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_write_forever, name="exposures", daemon=True)
            _thread.start()


def _write_forever() -> None:
    while True:
        first = _buffer.get()
        time.sleep(QUIET_SECONDS)
        write([first, *_waiting(AT_ONCE - 1)])


def _waiting(most: int) -> list[Envelope]:
    found: list[Envelope] = []
    while len(found) < most and not _buffer.empty():
        found.append(_buffer.get_nowait())
    return found


def write(envelopes: list[Envelope]) -> None:
    """Store the lists; a database that cannot take them now costs these lists, not the pages."""
    close_old_connections()
    try:
        with transaction.atomic():
            record_events(envelopes)
    except (DatabaseError, InterfaceError) as error:
        log.warning("%s exposures were not written (%s)", len(envelopes), type(error).__name__)
    finally:
        connection.close()  # an idle thread keeps no connection of the pool
