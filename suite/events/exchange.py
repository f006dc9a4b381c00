"""The names on RabbitMQ, declared once: a topic exchange whose routing keys are event types, the durable queue that we
take events from, and the exchange and queue for messages that could not be taken.
"""

from __future__ import annotations

from django.conf import settings
from kombu import Connection, Exchange, Queue, binding
from kombu.exceptions import KombuError

from suite.domain import event_types

CONTENT_TYPE = "application/cloudevents+json"
CONNECT_SECONDS = 3
HEARTBEAT_SECONDS = 30
DELIVERY_LIMIT = 50  # a message that was on its way so often and never settled kills its consumers

EVENTS = Exchange(settings.EVENT_EXCHANGE, type="topic", durable=True)
DEAD = Exchange(f"{settings.EVENT_EXCHANGE}.dead", type="topic", durable=True)
DEAD_QUEUE = Queue(f"{settings.EVENT_EXCHANGE}.dead", DEAD, routing_key="#", queue_arguments={"x-queue-type": "quorum"})


def connection() -> Connection:
    """A connection that waits for the broker's word on every message that it sends."""
    return Connection(
        settings.BROKER_URL,
        connect_timeout=CONNECT_SECONDS,
        heartbeat=HEARTBEAT_SECONDS,
        transport_options={"confirm_publish": True, "confirm_timeout": HEARTBEAT_SECONDS},
    )


def broker_errors(broker: Connection) -> tuple[type[BaseException], ...]:
    """What is raised where the broker is away, or cannot do what it is asked."""
    return (KombuError, *broker.connection_errors, *broker.channel_errors)


def ingest_queue() -> Queue:
    """The queue of events to ingest, bound for every type that can come in."""
    return Queue(
        f"{settings.EVENT_EXCHANGE}.ingest",
        bindings=[binding(EVENTS, routing_key=name) for name in sorted(event_types())],
        queue_arguments={
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": DEAD.name,
            "x-delivery-limit": DELIVERY_LIMIT,
        },
    )
