"""Ingestion over HTTP, beside a bare `bulk_create` of the same Event rows on the same database.

Ours is the whole way: HTTP, key, parsing, checks, duplicates, the event, the domain's own row and the pending mark. The
rival only inserts the event rows, from objects that are made beforehand. Both run on a scratch database of their own,
beside the one that the settings name; the rounds of the two alternate, and the medians are compared.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

NAME = "ingest"
HELP = "events/s over HTTP in batches, beside a bare bulk_create of the same rows"
KINDS = ("view", "view", "cart", "purchase")


def run(events: int = 10_000, batch: int = 100, clients: int = 2, rounds: int = 3) -> dict[str, Any]:
    """{"ours", "rival" (events/s), "ratio", "database", ...}; `events` are sent in each round."""
    ours, rival = [], []
    with scratch_database() as url, server(url) as port:
        key = api_key()
        for number in range(-1, rounds):  # the first round warms both up and is not counted
            bodies = [envelopes(f"ours-{number}-{start}", batch) for start in range(0, events, batch)]
            rows = [event_rows(f"rival-{number}-{start}", batch) for start in range(0, events, batch)]
            figures = events / seconds_of_posting(port, key, bodies, clients), events / seconds_of_inserting(rows)
            if number >= 0:
                ours.append(figures[0])
                rival.append(figures[1])
    return {
        "ours": round(median(ours)),
        "rival": round(median(rival)),
        "ratio": round(median(ours) / median(rival), 3),
        "database": connection.vendor,
        "events": events,
        "batch": batch,
        "clients": clients,
        "rounds": rounds,
    }


@contextmanager
def scratch_database() -> Iterator[str]:
    """A migrated database beside the real one, under Django's connection; yields its address for other processes."""
    real = connection.settings_dict["NAME"]
    suffix = f"benchmark_{os.getpid()}"
    connection.settings_dict["TEST"]["NAME"] = f"{real}_{suffix}"
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        if connection.vendor == "sqlite":
            yield f"sqlite://{name}"
        else:
            yield urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}"))
    finally:
        connection.creation.destroy_test_db(real, verbosity=0)


@contextmanager
def server(database_url: str) -> Iterator[int]:
    """A web process on the scratch database, as `manage.py up` runs it, without workers; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "suite.asgi:application", "--port", str(port), "--no-access-log"]
    environment = os.environ | {"SUITE_DATABASE_URL": database_url, "SUITE_LOG_LEVEL": "ERROR"}
    process = subprocess.Popen([*command, "--log-level", "error"], env=environment, cwd=settings.BASE_DIR)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def api_key() -> str:
    from suite.events.auth import create_key

    return create_key(f"benchmark {secrets.token_hex(4)}", ["ingest"])[1]


def data_of(number: int) -> dict[str, Any]:
    return {
        "user_id": f"user-{number % 997}",
        "item_id": f"item-{number % 4099}",
        "kind": KINDS[number % len(KINDS)],
        "timestamp": f"2026-01-{1 + number % 28:02}T12:00:00Z",
    }


def envelopes(prefix: str, size: int) -> bytes:
    return json.dumps(
        [
            {
                "specversion": "1.0",
                "id": f"{prefix}-{number}",
                "source": "benchmark",
                "type": "commerce.interaction.recorded",
                "data": data_of(number),
            }
            for number in range(size)
        ]
    ).encode()


def event_rows(prefix: str, size: int) -> list[Any]:
    from suite.events.models import Event

    now = timezone.now()
    return [
        Event(
            source="benchmark",
            event_id=f"{prefix}-{number}",
            type="commerce.interaction.recorded",
            time=now,
            data=data_of(number),
            received_at=now,
        )
        for number in range(size)
    ]


def seconds_of_posting(port: int, key: str, bodies: list[bytes], clients: int) -> float:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"}

    def post(own: list[bytes]) -> None:
        link = http.client.HTTPConnection("127.0.0.1", port)
        for body in own:
            link.request("POST", "/api/events", body, headers)
            response = link.getresponse()
            answer = response.read()
            if response.status != 202 or b'"rejected"' in answer:
                raise RuntimeError(f"the server answered {response.status}: {answer[:300]!r}")

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(post, [bodies[first::clients] for first in range(clients)]))
    return time.perf_counter() - started


def seconds_of_inserting(batches: list[list[Any]]) -> float:
    from suite.events.models import Event

    started = time.perf_counter()
    for rows in batches:
        with transaction.atomic():
            Event.objects.bulk_create(rows)
    return time.perf_counter() - started
