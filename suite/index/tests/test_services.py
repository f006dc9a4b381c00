"""From a marked document to a candidate, and back to the end after every kind of trouble."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from suite.index import selectors, services
from suite.index.engine import Query
from suite.index.fusion import Weights
from suite.index.models import Collection, DocumentChange, DocumentVector, Generation, RefusedDocument
from suite.index.tests.conftest import DIMENSIONS, FINGERPRINT, NAME, HashEncoder, Switchable, Things, both_engines

WORDS = Weights(vector=0)


def synchronise(encoder: HashEncoder) -> int:
    return services.synchronise(lambda fingerprint: encoder)


def found(text: str) -> set[str]:
    return {each.key for each in selectors.search(NAME, Query(text), weights=WORDS).candidates}


def now_of(generation: Generation) -> Generation:
    generation.refresh_from_db()
    return generation


# Marking ----------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_thousand_marks_are_a_handful_of_statements() -> None:
    for _ in range(2):  # new, then changed
        with CaptureQueriesContext(
            connection,
        ) as queries:
            services.touch(NAME, (f"key {i}" for i in range(1_000)))
        assert len([each for each in queries if "SAVEPOINT" not in each["sql"]]) <= 10
    sequences = DocumentChange.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(sequences) == list(range(1_001, 2_001))
    assert Collection.objects.get(pk=NAME).last_sequence == 2_000


@pytest.mark.django_db(transaction=True)
def test_a_mark_goes_with_its_transaction_and_rings_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[bool] = []
    monkeypatch.setattr(services, "ring_indexing", lambda: rung.append(connection.in_atomic_block))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        services.touch(NAME, ["a"])
        raise ZeroDivisionError
    assert not DocumentChange.objects.exists()
    assert rung == []
    with transaction.atomic():
        services.touch(NAME, ["a", "a"])
        services.touch(NAME, [])
        assert rung == []
    assert DocumentChange.objects.get().sequence == 1
    assert rung == [False]


@pytest.mark.django_db(transaction=True)
def test_marks_from_many_threads_have_each_their_sequence() -> None:
    def mark(name: str) -> None:
        for i in range(5):
            services.touch(NAME, [f"{name}{i}", "shared"])
        connection.close()

    threads = [threading.Thread(target=mark, args=[name]) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sequences = list(DocumentChange.objects.values_list("sequence", flat=True))
    assert len(set(sequences)) == len(sequences) == 16
    assert Collection.objects.get(pk=NAME).last_sequence == max(sequences) == 30


# Bringing forward -------------------------------------------------------------------------------------------
@both_engines
def test_documents_come_change_and_go(generation: Generation, things: Things, encoder: HashEncoder) -> None:
    things.write(a="red shoe", b="blue boot")
    assert synchronise(encoder) == 2
    assert found("shoe") == {"a"}
    things.write(a="green hat")
    things.remove("b")
    assert synchronise(encoder) == 2
    assert (found("shoe"), found("boot"), found("hat")) == (set(), set(), {"a"})
    assert now_of(generation).synced_sequence == Collection.objects.get(pk=NAME).last_sequence == 4
    assert list(DocumentVector.objects.values_list("key", flat=True)) == ["a"]
    assert synchronise(encoder) == 0


def test_vectors_are_the_encoders_and_unchanged_text_is_not_encoded_again(
    generation: Generation, things: Things, encoder: HashEncoder
) -> None:
    things.write(a="red shoe", b="blue boot")
    synchronise(encoder)
    assert sorted(encoder.encoded) == ["blue boot", "red shoe"]
    things.write(a="red shoe", b="black boot")
    synchronise(encoder)
    assert encoder.encoded[2:] == ["black boot"]
    stored = selectors.vectors(NAME, ["a", "b", "absent"], FINGERPRINT)
    assert stored.keys() == {"a", "b"}
    assert stored["b"] == pytest.approx(encoder.vector("black boot"), abs=1e-3)
    assert selectors.vectors(NAME, ["a"], "another") == {}
    nearest = selectors.search(NAME, Query(vector=encoder.vector("black boot")), release=FINGERPRINT).candidates[0]
    assert (nearest.key, nearest.bm25) == ("b", None)
    assert nearest.similarity == pytest.approx(1, abs=2e-3)


def test_more_than_one_batch_and_what_comes_meanwhile(
    generation: Generation, things: Things, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "BATCH_DOCUMENTS", 10)
    things.write(**{f"k{i}": f"thing {i}" for i in range(35)})
    steps: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        steps.append((done, total))
        if done == 35 and "late" not in things.titles:
            things.write(late="late thing")

    assert services.synchronise_generation(generation, encoder, progress) == 36
    assert steps[:3] == [(0, 35), (10, 35), (20, 35)]
    assert steps[-1][0] == 36
    assert "late" in found("late")


@both_engines
def test_an_outage_is_named_and_caught_up_after(
    generation: Generation, engine: Switchable, things: Things, encoder: HashEncoder
) -> None:
    things.write(a="red shoe")
    synchronise(encoder)
    engine.is_down = True
    things.write(b="blue shoe")
    assert synchronise(encoder) == 0
    assert now_of(generation).synced_sequence == 1
    assert "EngineUnavailable" in generation.last_error
    answer = selectors.search(NAME, Query("shoe"), weights=WORDS)
    assert (answer.candidates, answer.degraded) == ((), (selectors.INDEX_UNAVAILABLE,))
    assert answer.release == FINGERPRINT
    engine.is_down = False
    assert synchronise(encoder) == 1
    assert found("shoe") == {"a", "b"}
    assert now_of(generation).last_error == ""
    assert engine.real.count(generation.name) == 2


@both_engines
def test_lost_data_is_built_again_from_the_rows(
    generation: Generation, engine: Switchable, things: Things, encoder: HashEncoder
) -> None:
    things.write(a="red shoe", b="blue boot")
    synchronise(encoder)
    encoder.encoded.clear()
    engine.real.drop(generation.name)
    answer = selectors.search(NAME, Query("shoe"), weights=WORDS)
    assert answer.degraded == (selectors.INDEX_REBUILDING,)
    assert synchronise(encoder) == 2
    assert found("shoe") == {"a"}
    assert encoder.encoded == []
    assert engine.real.resolve(services.alias_of(NAME)) == generation.name


def test_a_rebuild_that_is_broken_off_is_gone_on_with(
    generation: Generation, engine: Switchable, things: Things, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    things.write(a="red shoe", b="blue boot")
    synchronise(encoder)
    engine.real.drop(generation.name)
    with monkeypatch.context() as patched:
        patched.setattr(services, "switch_alias", lambda generation: 1 / 0)  # as soon as it is there again, and empty
        assert synchronise(encoder) == 0
    assert engine.real.exists(generation.name)
    assert synchronise(encoder) == 2
    assert found("shoe") == {"a"}


def test_a_broken_folder_is_built_again(
    generation: Generation, tmp_path: Path, things: Things, encoder: HashEncoder
) -> None:
    things.write(a="red shoe")
    synchronise(encoder)
    folder = tmp_path / "generations" / generation.name
    (folder / "documents.sqlite3").unlink()
    for path in (folder / "text").iterdir():
        path.write_bytes(b"rubbish")
    assert synchronise(encoder) == 1
    assert found("shoe") == {"a"}


def test_a_refused_document_is_reported_and_does_not_hold_up_the_rest(
    generation: Generation, engine: Switchable, things: Things, encoder: HashEncoder
) -> None:
    engine.refuses = {"b"}
    things.write(a="red shoe", b="odd shoe", c="blue shoe")
    assert synchronise(encoder) == 3
    assert found("shoe") == {"a", "c"}
    assert synchronise(encoder) == 0  # it is not tried over and over
    assert RefusedDocument.objects.get().reason == "too odd"
    assert now_of(generation).last_error == ""
    engine.refuses = set()
    things.write(b="plain shoe")
    synchronise(encoder)
    assert found("shoe") == {"a", "b", "c"}
    assert not RefusedDocument.objects.exists()


def test_an_encoder_that_fails_stops_its_collection_alone(
    generation: Generation, things: Things, encoder: HashEncoder
) -> None:
    things.write(a="red shoe")

    def broken(fingerprint: str) -> HashEncoder:
        raise OSError("no checkpoint folder")

    assert services.synchronise(broken) == 0
    assert now_of(generation).last_error == "OSError: no checkpoint folder"
    assert generation.synced_sequence == 0
    assert generation.lease == ""
    things.remove("a")
    assert services.synchronise(broken) == 1  # nothing to encode, so no encoder is loaded
    assert now_of(generation).last_error == ""


def test_vectors_of_another_width_are_an_error(generation: Generation, things: Things) -> None:
    things.write(a="red shoe")
    services.synchronise(lambda fingerprint: lambda texts: HashEncoder()(texts)[:, :3])
    assert "(1, 3)" in now_of(generation).last_error
    assert f"(1, {DIMENSIONS})" in generation.last_error


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_write_one_document_twice(
    generation: Generation, things: Things, encoder: HashEncoder
) -> None:
    things.write(**{f"k{i}": f"thing {i}" for i in range(50)})
    both = threading.Barrier(2)
    done: list[int] = []

    def work() -> None:
        both.wait()
        done.append(synchronise(encoder))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 50
    assert len(encoder.encoded) == 50


def test_a_dead_workers_lease_runs_out_and_a_late_one_moves_nothing(
    generation: Generation, things: Things, encoder: HashEncoder
) -> None:
    things.write(a="red shoe")
    later = timezone.now() + timedelta(seconds=60)
    Generation.objects.update(lease="of the dead", leased_until=later)
    assert synchronise(encoder) == 0
    Generation.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    assert synchronise(encoder) == 1
    things.write(b="blue boot")

    def overtaken(texts: list[str]) -> object:
        Generation.objects.update(lease="another", leased_until=later)
        return encoder(texts)

    with pytest.raises(services.LeaseLost):
        services.synchronise_generation(generation, overtaken)  # type: ignore[arg-type]
    assert now_of(generation).synced_sequence == 1
    assert generation.lease == "another"


# Generations ------------------------------------------------------------------------------------------------
def test_activation_keeps_one_generation_for_rollback(
    generation: Generation, engine: Switchable, things: Things, encoder: HashEncoder
) -> None:
    things.write(a="red shoe")
    synchronise(encoder)

    def switch_to(fingerprint: str) -> Generation:
        made = services.create_generation(NAME, fingerprint, DIMENSIONS)
        services.synchronise_generation(made, encoder)
        services.activate(made)
        selectors.forget_active_generations()
        return made

    second = switch_to("b" * 16)
    assert now_of(generation).state == Generation.State.STANDBY
    assert selectors.search(NAME, Query("shoe"), weights=WORDS).release == "b" * 16
    third = switch_to("c" * 16)
    assert now_of(generation).state == Generation.State.DROPPED
    assert now_of(second).state == Generation.State.STANDBY
    again = switch_to("c" * 16)  # a rebuilt index of the same release leaves the rollback's alone
    assert now_of(third).state == Generation.State.DROPPED
    assert now_of(second).state == Generation.State.STANDBY
    services.activate(second)
    assert now_of(again).state == Generation.State.STANDBY

    services.tidy()
    assert engine.exists(generation.name)  # a request that pinned it may still be running
    Generation.objects.filter(state=Generation.State.DROPPED).update(retired_at=timezone.now() - timedelta(minutes=1))
    services.tidy()
    assert set(engine.real.generations()) == {second.name, again.name}
    assert set(DocumentVector.objects.values_list("fingerprint", flat=True)) == {"b" * 16, "c" * 16}
    with pytest.raises(ValueError, match="is active"):
        services.drop_generation(second)


def test_a_standby_generation_waits_and_is_brought_to_the_end_when_asked(
    generation: Generation, things: Things, encoder: HashEncoder
) -> None:
    things.write(a="red shoe")
    synchronise(encoder)
    services.activate(services.create_generation(NAME, "b" * 16, DIMENSIONS))
    things.remove("a")
    things.write(b="blue boot")
    synchronise(encoder)
    assert now_of(generation).synced_sequence == 1
    assert services.synchronise_generation(generation, encoder) == 2
    assert selectors.engine().count(generation.name) == 1


def test_a_collection_without_a_generation_is_given_one(
    db: None, engine: Switchable, things: Things, encoder: HashEncoder
) -> None:
    things.write(a="red shoe")
    assert selectors.search(NAME, Query("shoe")).degraded == (selectors.NO_RELEASE,)
    services.ensure_generations(FINGERPRINT, DIMENSIONS)
    services.ensure_generations(FINGERPRINT, DIMENSIONS)
    synchronise(encoder)
    assert Generation.objects.count() == 1
    assert found("shoe") == {"a"}


def test_a_generation_without_vectors_is_searched_by_words(
    db: None, engine: Switchable, things: Things, encoder: HashEncoder
) -> None:
    services.activate(services.create_generation(NAME, "", 0))
    things.write(a="red shoe")
    synchronise(encoder)
    assert encoder.encoded == []
    assert found("shoes") == {"a"}


def test_forgotten_keys_are_marked(generation: Generation, things: Things, encoder: HashEncoder) -> None:
    things.titles.update(a="never marked", b="marked")
    services.touch(NAME, ["b"])
    assert services.touch_forgotten(NAME) == 1
    assert services.touch_forgotten(NAME) == 0
    synchronise(encoder)
    assert found("marked") == {"a", "b"}


def test_an_active_generation_is_read_at_most_once_a_second(generation: Generation, django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        assert selectors.active_generation(NAME) == generation
        assert selectors.active_generation(NAME) == generation
    read_at, cached = selectors._read[NAME, ""]
    selectors._read[NAME, ""] = (read_at - selectors.ACTIVE_AGE, cached)
    with django_assert_num_queries(1):
        selectors.active_generation(NAME)


def test_the_deadline_of_a_page_is_kept(generation: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "QUERY_DEADLINE", 0.05)
    monkeypatch.setattr(selectors, "ring", lambda task: None)
    started = time.monotonic()
    vector, reason = selectors.query_vector("never encoded", FINGERPRINT)
    assert (vector, reason) == (None, selectors.QUERY_VECTOR_PENDING)
    assert time.monotonic() - started < 60  # no timing: it must only not wait for ever
