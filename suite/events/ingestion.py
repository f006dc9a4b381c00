"""The one way in: validate, then store the events, the domains' rows and the pending marks in one transaction.

HTTP, RabbitMQ and files all call `ingest`. An event is named by (source, id) for ever: the second time it comes it is
a duplicate and changes nothing.
"""

from __future__ import annotations

import json
import logging
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone
from prometheus_client import Counter

from suite.domain import EventType, event_types
from suite.events import doorbell
from suite.events.envelope import FIT_NAME, Envelope, Rejected, parse
from suite.events.models import Event, PendingEvent
from suite.events.rows import insert, next_ids

log = logging.getLogger(__name__)
ORDER_LOCK = 7_501_001  # PostgreSQL advisory lock: one transaction at a time gives out event ids
MARKS_AT_ONCE = 1_000
MAX_IGNORED = 20  # fields that one result names
MARK = """
    INSERT INTO events_pendingevent
        (event_id, work, priority, attempts, marked_at, available_at, lease, last_error)
    SELECT id, %s, %s, 0, %s, %s, '', '' FROM events_event WHERE id IN ({ids}) ORDER BY id
    ON CONFLICT (event_id, work) DO NOTHING
"""  # in the database alone, without a model instance a mark: a batch's marks cost less than its validation
INGESTED = Counter("suite_ingested_events", "Events taken by this process, by result", ["result"])


class BacklogFull(Exception):
    """More unhandled events wait than `SUITE_BACKLOG_LIMIT` allows; the sender should come back later."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one item. `field` and `reason` are set where it was rejected; `ignored` names what was accepted
    without: fields that its type does not have."""

    id: str
    status: str  # accepted, duplicate or rejected
    field: str = ""
    reason: str = ""
    ignored: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        row: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.status == "rejected":
            return row | {"field": self.field, "reason": self.reason}
        return row | {"ignored": list(self.ignored)} if self.ignored else row


def ingest(items: Iterable[object], *, priority: int = PendingEvent.INTERACTIVE) -> list[Result]:
    """Take decoded CloudEvents, answer one `Result` each, in order. One bad item does not sink the others.

    Raises `BacklogFull`, or `OperationalError` or `InterfaceError` of `django.db` where the database cannot take them
    now; what was not answered may be sent again.
    """
    if doorbell.backlog() >= settings.BACKLOG_LIMIT:
        raise BacklogFull
    results: list[Result] = []
    valid: list[tuple[int, Envelope]] = []
    types = event_types()
    for position, item in enumerate(items):
        try:
            envelope = checked(item, types)
        except Rejected as error:
            results.append(Result(given_id(item), "rejected", error.field, error.reason))
            continue
        results.append(Result(envelope.id, "accepted", ignored=ignored_fields(item, types[envelope.type])))
        valid.append((position, envelope))
    for position, result in store(valid, priority):
        results[position] = result
    for status, count in Counts(result.status for result in results).items():
        INGESTED.labels(status).inc(count)
    return results


def checked(item: object, types: dict[str, EventType]) -> Envelope:
    """The envelope with its data as the domain wants it stored. Raises `Rejected`."""
    envelope = parse(item)
    event_type = types.get(envelope.type)
    if event_type is None:
        raise Rejected("type", f"is not known; {types_like(envelope.type, types)}")
    data = event_type.validate(envelope)
    return Envelope(envelope.id, envelope.source, envelope.type, data, envelope.subject, envelope.time)


def ignored_fields(item: object, event_type: EventType) -> tuple[str, ...]:
    """Where the data holds what its type has no field for, such as a name with a slip in it."""
    unused = event_type.unused(item["data"]) if isinstance(item, dict) else []
    return tuple(f"data.{name}" for name in unused if FIT_NAME.match(name))[:MAX_IGNORED]


def types_like(name: str, types: dict[str, EventType]) -> str:
    """What could have been meant: the types of the same domain, else the domains."""
    domain = name.split(".")[0]
    alike = sorted(known for known in types if known.startswith(f"{domain}."))
    if alike:
        return f"types of {domain}: {', '.join(alike)}"
    return f"a type begins with one of {', '.join(sorted({known.split('.')[0] for known in types})) or 'none'}"


