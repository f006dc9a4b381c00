"""The live evaluation: it decides as the back-test does, once, and goes on where it stopped, whatever is killed,
however late stories come and wherever the clock jumps."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from domains.finance.alerting import evaluation, history, ledger
from domains.finance.alerting.backtest import back_test
from domains.finance.alerting.evaluation import DELAY, evaluate_rules
from domains.finance.alerting.explain import explain
from domains.finance.alerting.series import DAY, HOUR, MINUTE, moment, unix
from domains.finance.models import (
    Alert,
    AlertRule,
    Bucket,
    Channel,
    DailyBaseline,
    Entity,
    Notification,
    Revision,
    RuleProgress,
    RuleState,
    Transition,
)
from domains.finance.tests.streams import MIDNIGHT, seasonal, store, store_all
from suite.events.models import Event

pytestmark = pytest.mark.django_db
TODAY = MIDNIGHT + 14 * DAY
BEGIN = TODAY + 9 * HOUR  # live from here on
BURST = TODAY + 10 * HOUR  # 17 minutes of it
END = TODAY + 13 * HOUR


@pytest.fixture
def stream() -> list[np.ndarray]:
    """Three entities for 15 days, and a burst of the first one on the last day."""
    Entity.objects.bulk_create(
        Entity(pk=i + 1, symbol=symbol, name=symbol.title()) for i, symbol in enumerate(("ACME", "BOLT", "COIL"))
    )
    streams = [seasonal(15, a_day, seed) for seed, a_day in enumerate((40, 10, 2))]
    first = (BURST - MIDNIGHT) // MINUTE
    streams[0][first : first + 17] += 1
    store_all(streams)
    return streams


def rule(**fields: Any) -> AlertRule:
    given = {"name": "Surge", "metric": "surge", "scope": "each_entity", "threshold": 4.0, "clear_threshold": 2.0}
    return AlertRule.objects.create(**(given | {"cool_down_seconds": 600} | fields))


def volume(**fields: Any) -> AlertRule:
    """Ten stories of everything in a quarter of an hour."""
    given = {"metric": "volume", "scope": "everything", "threshold": 10, "clear_threshold": 5, "window_seconds": 900}
    return rule(**(given | {"name": "Busy"} | fields))


def live(start: int, end: int, step: int = MINUTE) -> None:
    for now in range(start, end + 1, step):
        evaluate_rules(now + DELAY)


def ledger_of(tested: AlertRule) -> list[tuple[str, int, str, str]]:
    rows = Transition.objects.filter(rule=tested).exclude(group_key="").order_by("at", "id")
    return [(row.group_key, (unix(row.at) - TODAY) // MINUTE, row.before, row.after) for row in rows]


def minutes(*counts: tuple[int, int]) -> np.ndarray:
    """A day's stories, given as (minute of the day, stories)."""
    found = np.zeros(1_440, dtype=int)
    for minute, count in counts:
        found[minute] += count
    return found


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"for_seconds": 300},
        {"metric": "volume", "threshold": 5, "clear_threshold": 3, "window_seconds": 900},
        {"metric": "volume", "scope": "everything", "threshold": 8, "clear_threshold": 4, "window_seconds": 600},
        {"metric": "negative_share", "threshold": 0.2, "clear_threshold": None, "min_stories": 4},
    ],
    ids=["surge", "surge, for 5 minutes", "volume", "volume of everything", "negative share"],
)
def test_the_back_test_marks_the_minutes_of_the_live_run(stream: Any, fields: dict[str, Any]) -> None:
    tested = rule(**fields)
    live(BEGIN, END, step=4 * MINUTE)
    found = back_test(history.rule_spec(tested), history.scope_of(tested), BEGIN, END)
    alerts = Alert.objects.order_by("-fired_at")
    assert found.count > 0
    assert [(each.group.key, each.started_at, each.fired_at, each.resolved_at) for each in found.firings] == [
        (alert.group_key, unix(alert.started_at), unix(alert.fired_at), alert.resolved_at and unix(alert.resolved_at))
        for alert in alerts
    ]
    assert [each.figures for each in found.firings] == [alert.figures for alert in alerts]


def test_a_new_rule_decides_from_now_on(stream: Any) -> None:
    tested = volume()
    evaluate_rules(END + DELAY)
    assert unix(RuleProgress.objects.get(rule=tested).evaluated_until) == END
    assert not Transition.objects.exists()


