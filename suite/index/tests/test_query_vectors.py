"""Typed texts: a row, a ring, a worker, an answer within the deadline; the text is forgotten at once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from suite.index import selectors, services, vectors
from suite.index.engine import Query
from suite.index.models import Generation, QueryVector
from suite.index.tests.conftest import FINGERPRINT, NAME, HashEncoder, Switchable, Things


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    tasks: list[str] = []
    monkeypatch.setattr(selectors, "ring", tasks.append)
    monkeypatch.setattr(settings, "QUERY_DEADLINE", 0.02)
    return tasks


def test_a_worker_answers_a_whole_batch_and_forgets_the_texts(
    generation: Generation, encoder: HashEncoder, rung: list[str]
) -> None:
    for text in ("red shoe", "  red\n shoe ", "blue boot", "\0 odd \ud800"):
        assert selectors.query_vector(text) == (None, selectors.QUERY_VECTOR_PENDING)
    assert set(rung) == {"workers.interactive.encode_queries"}
    assert QueryVector.objects.count() == 3
    assert vectors.encode_queries(lambda fingerprint: encoder) == 3
    assert len(encoder.encoded) == 3
    assert set(QueryVector.objects.values_list("text", flat=True)) == {""}
    vector, reason = selectors.query_vector("red shoe")
    assert reason == ""
    assert vector == pytest.approx(encoder.vector("red shoe"), abs=1e-3)
    assert selectors.query_vector("red shoe", "another release")[0] is None


def test_a_release_that_cannot_be_loaded_keeps_no_other_waiting(
    generation: Generation, encoder: HashEncoder, rung: list[str]
) -> None:
    selectors.query_vector("one", "gone")
    selectors.query_vector("two")

    def encoder_for(fingerprint: str) -> HashEncoder:
        if fingerprint == "gone":
            raise LookupError(fingerprint)
        return encoder

    assert vectors.encode_queries(encoder_for) == 1
    assert selectors.query_vector("two")[1] == ""


def test_old_rows_are_removed(generation: Generation, rung: list[str]) -> None:
    selectors.query_vector("old")
    QueryVector.objects.update(requested_at=timezone.now() - timedelta(days=2))
    selectors.query_vector("new")
    services.tidy()
    assert QueryVector.objects.get().text == "new"


def test_a_search_falls_back_to_words_and_says_so(
    generation: Generation, things: Things, encoder: HashEncoder, rung: list[str]
) -> None:
    things.write(a="red shoe", b="blue boot")
    services.synchronise(lambda fingerprint: encoder)
    answer = selectors.search(NAME, Query("shoe"))
    assert [each.key for each in answer.candidates] == ["a"]
    assert answer.degraded == (selectors.QUERY_VECTOR_PENDING,)
    vectors.encode_queries(lambda fingerprint: encoder)
    answer = selectors.search(NAME, Query("shoe"))
    assert [each.key for each in answer.candidates] == ["a", "b"]
    assert answer.degraded == ()
    assert answer.release == FINGERPRINT


def test_nothing_typed_finds_nothing(generation: Generation, engine: Switchable, rung: list[str]) -> None:
    services.synchronise(lambda fingerprint: HashEncoder())
    assert selectors.search(NAME, Query("  ")).candidates == ()
    assert rung == []


@pytest.mark.django_db(transaction=True)
def test_a_page_gets_what_a_worker_writes_while_it_waits(
    generation: Generation, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "QUERY_DEADLINE", 20.0)
    is_rung = threading.Event()
    monkeypatch.setattr(selectors, "ring", lambda task: is_rung.set())

    def work() -> None:
        is_rung.wait(20)
        vectors.encode_queries(lambda fingerprint: encoder)
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    vector, reason = selectors.query_vector("red shoe")
    worker.join()
    assert reason == ""
    assert vector is not None
