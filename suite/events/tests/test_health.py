from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from suite.events import handling, health
from suite.events.ingestion import ingest
from suite.events.models import DeadLetter
from suite.events.tests.conftest import Trial, note
from suite.index.models import Collection, Generation
from suite.releases.models import Release

FINGERPRINT = "0123456789abcdef"


@pytest.fixture
def client(trial: Trial, monkeypatch: Any) -> Client:
    monkeypatch.setattr(health, "_are_migrations_done", False)
    monkeypatch.setattr(health, "_broker", (0.0, (health.OK, "")))
    return Client(HTTP_HOST="localhost")


def make_release() -> None:
    Release.objects.create(fingerprint=FINGERPRINT, path="x", body="x", dimensions=3, state=Release.State.ACTIVE)


def ready(client: Client) -> tuple[int, str, dict[str, str]]:
    response = client.get("/health/ready")
    body = response.json()
    return response.status_code, body["status"], {name: part["status"] for name, part in body["parts"].items()}


def test_a_living_process_says_so(client: Client) -> None:
    assert client.get("/health/live").status_code == 200


def test_it_is_starting_until_there_is_a_release_and_an_index(client: Client, settings: Any) -> None:
    settings.IS_EMBEDDED = True
    status, word, parts = ready(client)
    assert (status, word) == (503, "starting")
    assert parts == {"database": "ok", "migrations": "ok", "release": "starting", "index": "ok", "broker": "ok"}
    make_release()
    assert ready(client)[:2] == (200, "ok")
    collection = Collection.objects.create(name="trial.notes", last_sequence=4)
    assert ready(client)[2]["index"] == "starting"
    generation = Generation.objects.create(
        collection=collection, fingerprint=FINGERPRINT, dimensions=3, name="g", state=Generation.State.ACTIVE,
        synced_sequence=1,
    )  # fmt: skip
    assert ready(client)[:2] == (200, "ok")
    generation.last_error = "the engine does not answer"
    generation.save()
    assert ready(client)[:2] == (200, "degraded")


def test_a_database_that_does_not_answer_is_broken_and_keeps_its_secrets(client: Client, monkeypatch: Any) -> None:
    def refuse() -> None:
        raise OperationalError("password for user shop failed")

    with monkeypatch.context() as patched:
        patched.setattr(health.connection, "cursor", refuse)
        response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["parts"]["database"]["status"] == "broken"
    assert "shop" not in response.content.decode()


def test_a_broker_that_is_away_degrades_only(client: Client, settings: Any) -> None:
    make_release()
    settings.IS_EMBEDDED, settings.BROKER_URL = False, "amqp://guest:guest@127.0.0.1:9/"
    status, word, parts = ready(client)
    assert (status, word, parts["broker"]) == (200, "degraded", "degraded")


def metric(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def test_metrics_tell_what_waits_and_what_was_done(client: Client) -> None:
    before = client.get("/metrics").content.decode()
    ingest([note("a"), note("b"), note("a"), 7])
    DeadLetter.objects.create(channel="rabbitmq", reason="?")
    text = client.get("/metrics").content.decode()
    assert metric(text, 'suite_backlog_events{work="handle"}') == 2
    assert metric(text, 'suite_oldest_outstanding_seconds{work="handle"}') > 0
    assert metric(text, "suite_dead_letters") == 1
    for result, count in (("accepted", 2), ("duplicate", 1), ("rejected", 1)):
        name = f'suite_ingested_events_total{{result="{result}"}}'
        assert metric(text, name) - (metric(before, name) if name in before else 0) == count
    handling.handle_pending()
    text = client.get("/metrics").content.decode()
    assert metric(text, 'suite_backlog_events{work="handle"}') == 0
    assert metric(text, 'suite_oldest_outstanding_seconds{work="handle"}') == 0
    assert metric(text, "suite_handled_events_total") == 2
    assert metric(text, "suite_handled_events_per_second") == pytest.approx(2 / 60)


def test_metrics_survive_a_database_that_does_not_answer(client: Client, monkeypatch: Any) -> None:
    def refuse() -> None:
        raise OperationalError

    monkeypatch.setattr(health.selectors, "outstanding", refuse)
    response = client.get("/metrics")
    assert response.status_code == 200
    assert metric(response.content.decode(), "suite_database_up") == 0