def test_once_decided_is_decided(stream: Any) -> None:
    volume()
    live(BEGIN, BURST + 12 * MINUTE)
    before = (Alert.objects.count(), Transition.objects.count(), Event.objects.count())
    evaluate_rules(BURST + 12 * MINUTE + DELAY)
    evaluate_rules(BURST + 12 * MINUTE + DELAY + 30)
    assert before == (Alert.objects.count(), Transition.objects.count(), Event.objects.count())
    assert before[0] == 1
    assert Event.objects.filter(type="finance.alert.fired").count() == 1


def test_a_minute_is_decided_when_it_is_over() -> None:
    tested = volume()
    evaluate_rules(TODAY + DELAY)
    store(minutes((0, 12)), start=TODAY)
    evaluate_rules(TODAY + 59 + DELAY)
    assert not Alert.objects.exists()
    evaluate_rules(TODAY + 60 + DELAY)
    assert unix(Alert.objects.get(rule=tested).fired_at) == TODAY + 60


def test_a_restart_forgets_no_for_and_fires_once(stream: Any) -> None:
    """Long absences, in pending and after firing: as if nobody had been away."""
    whole, cut = volume(name="whole", for_seconds=600), volume(name="cut", for_seconds=600)
    evaluate_rules(BEGIN + DELAY)
    AlertRule.objects.filter(pk=cut.pk).update(is_enabled=True)
    for stop in (BURST + 11 * MINUTE, BURST + 16 * MINUTE, END):
        evaluate_rules(stop + DELAY)
    in_pieces = ledger_of(cut)
    assert in_pieces == ledger_of(whole)
    Transition.objects.all().delete()
    one = volume(name="at once", for_seconds=600)
    RuleProgress.objects.create(rule=one, version=1, begun_at=moment(BEGIN), evaluated_until=moment(BEGIN))
    evaluate_rules(END + DELAY)
    assert ledger_of(one) == in_pieces
    assert [after for *_, after in in_pieces if after in ("firing", "resolved")] == ["firing", "resolved"]


def test_of_two_evaluators_one_has_an_effect(stream: Any) -> None:
    tested = volume()
    live(BEGIN, BURST)
    mine, yours = (RuleProgress.objects.get(rule=tested) for _ in range(2))
    at = BURST + 12 * MINUTE
    decisions = [evaluation.decide(tested, BURST, at, history.Minutes(BURST - HOUR, at)) for _ in range(2)]
    assert evaluation.conclude(tested, mine, decisions[0], at, 0)
    assert not evaluation.conclude(tested, yours, decisions[1], at, 0)
    assert (Alert.objects.count(), Event.objects.filter(type="finance.alert.fired").count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_evaluators_side_by_side(stream: Any) -> None:
    tested = volume()
    Channel.objects.create(name="desk", target="https://example.org/")
    live(BEGIN, BURST)
    errors: list[Exception] = []
    now = BURST

    def clock() -> float:
        nonlocal now
        now = min(now + 30, END + DELAY)
        return now

    def run() -> None:
        try:
            while now < END + DELAY:
                evaluation.evaluate_by(clock)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [after for *_, after in ledger_of(tested)] == ["firing", "resolved"]
    assert (Alert.objects.count(), Event.objects.filter(type__startswith="finance.alert.").count()) == (1, 2)
    assert Notification.objects.count() == 1


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_killed_at_any_statement_it_fires_once(stream: Any) -> None:
    """kill -9 at the first statement of a run, at the second, and so on until a run gets to its end."""
    volume(for_seconds=120)
    Channel.objects.create(name="desk", target="https://example.org/")
    live(BEGIN, BURST + 10 * MINUTE)
    assert RuleState.objects.get().name == "pending"
    for horizon in (BURST + 13 * MINUTE, END):
        for statement in range(1, 300):
            if run_until(statement, horizon):
                break
        assert statement > 10, "it was never killed in the middle"
    alert = Alert.objects.get()
    assert alert.state == "resolved"
    assert list(Transition.objects.values_list("after", flat=True).order_by("at")) == ["pending", "firing", "resolved"]
    assert sorted(Event.objects.values_list("type", flat=True)) == ["finance.alert.fired", "finance.alert.resolved"]
    assert Notification.objects.count() == 1
    assert explain(alert).is_same


def run_until(statement: int, horizon: int) -> bool:
    """Evaluate in a process that kills itself at its nth statement; whether it got to the end."""
    connections.close_all()
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]  # its threads would not be there in the child
    child = os.fork()
    if child == 0:
        done = 0

        def kill(execute: Callable[..., Any], *given: Any) -> Any:
            nonlocal done
            done += 1
            if done == statement:
                os.kill(os.getpid(), signal.SIGKILL)
            return execute(*given)

        with connection.execute_wrapper(kill):
            evaluate_rules(horizon + DELAY)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def test_what_fails_within_undoes_all_of_it(stream: Any, monkeypatch: Any) -> None:
    volume()
    live(BEGIN, BURST)

    def fail(*given: Any) -> None:
        raise ValueError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "record_events", fail)
        evaluate_rules(BURST + 12 * MINUTE + DELAY)
    assert (Alert.objects.count(), Transition.objects.count(), Notification.objects.count()) == (0, 0, 0)
    assert RuleProgress.objects.get().last_error == "ValueError: broken"
    evaluate_rules(BURST + 12 * MINUTE + DELAY)
    assert (Alert.objects.count(), RuleProgress.objects.get().last_error) == (1, "")


