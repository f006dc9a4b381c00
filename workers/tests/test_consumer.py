"""The consumer and the publisher on a real RabbitMQ."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection
from kombu import Connection, Exchange, Queue

from suite.events import exchange, publishing
from suite.events.envelope import Envelope
from suite.events.models import DeadLetter, Event, PendingEvent
from suite.events.services import record_events
from suite.events.tests.conftest import WRITTEN, Trial, note, trial  # noqa: F401  a fixture
from workers import consumer
from workers.consumer import EventConsumer

BROKER_URL = os.environ.get("SUITE_BROKER_URL", "")
pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not BROKER_URL.startswith("amqp"), reason="SUITE_BROKER_URL: docker compose up -d rabbitmq"),
]
JSON = "application/cloudevents+json"


@pytest.fixture
def broker(trial: Trial, settings: Any, monkeypatch: Any) -> Iterator[Connection]:  # noqa: F811
    """RabbitMQ with an exchange and queues of this test's own, removed at the end."""
    name = f"suite.test.{uuid4().hex[:8]}"
    settings.EVENT_EXCHANGE, settings.BROKER_URL, settings.IS_EMBEDDED = name, BROKER_URL, False
    dead = Exchange(f"{name}.dead", type="topic")
    monkeypatch.setattr(exchange, "EVENTS", Exchange(name, type="topic"))
    monkeypatch.setattr(publishing, "EVENTS", exchange.EVENTS)
    monkeypatch.setattr(exchange, "DEAD", dead)
    dead_queue = Queue(f"{name}.dead", dead, routing_key="#", queue_arguments={"x-queue-type": "quorum"})
    monkeypatch.setattr(consumer, "DEAD_QUEUE", dead_queue)
    with exchange.connection() as link:
        channel = link.default_channel
        dead_queue(channel).declare()
        exchange.ingest_queue()(channel).declare()
        yield link
    again: Any = exchange.connection()
    with again as link:
        for queue in (f"{name}.ingest", f"{name}.dead"):
            link.default_channel.queue_delete(queue)
        for owned in (name, f"{name}.dead"):
            link.default_channel.exchange_delete(owned)


@pytest.fixture
def running(broker: Connection) -> Iterator[EventConsumer]:
    one = EventConsumer()

    def body() -> None:
        try:
            one.run()
        finally:
            connection.close()

    thread = threading.Thread(target=body)
    thread.start()
    yield one
    one.stop()
    thread.join(15)
    assert not thread.is_alive()


def send(broker: Connection, body: object, key: str = WRITTEN) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with broker.Producer() as producer:
        producer.publish(raw, exchange=exchange.EVENTS, routing_key=key, content_type=JSON, content_encoding="utf-8")