def given_id(item: object) -> str:
    value = item.get("id") if isinstance(item, dict) else None
    return value[:200].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def store(envelopes: Sequence[tuple[int, Envelope]], priority: int) -> list[tuple[int, Result]]:
    """Write what is new and ring the bell after it; returns (position, result) of what was not accepted.

    All is one transaction, unless an event turns out to be one that the database refuses: then each half of the batch
    is tried by itself, until the guilty one stands alone and is rejected.
    """
    if not envelopes:
        return []
    try:
        with transaction.atomic():
            return [(position, Result(envelope.id, "duplicate")) for position, envelope in write(envelopes, priority)]
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # the database's and the domains' ways to refuse a value are many
        if len(envelopes) == 1:
            (position, envelope), reason = envelopes[0], type(error).__name__
            if known_names([envelope]):  # somebody else sent it in the same moment
                return [(position, Result(envelope.id, "duplicate"))]
            log.warning("an event of type %s could not be stored: %s", envelope.type, reason)
            return [(position, Result(envelope.id, "rejected", "data", f"cannot be stored ({reason})"))]
    middle = len(envelopes) // 2
    return store(envelopes[:middle], priority) + store(envelopes[middle:], priority)


def write(envelopes: Sequence[tuple[int, Envelope]], priority: int) -> list[tuple[int, Envelope]]:
    """Write what is new, in the caller's transaction; returns the duplicates.

    What is known is looked up before others have to wait. What another writer stores between that and the insertion
    breaks a unique constraint; then `store` comes again and finds it known.
    """
    known = known_names([envelope for _, envelope in envelopes])
    duplicates, fresh = [], []
    now = timezone.now()
    for position, envelope in envelopes:
        name = (envelope.source, envelope.id)
        if name in known:
            duplicates.append((position, envelope))
            continue
        known.add(name)
        fresh.append(as_row(envelope, now))
    if fresh:
        insert_events(fresh)
        record(fresh, priority)
    return duplicates


def keep_order() -> None:
    """Give out ids in the order of commits, so that a reader of `id > N` never misses one that commits late.

    SQLite has one writer at a time anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ORDER_LOCK])


def known_names(envelopes: Sequence[Envelope]) -> set[tuple[str, str]]:
    ids_by_source = defaultdict(list)
    for envelope in envelopes:
        ids_by_source[envelope.source].append(envelope.id)
    return {
        (source, event_id)
        for source, ids in ids_by_source.items()
        for event_id in Event.objects.filter(source=source, event_id__in=ids).values_list("event_id", flat=True)
    }


def as_row(envelope: Envelope, now: datetime) -> Event:
    return Event(
        source=envelope.source,
        event_id=envelope.id,
        type=envelope.type,
        subject=envelope.subject,
        time=envelope.time or now,
        data=envelope.data,
        received_at=now,
    )


def insert_events(events: Sequence[Event]) -> None:
    """Insert new events in this order, and give each its id; from here to the end of the transaction others wait."""
    texts = [json.dumps(event.data, ensure_ascii=False) for event in events]
    keep_order()
    for event, sequence in zip(events, next_ids(Event, len(events)), strict=True):
        event.pk = sequence
    insert(
        Event,
        ("id", "source", "event_id", "type", "subject", "time", "data", "received_at"),
        [
            (
                e.pk,
                e.source,
                e.event_id,
                e.type,
                e.subject,
                e.time,
                text,
                e.received_at,
            )
            for e, text in zip(events, texts, strict=True)
        ],
    )


def record(events: Sequence[Event], priority: int) -> None:
    """The domains' rows and the pending marks of new events, in the transaction that stored them."""
    types = event_types()
    by_type: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_type[event.type].append(event)
    handled: list[int] = []
    for name, group in by_type.items():
        event_type = types[name]
        if event_type.record is not None:
            event_type.record(group)
        if event_type.is_handled:
            handled.extend(event.pk for event in group)
    if handled:
        mark(handled, PendingEvent.HANDLE, priority)
        transaction.on_commit(doorbell.ring_events)


def mark(events: Sequence[int], work: str, priority: int) -> int:
    """Write the marks that `work` is outstanding on events, given by id; returns how many were not marked already."""
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    added = 0
    with connection.cursor() as cursor:
        for start in range(0, len(events), MARKS_AT_ONCE):
            ids = events[start : start + MARKS_AT_ONCE]
            cursor.execute(MARK.format(ids=", ".join(map(str, map(int, ids)))), [work, priority, now, now])
            added += cursor.rowcount
    return added