def test_a_rule_that_fails_leaves_the_others_alone(stream: Any) -> None:
    broken, good = volume(name="broken"), volume(name="good")
    live(BEGIN, BURST)
    AlertRule.objects.filter(pk=broken.pk).update(window_seconds=0)
    evaluate_rules(BURST + 12 * MINUTE + DELAY)
    assert RuleProgress.objects.get(rule=broken).last_error
    assert Alert.objects.get().rule == good


# Clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [2 * HOUR, 3 * DAY])
def test_a_clock_that_jumps_ahead_and_back_raises_no_alert_twice(stream: Any, jump: int) -> None:
    """What is decided of a time that has not been is undone, and the burst that fires goes on firing."""
    tested, steady = rule(), volume(name="steady")
    now = BURST + 14 * MINUTE
    Bucket.objects.filter(start__gte=moment(now), seconds=60).delete()  # what has not happened yet
    live(BEGIN, now, step=2 * MINUTE)
    assert sorted(Alert.objects.values_list("rule__name", "state")) == [("Surge", "firing"), ("steady", "firing")]
    evaluate_rules(now + jump + DELAY)
    evaluate_rules(now + jump + 60 + DELAY)
    store_all(stream)
    live(now + MINUTE, END, step=5 * MINUTE)
    assert Transition.objects.filter(after="put_back").count() == 2
    assert Alert.objects.count() == 2
    assert Event.objects.filter(type="finance.alert.fired").count() == 2
    for each in (tested, steady):
        alert = Alert.objects.get(rule=each)
        found = back_test(history.rule_spec(each), history.scope_of(each), BEGIN, END)
        assert [(one.fired_at, one.resolved_at) for one in found.firings] == [
            (unix(alert.fired_at), alert.resolved_at and unix(alert.resolved_at))
        ]


def test_a_clock_put_back_a_little_waits(stream: Any) -> None:
    tested = volume()
    live(BEGIN, BURST + 12 * MINUTE)
    evaluate_rules(BURST + 9 * MINUTE + DELAY)
    assert unix(RuleProgress.objects.get(rule=tested).evaluated_until) == BURST + 12 * MINUTE
    assert not Transition.objects.filter(after="put_back").exists()


def test_a_silent_stream_is_no_data() -> None:
    """A busy stream stops, which is soon certain to be no lack of news, and begins again."""
    tested = rule(metric="volume", threshold=20, clear_threshold=1, window_seconds=3_600, min_stories=1)
    busy = np.full(1_440 * 3, 2)
    busy[-300:-120] = 0
    begin = MIDNIGHT + 3 * DAY - 330 * MINUTE
    store_all([busy])
    live(begin, begin + 200 * MINUTE, step=10 * MINUTE)
    progress = RuleProgress.objects.get(rule=tested)
    assert progress.silent_since == moment(begin + 60 * MINUTE)
    assert Alert.objects.get().state == "firing"  # nothing is known, so nothing is over
    live(begin + 210 * MINUTE, begin + 220 * MINUTE, step=10 * MINUTE)
    lines = Transition.objects.filter(rule=tested, group_key="").order_by("at")
    assert [(line.before, line.after) for line in lines] == [("data", "no_data"), ("no_data", "data")]
    assert RuleProgress.objects.get(rule=tested).silent_since is None


# Late stories ----------------------------------------------------------------------------------------------------


@pytest.fixture
def late() -> Callable[..., None]:
    """Adds stories to minutes of today, as a change that has just been made."""

    def add(*counts: tuple[int, int]) -> None:
        row, _ = Revision.objects.get_or_create(pk=1)
        row.number += 1
        row.save()
        store(minutes(*counts), start=TODAY, revision=row.number)

    return add


