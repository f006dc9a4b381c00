from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from suite.events import handling
from suite.events.envelope import Envelope
from suite.events.ingestion import ingest
from suite.events.models import DeadLetter, Event, PendingEvent
from suite.events.services import NotReplayed, record_events, replay_dead_letter, replay_events
from suite.events.tests.conftest import READ, WRITTEN, Trial, note


def conclusion(event_id: str) -> Envelope:
    return Envelope(id=event_id, source="suite", type="trial.note.judged", data={"score": 1})


def test_what_the_suite_concludes_is_stored_and_published_where_rabbitmq_is_in_use(trial: Trial, settings: Any) -> None:
    settings.IS_EMBEDDED = True
    record_events([conclusion("a")])
    assert not PendingEvent.objects.exists()
    settings.IS_EMBEDDED = False
    record_events([conclusion("b"), conclusion("c")])
    assert list(PendingEvent.objects.values_list("event__event_id", "work")) == [("b", "publish"), ("c", "publish")]
    assert list(Event.objects.values_list("event_id", flat=True)) == ["a", "b", "c"]


def test_a_conclusion_goes_with_the_callers_transaction(trial: Trial) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        record_events([conclusion("a")])
        raise RuntimeError
    assert not Event.objects.exists()


def test_replay_runs_the_handlers_of_the_chosen_events_once_more(trial: Trial) -> None:
    ingest([note("a"), note("b"), note("c", type=READ)])
    handling.handle_pending()
    Event.objects.filter(event_id="a").update(received_at=timezone.now() - timedelta(days=2))
    assert replay_events(since=timezone.now() - timedelta(days=1)) == 1
    handling.handle_pending()
    assert trial.effects() == ["a", "b", "b"]
    assert replay_events(types=[WRITTEN]) == 2
    assert replay_events() == 0  # they are outstanding already
    handling.handle_pending()
    assert trial.effects() == ["a", "a", "b", "b", "b"]


def test_the_replay_command_waits_for_the_work_and_refuses_a_wrong_question(
    trial: Trial, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest([note("a")])
    handling.handle_pending()
    call_command("replay", "--type", WRITTEN, "--json")
    assert json.loads(capsys.readouterr().out) == {"replayed": 1}
    assert trial.effects() == ["a", "a"]
    with pytest.raises(CommandError, match="no handler"):
        call_command("replay", "--type", READ)
    with pytest.raises(CommandError, match="say which events"):
        call_command("replay")
    with pytest.raises(CommandError, match="ISO 8601"):
        call_command("replay", "--since", "yesterday")


def give_up(trial: Trial, settings: Any) -> DeadLetter:
    settings.MAX_ATTEMPTS = 1
    trial.poison = {"a"}
    ingest([note("a")])
    handling.handle_pending()
    trial.poison = set()
    return DeadLetter.objects.get()


def test_a_replayed_dead_letter_has_its_effect_once(trial: Trial, settings: Any) -> None:
    letter = give_up(trial, settings)
    assert trial.effects() == []
    replay_dead_letter(letter)
    replay_dead_letter(letter)
    assert handling.handle_pending() == 1
    assert trial.effects() == ["a"]
    assert DeadLetter.objects.get().replayed_at is not None


def test_a_raw_message_is_taken_in_again_or_stays_with_its_reason(trial: Trial) -> None:
    good = DeadLetter.objects.create(channel="rabbitmq", reason="?", body=json.dumps(note("a")).encode())
    replay_dead_letter(good)
    assert Event.objects.get().event_id == "a"
    for body, words in ((b"{nonsense", "not JSON"), (json.dumps(note("b", data={})).encode(), "data.text")):
        bad = DeadLetter.objects.create(channel="rabbitmq", reason="?", body=body)
        with pytest.raises(NotReplayed, match=words):
            replay_dead_letter(bad)
        assert DeadLetter.objects.get(pk=bad.pk).replayed_at is None


def test_the_dead_letters_command_lists_shows_and_replays(
    trial: Trial, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = give_up(trial, settings)
    call_command("dead-letters", "list", "--json")
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["type"], row["event_id"], row["reason"]) == (WRITTEN, "a", "Trouble: a is poison")
    call_command("dead-letters", "show", str(letter.pk))
    assert json.loads(capsys.readouterr().out)["data"] == {"text": "hello"}
    call_command("dead-letters", "replay", "--all")
    handling.handle_pending()
    assert trial.effects() == ["a"]
    with pytest.raises(CommandError):
        call_command("dead-letters", "replay", str(letter.pk))
    with pytest.raises(CommandError, match="no dead letter"):
        call_command("dead-letters", "show", "999999")