def wait_until(is_true: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def waiting(broker: Any, queue: str) -> int:
    """Messages in a queue that no consumer holds."""
    return broker.default_channel.queue_declare(queue, passive=True).message_count


def names() -> list[str]:
    return list(Event.objects.order_by("id").values_list("event_id", flat=True))


def test_messages_are_stored_once_and_acknowledged(broker: Connection, running: EventConsumer, settings: Any) -> None:
    for name in ("a", "b", "a"):
        send(broker, note(name))
    send(broker, [note("c"), note("d")])
    wait_until(lambda: Event.objects.count() == 4)
    assert names() == ["a", "b", "c", "d"]
    assert PendingEvent.objects.filter(work=PendingEvent.HANDLE).count() == 4
    running.stop()
    wait_until(lambda: not running.batch)
    assert waiting(broker, f"{settings.EVENT_EXCHANGE}.ingest") == 0
    assert not DeadLetter.objects.exists()


def test_what_cannot_be_taken_goes_to_the_dead_letters_with_its_reason(
    broker: Connection, running: EventConsumer, settings: Any
) -> None:
    send(broker, b"{nonsense")
    send(broker, note("bad", data={}))
    send(broker, note("good"))
    wait_until(lambda: DeadLetter.objects.count() == 2)
    wait_until(lambda: waiting(broker, f"{settings.EVENT_EXCHANGE}.dead") == 2)
    letters = list(DeadLetter.objects.order_by("id").values_list("channel", "reason", "body"))
    assert [channel for channel, _, _ in letters] == ["rabbitmq"] * 2
    assert letters[0][1].startswith("the message is not JSON") and bytes(letters[0][2]) == b"{nonsense"
    assert letters[1][1] == "data.text: is required"
    assert json.loads(bytes(letters[1][2]))["id"] == "bad"
    assert names() == ["good"]


def test_a_message_larger_than_the_limit_is_not_taken(
    broker: Connection, running: EventConsumer, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    send(broker, note("a", "x" * 2_000))
    wait_until(lambda: DeadLetter.objects.exists())
    assert "the limit is 1,000" in DeadLetter.objects.get().reason


def test_nothing_is_acknowledged_while_the_database_is_away(
    broker: Connection, settings: Any, monkeypatch: Any
) -> None:
    """The messages stay with the consumer, and go back to the queue where it stops before they are stored."""

    def away(items: object) -> None:
        raise OperationalError("no database")

    one = EventConsumer()
    with monkeypatch.context() as patched:
        patched.setattr(consumer, "ingest", away)
        thread = threading.Thread(target=one.run)
        thread.start()
        send(broker, note("a"))
        wait_until(lambda: one.wait > 0.5)
        one.stop()
        thread.join(15)
    assert names() == []
    wait_until(lambda: waiting(broker, f"{settings.EVENT_EXCHANGE}.ingest") == 1)


def test_it_goes_on_by_itself_when_the_database_is_back(
    broker: Connection, running: EventConsumer, monkeypatch: Any
) -> None:
    calls: list[int] = []
    ingest = consumer.ingest

    def away_twice(items: Any) -> Any:
        calls.append(1)
        if len(calls) <= 2:
            raise OperationalError("no database")
        return ingest(items)

    monkeypatch.setattr(consumer, "ingest", away_twice)
    send(broker, note("a"))
    wait_until(lambda: names() == ["a"])
    assert len(calls) == 3


def test_it_connects_again_after_its_connection_broke(
    broker: Connection, running: EventConsumer, monkeypatch: Any
) -> None:
    send(broker, note("a"))
    wait_until(lambda: names() == ["a"])
    taken = EventConsumer.take

    def break_once(self: EventConsumer, message: Any) -> None:
        monkeypatch.setattr(EventConsumer, "take", taken)
        message.channel.connection.transport.sock.close()
        raise ConnectionResetError

    monkeypatch.setattr(EventConsumer, "take", break_once)
    running.stop()  # the running consumer holds the old method: start anew with the breaking one
    second = EventConsumer()
    thread = threading.Thread(target=second.run)
    thread.start()
    send(broker, note("b"))
    wait_until(lambda: names() == ["a", "b"], 30)
    second.stop()
    thread.join(15)


def test_conclusions_are_published_with_the_brokers_word_and_do_not_come_back(
    broker: Connection, running: EventConsumer, settings: Any
) -> None:
    everything = Queue(f"{settings.EVENT_EXCHANGE}.spy", exchange.EVENTS, routing_key="#", auto_delete=True)
    spy = everything(broker.default_channel)
    spy.declare()
    record_events([Envelope(id=name, source="suite", type="trial.note.judged", data={"n": 1}) for name in "ab"])
    record_events([Envelope(id="c", source="suite", type=WRITTEN, data={"text": "own"})])
    assert publishing.publish_pending() == 3
    assert not PendingEvent.objects.filter(work=PendingEvent.PUBLISH).exists()
    got: list[Any] = [spy.get(no_ack=True) for _ in range(3)]
    assert [json.loads(message.body)["id"] for message in got] == ["a", "b", "c"]
    assert [message.delivery_info["routing_key"] for message in got] == ["trial.note.judged"] * 2 + [WRITTEN]
    send(broker, note("last"))
    wait_until(lambda: "last" in names())
    assert names() == ["a", "b", "c", "last"]
    assert not DeadLetter.objects.exists()
    spy.delete()


def test_a_broker_that_is_away_delays_what_is_to_be_published(trial: Trial, settings: Any) -> None:  # noqa: F811
    settings.IS_EMBEDDED, settings.BROKER_URL = False, "amqp://guest:guest@127.0.0.1:9/"
    record_events([Envelope(id="a", source="suite", type="trial.note.judged", data={})])
    assert publishing.publish_pending() == 0
    mark = PendingEvent.objects.get()
    assert (mark.work, mark.lease, mark.attempts) == ("publish", "", 0)
