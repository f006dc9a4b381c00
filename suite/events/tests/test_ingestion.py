from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, transaction

from suite.events import doorbell, ingestion
from suite.events.ingestion import BacklogFull, ingest
from suite.events.models import Event, PendingEvent
from suite.events.tests.conftest import READ, Trial, note


def statuses(items: list[object]) -> list[str]:
    return [result.status for result in ingest(items)]


def test_it_stores_events_with_the_domains_rows_and_the_marks(trial: Trial) -> None:
    assert statuses([note("a"), note("b", type=READ)]) == ["accepted", "accepted"]
    assert [(event.event_id, event.data) for event in Event.objects.all()] == [
        ("a", {"text": "hello"}),
        ("b", {"text": "hello"}),
    ]
    assert trial.recorded == ["a"]
    assert list(PendingEvent.objects.values_list("event__event_id", "work")) == [("a", "handle")]


def test_a_name_is_taken_once_within_a_batch_and_across_batches(trial: Trial) -> None:
    assert statuses([note("a", "first"), note("a", "second"), note("a", source="other")]) == [
        "accepted",
        "duplicate",
        "accepted",
    ]
    assert statuses([note("b"), note("a", "third")]) == ["accepted", "duplicate"]
    assert Event.objects.get(source="test", event_id="a").data == {"text": "first"}
    assert trial.recorded == ["a", "a", "b"]


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_what_another_writer_stored_after_the_look_up_is_a_duplicate(
    trial: Trial, monkeypatch: Any, names: str
) -> None:
    assert statuses([note("a")]) == ["accepted"]
    look_up, looks = ingestion.known_names, []

    def blind_at_first(envelopes: Any) -> set[tuple[str, str]]:
        looks.append(len(envelopes))
        return look_up(envelopes) if len(looks) > 1 else set()

    monkeypatch.setattr(ingestion, "known_names", blind_at_first)
    assert statuses([note(name) for name in names]) == ["duplicate", *["accepted"] * (len(names) - 1)]
    assert len(looks) > 1
    assert sorted(trial.recorded) == sorted(names)


def test_one_bad_item_does_not_sink_the_others(trial: Trial) -> None:
    bad: list[object] = [7, {}, note("x", type="trial.unknown"), note("y", data={"text": 5}), note("z", "t" * 101)]
    results = ingest([note("a"), *bad, note("b")])
    assert [result.status for result in results] == ["accepted", *["rejected"] * 5, "accepted"]
    assert [result.field for result in results[1:6]] == ["event", "data", "type", "data.text", "data.text"]
    assert "101 characters long, the limit is 100" in results[5].reason
    assert Event.objects.count() == 2


def test_an_event_that_the_domain_cannot_store_is_rejected_alone(trial: Trial) -> None:
    trial.refused = {"c", "f"}
    results = ingest([note(name) for name in "abcdefgh"])
    assert [result.status[0] for result in results] == list("aaraaraa")
    assert results[2].reason == "cannot be stored (Trouble)"
    assert sorted(Event.objects.values_list("event_id", flat=True)) == list("abdegh")
    assert PendingEvent.objects.count() == 6


def test_nothing_is_left_where_the_surrounding_transaction_fails(trial: Trial) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        ingest([note("a")])
        raise DatabaseError
    assert not Event.objects.exists()
    assert not PendingEvent.objects.exists()


def test_the_bell_rings_after_the_commit_and_only_for_handled_events(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(doorbell, "ring", rung.append)
    ingest([note("a", type=READ)])
    assert rung == []
    with transaction.atomic():
        ingest([note("b")])
        assert rung == []
    assert rung == ["workers.events.handle_pending"]


def test_a_full_backlog_refuses_everything(trial: Trial, settings: object) -> None:
    ingest([note("a"), note("b")])
    settings.BACKLOG_LIMIT = 2  # type: ignore[attr-defined]
    doorbell._backlog = (0.0, 0)
    with pytest.raises(BacklogFull):
        ingest([note("c")])
    assert Event.objects.count() == 2


def test_ids_follow_the_order_of_arrival(trial: Trial) -> None:
    ingest([note(str(number)) for number in range(250)])
    assert list(Event.objects.order_by("id").values_list("event_id", flat=True)) == [str(n) for n in range(250)]