def test_late_stories_are_noted_at_the_alert_and_nothing_flips(late: Any) -> None:
    tested = volume()
    evaluate_rules(TODAY + DELAY)
    late((5, 6))
    live(TODAY, TODAY + 8 * MINUTE)
    late((5, 10))
    live(TODAY + 9 * MINUTE, TODAY + 9 * MINUTE)
    alert = Alert.objects.get()
    assert unix(alert.fired_at) == TODAY + 9 * MINUTE
    assert alert.late["words"] == "would have fired 3 minutes earlier with the stories that came late"
    assert Transition.objects.get(after="late").at == moment(TODAY + 6 * MINUTE)
    assert Event.objects.filter(type="finance.alert.fired").count() == 1
    live(TODAY + 10 * MINUTE, TODAY + 30 * MINUTE)
    assert [after for *_, after in ledger_of(tested)] == ["late", "firing", "resolved"]


def test_a_firing_that_late_stories_would_have_made_is_in_the_ledger_alone(late: Any) -> None:
    volume()
    evaluate_rules(TODAY + DELAY)
    live(TODAY, TODAY + 60 * MINUTE)
    late((5, 12))
    live(TODAY + 61 * MINUTE, TODAY + 61 * MINUTE)
    assert not Alert.objects.exists()
    line = Transition.objects.get()
    assert (line.after, line.at, line.note) == (
        "late", moment(TODAY + 6 * MINUTE), "would have fired with the stories that came late",
    )  # fmt: skip
    live(TODAY + 62 * MINUTE, TODAY + 63 * MINUTE)
    assert Transition.objects.count() == 1


def test_a_story_that_moves_away_is_noted_too(late: Any) -> None:
    volume()
    evaluate_rules(TODAY + DELAY)
    late((5, 12))
    live(TODAY, TODAY + 7 * MINUTE)
    Revision.objects.update(number=7)
    Bucket.objects.filter(seconds=60).update(stories=3, revision=7)
    evaluate_rules(TODAY + 8 * MINUTE + DELAY)
    alert = Alert.objects.get()
    assert alert.late["words"] == "would not have fired with the stories that came late"
    assert unix(alert.fired_at) == TODAY + 6 * MINUTE


def test_changed_history_is_expected_anew(stream: Any) -> None:
    rule()
    live(BEGIN, BEGIN + MINUTE)
    kept = dict(DailyBaseline.objects.values_list("group_key", "size"))
    assert {"0/"} <= set(kept)
    Revision.objects.create(pk=1, number=1)
    store(np.full(1_440, 3), start=TODAY - DAY, revision=1)
    live(BEGIN + 2 * MINUTE, BEGIN + 2 * MINUTE)
    assert dict(DailyBaseline.objects.values_list("group_key", "size"))["0/"] != kept["0/"]


# The ledger explains ----------------------------------------------------------------------------------------------


def test_an_alert_is_explained_by_the_same_decision(stream: Any) -> None:
    rule(for_seconds=180)
    live(BEGIN, END, step=3 * MINUTE)
    alert = Alert.objects.get()
    found = explain(alert)
    assert found.is_same
    assert [(each.before, each.after) for each in found.decided] == [("inactive", "pending"), ("pending", "firing")]
    assert found.now == alert.figures
    assert found.value == alert.figures["value"]
    assert len(alert.seen) == 4
    printed = io.StringIO()
    call_command("explain", "alert", str(alert.pk), stdout=printed)
    assert "the same decision: yes" in printed.getvalue()
    assert alert.why in printed.getvalue()
    as_json = io.StringIO()
    call_command("explain", "alert", str(alert.pk), "--json", stdout=as_json)
    told = json.loads(as_json.getvalue())
    assert told["is_same"]
    assert [line["after"] for line in told["timeline"]] == ["pending", "firing", "resolved"]


def test_an_alert_that_was_tampered_with_is_found_out(stream: Any) -> None:
    volume()
    live(BEGIN, BURST + 12 * MINUTE)
    alert = Alert.objects.get()
    alert.figures["stories"] += 1
    alert.save()
    with pytest.raises(CommandError, match="another decision"):
        call_command("explain", "alert", str(alert.pk), stdout=io.StringIO())
    with pytest.raises(CommandError, match="There is no alert 999"):
        call_command("explain", "alert", "999")
