"""Takes events from RabbitMQ: the same way in as over HTTP. A message is acknowledged after the commit that stores its
events, so nothing is acknowledged that is not stored; what cannot be taken goes to the dead letters with its reason.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from kombu import Connection
from kombu.message import Message

from suite.events.database import UNAVAILABLE
from suite.events.decoding import TooManyItems, Unreadable, decode
from suite.events.exchange import DEAD_QUEUE, HEARTBEAT_SECONDS, broker_errors, connection, ingest_queue
from suite.events.ingestion import BacklogFull, ingest
from suite.events.models import DeadLetter

log = logging.getLogger(__name__)
PREFETCH = 500
BATCH_MESSAGES = 200
GATHER_SECONDS = 0.05  # how long the first message of a batch waits for others
LONGEST_WAIT = 10.0  # seconds between tries while the broker or the database is away
KEPT_BYTES = 64 * 2**10  # of a message that is too large to be kept whole


class EventConsumer:
    """One consumer. `run` returns after `stop`; it outlives outages of the broker and of the database."""

    def __init__(self) -> None:
        self.batch: list[Message] = []
        self.first_at = 0.0
        self.not_before = 0.0  # while the database is away, messages stay with us, unacknowledged
        self.wait = 0.0
        self.stopping = threading.Event()

    def stop(self) -> None:
        self.stopping.set()

    def run(self) -> None:
        while not self.stopping.is_set():
            broker = connection()
            try:
                with broker:
                    self.consume(broker)
            except broker_errors(broker) as error:
                self.lengthen_wait()
                log.warning("no connection to RabbitMQ (%s), trying again in %.1f s", type(error).__name__, self.wait)
                self.stopping.wait(self.wait)
            self.batch.clear()  # the broker gives out again what was not acknowledged

    def consume(self, broker: Connection) -> None:
        broker.ensure_connection(max_retries=1, timeout=HEARTBEAT_SECONDS)
        channel = broker.default_channel
        DEAD_QUEUE(channel).declare()
        with broker.Consumer(
            [ingest_queue()], on_message=self.take, channel=channel, prefetch_count=PREFETCH, auto_declare=True
        ):
            log.info("taking events from RabbitMQ")
            self.wait = 0.0
            while not self.stopping.is_set():
                with suppress(TimeoutError):
                    broker.drain_events(timeout=GATHER_SECONDS if self.batch else 1.0)
                broker.heartbeat_check()
                if self.is_due():
                    self.settle(self.batch[:BATCH_MESSAGES])

    def take(self, message: Message) -> None:
        if not self.batch:
            self.first_at = time.monotonic()
        self.batch.append(message)

    def is_due(self) -> bool:
        now = time.monotonic()
        is_gathered = len(self.batch) >= BATCH_MESSAGES or now - self.first_at >= GATHER_SECONDS
        return bool(self.batch) and is_gathered and now >= self.not_before

    def settle(self, messages: Sequence[Message]) -> None:
        """Store the messages' events, then acknowledge; where that cannot be now, wait and keep them."""
        try:
            taken = store(messages)
        except (*UNAVAILABLE, BacklogFull) as error:
            self.lengthen_wait()
            self.not_before = time.monotonic() + self.wait
            database.close_if_unusable_or_obsolete()
            log.warning("events cannot be stored now (%s), trying again in %.1f s", type(error).__name__, self.wait)
            return
        self.wait = 0.0
        for message, is_taken in zip(messages, taken, strict=True):
            if is_taken:
                message.ack()
            else:
                message.reject(requeue=False)
        del self.batch[: len(messages)]
        self.first_at = time.monotonic()

    def lengthen_wait(self) -> None:
        self.wait = min(LONGEST_WAIT, 2 * self.wait or 0.5)


def store(messages: Sequence[Message]) -> list[bool]:
    """Store the events of messages in one transaction, and a dead letter for each part that cannot be taken.

    Returns for each message whether all of it was taken. Raises what `ingest` raises; then nothing was stored.
    """
    items: list[tuple[int, object]] = []
    letters: list[DeadLetter] = []
    taken = [True] * len(messages)
    bodies = [body_of(message) for message in messages]
    for number, body in enumerate(bodies):
        try:
            items += [(number, item) for item in decode(checked(body), settings.MAX_BATCH_ITEMS)]
        except Unreadable as error:
            taken[number] = False
            letters.append(letter(f"the message {error}", body))
        except TooManyItems:
            taken[number] = False
            letters.append(letter(f"the message holds more than {settings.MAX_BATCH_ITEMS:,} events", body))
    with transaction.atomic():
        results = ingest([item for _, item in items])
        for (number, item), result in zip(items, results, strict=True):
            if result.status == "rejected":
                taken[number] = False
                body = json.dumps(item).encode() if isinstance(item, dict) else bodies[number]
                letters.append(letter(f"{result.field}: {result.reason}", body))
        DeadLetter.objects.bulk_create(letters)
    return taken


def body_of(message: Message) -> bytes:
    """The bytes of a message, which kombu may have made a text of."""
    body = message.body
    return bytes(body) if isinstance(body, bytes | memoryview | bytearray) else str(body).encode("utf-8", "replace")


def checked(body: bytes) -> bytes:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if len(body) > limit:
        raise Unreadable(f"is {len(body):,} bytes, the limit is {limit:,}")
    return body


def letter(reason: str, body: bytes) -> DeadLetter:
    log.warning("a message of %s bytes from RabbitMQ was not taken", len(body))
    is_whole = len(body) <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return DeadLetter(channel="rabbitmq", reason=reason, body=body if is_whole else body[:KEPT_BYTES])
