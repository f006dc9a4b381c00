from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from suite.domain import Handler, NotYet
from suite.events import database, handling, leases
from suite.events.ingestion import ingest
from suite.events.models import DeadLetter, Event, HandledBatch, PendingEvent
from suite.events.tests.conftest import WRITTEN, Trial, Trouble, note

NAMES = [f"{number:03}" for number in range(40)]


def make_due() -> None:
    PendingEvent.objects.update(available_at=timezone.now())


def in_threads(count: int, work: Any) -> None:
    def body() -> None:
        try:
            work()
        finally:
            connection.close()

    threads = [threading.Thread(target=body) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_it_handles_everything_once_and_counts_it(trial: Trial) -> None:
    ingest([note(name) for name in NAMES])
    assert handling.handle_pending() == 40
    assert trial.effects() == NAMES
    assert trial.batches == [NAMES]
    assert not PendingEvent.objects.exists()
    assert HandledBatch.objects.get().events == 40
    assert handling.handle_pending() == 0
    assert trial.effects() == NAMES


def test_several_workers_share_the_work_without_a_double(trial: Trial, settings: Any) -> None:
    settings.BATCH_EVENTS = 7
    names = [f"{number:03}" for number in range(300)]
    for start in range(0, 300, 50):
        ingest([note(name) for name in names[start : start + 50]])
    in_threads(4, handling.handle_pending)
    assert trial.effects() == names
    assert not PendingEvent.objects.exists()


def test_interactive_events_overtake_bulk(trial: Trial, settings: Any) -> None:
    settings.BATCH_EVENTS = 1
    ingest([note("file-1"), note("file-2")], priority=PendingEvent.BULK)
    ingest([note("click")])
    handling.handle_pending()
    assert trial.batches == [["click"], ["file-1"], ["file-2"]]


def test_a_poison_event_does_not_harm_its_neighbours(trial: Trial) -> None:
    trial.poison = {"013", "029"}
    ingest([note(name) for name in NAMES])
    assert handling.handle_pending() == 38
    assert trial.effects() == [name for name in NAMES if name not in trial.poison]
    waiting = PendingEvent.objects.order_by("event_id")
    assert [mark.event.event_id for mark in waiting] == ["013", "029"]
    assert [mark.attempts for mark in waiting] == [1, 1]
    assert waiting[0].last_error == "Trouble: 013 is poison"
    assert handling.handle_pending() == 0  # they wait for their back-off


def test_the_back_off_doubles_and_ends_in_a_dead_letter(trial: Trial, settings: Any) -> None:
    settings.MAX_ATTEMPTS, settings.RETRY_SECONDS = 4, 10.0
    trial.poison = {"a"}
    ingest([note("a")])
    for wait in (10, 20, 40):
        make_due()
        before = timezone.now()
        handling.handle_pending()
        due = PendingEvent.objects.get().available_at
        assert before + timedelta(seconds=wait) <= due <= timezone.now() + timedelta(seconds=wait)
    make_due()
    handling.handle_pending()
    assert not PendingEvent.objects.exists()
    letter = DeadLetter.objects.get()
    assert (letter.event.event_id, letter.attempts, letter.channel) == ("a", 4, "handler")  # type: ignore[union-attr]
    assert letter.reason == "Trouble: a is poison"
    assert trial.effects() == []


def test_a_healed_event_is_handled_on_its_retry(trial: Trial) -> None:
    trial.poison = {"a"}
    ingest([note("a")])
    handling.handle_pending()
    trial.poison = set()
    make_due()
    assert handling.handle_pending() == 1
    assert trial.effects() == ["a"]


def test_an_event_without_a_handler_is_given_up_with_its_reason(trial: Trial, settings: Any, monkeypatch: Any) -> None:
    settings.MAX_ATTEMPTS = 1
    ingest([note("a")])
    monkeypatch.setattr(handling, "handlers", dict)
    handling.handle_pending()
    assert DeadLetter.objects.get().reason == f"LookupError: no handler for {WRITTEN}"


def test_a_dead_workers_batch_is_taken_over_after_its_lease(trial: Trial) -> None:
    ingest([note("a")])
    claim = leases.take(PendingEvent.HANDLE, 10)
    assert [mark.event.event_id for mark in claim.marks] == ["a"]
    assert handling.handle_pending() == 0
    make_due()  # the lease runs out
    assert handling.handle_pending() == 1
    assert trial.effects() == ["a"]


def test_a_batch_that_was_taken_over_has_no_second_effect(trial: Trial) -> None:
    ingest([note("a"), note("b")])
    slow = leases.take(PendingEvent.HANDLE, 10)
    make_due()
    assert handling.handle_pending() == 2
    assert handling.attempt(WRITTEN, slow.marks, slow.lease) == 0
    assert trial.effects() == ["a", "b"]


def test_a_lease_is_kept_alive_while_its_holder_works(trial: Trial, settings: Any, monkeypatch: Any) -> None:
    settings.LEASE_SECONDS = 0.3

    def slow(events: Sequence[Event]) -> None:
        time.sleep(1.0)

    monkeypatch.setattr(handling, "handlers", lambda: {WRITTEN: Handler(apply=trial.apply, prepare=slow)})
    ingest([note("a")])
    in_threads(2, handling.handle_pending)
    assert trial.batches == [["a"]]
    assert trial.effects() == ["a"]


def test_trouble_with_the_database_is_no_events_fault(trial: Trial, monkeypatch: Any) -> None:
    monkeypatch.setattr(database, "WAITS", (0.0, 0.0, 0.0))
    tries: list[int] = []

    def locked_twice(events: Sequence[Event], prepared: Any) -> None:
        tries.append(len(events))
        if len(tries) < 3:
            raise OperationalError("database is locked")
        trial.apply(events, prepared)

    monkeypatch.setattr(handling, "handlers", lambda: {WRITTEN: Handler(apply=locked_twice)})
    ingest([note(name) for name in NAMES])
    assert handling.handle_pending() == 40
    assert tries == [40, 40, 40]
    assert trial.effects() == NAMES
    assert not DeadLetter.objects.exists()


def test_an_outage_leaves_the_batch_as_it_was(trial: Trial, monkeypatch: Any) -> None:
    monkeypatch.setattr(database, "WAITS", ())
    monkeypatch.setattr(handling, "is_reachable", lambda: False)

    def gone(events: Sequence[Event], prepared: Any) -> None:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(handling, "handlers", lambda: {WRITTEN: Handler(apply=gone)})
    ingest([note("a"), note("b")])
    with pytest.raises(OperationalError):
        handling.handle_pending()
    assert list(PendingEvent.objects.values_list("attempts", "last_error")) == [(0, ""), (0, "")]


def test_postponed_work_is_due_later_under_no_lease(trial: Trial) -> None:
    ingest([note("a")])
    claim = leases.take(PendingEvent.HANDLE, 10)
    leases.postpone(claim.lease, 60)
    mark = PendingEvent.objects.get()
    assert mark.lease == ""
    assert not leases.is_due(PendingEvent.HANDLE)


def test_a_reason_that_no_database_could_store_is_stored_without_its_bad_parts(trial: Trial, settings: Any) -> None:
    settings.MAX_ATTEMPTS = 1
    ingest([note("a")])
    claim = leases.take(PendingEvent.HANDLE, 1)
    handling.put_aside(claim.marks[0], claim.lease, f"{Trouble.__name__}: \x00\ud800 end")
    assert DeadLetter.objects.get().reason == "Trouble: ? end"


def test_old_batches_are_folded_and_the_total_stays(trial: Trial) -> None:
    old = timezone.now() - timedelta(hours=2)
    for count in (3, 4):
        HandledBatch.objects.create(finished_at=old, events=count, seconds=1)
    HandledBatch.objects.create(finished_at=timezone.now(), events=5, seconds=1)
    handling.fold_batches()
    handling.fold_batches()
    assert sorted(HandledBatch.objects.values_list("events", "seconds")) == [(5, 1.0), (7, 2.0)]


def test_what_is_not_there_yet_blames_no_event(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    is_there = False

    def prepare(events: Sequence[Event]) -> None:
        if not is_there:
            raise NotYet("no release is active yet")

    found = handling.handlers()
    patched = {name: Handler(handler.apply, prepare) for name, handler in found.items()}
    monkeypatch.setattr(handling, "handlers", lambda: patched)
    ingest([note(name) for name in NAMES])
    assert handling.is_outstanding()
    assert handling.handle_all(lambda left: None) == 40
    assert not handling.is_outstanding()
    assert set(PendingEvent.objects.values_list("attempts", "last_error")) == {(0, "waits: no release is active yet")}
    is_there = True
    make_due()
    assert handling.handle_pending() == 40
    assert trial.effects() == NAMES
    assert not DeadLetter.objects.exists()
