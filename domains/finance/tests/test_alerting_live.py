"""The live evaluation: it decides as the back-test does, once, and goes on where it stopped."""

from __future__ import annotations

import pytest

from domains.finance.alerting import history
from domains.finance.alerting.backtest import back_test
from domains.finance.alerting.evaluation import DELAY, evaluate_rules
from domains.finance.alerting.series import DAY, HOUR, MINUTE, unix
from domains.finance.models import Alert, AlertRule, Entity, Transition
from domains.finance.tests.streams import MIDNIGHT, seasonal, store_all

pytestmark = pytest.mark.django_db
BEGIN = MIDNIGHT + 21 * DAY  # live from here on
BURST = BEGIN + 10 * HOUR  # 17 minutes of it


@pytest.fixture
def stream() -> None:
    """Three entities for 22 days, and a burst of the first one on the last day."""
    for symbol in ("ACME", "BOLT", "COIL"):
        Entity.objects.create(symbol=symbol, name=symbol.title())
    streams = [seasonal(22, a_day, seed) for seed, a_day in enumerate((40, 10, 2))]
    first = (BURST - MIDNIGHT) // MINUTE
    streams[0][first : first + 17] += 1
    store_all(streams)


def rule(**fields: object) -> AlertRule:
    given = {"name": "Surge", "metric": "surge", "scope": "each_entity", "threshold": 4.0, "clear_threshold": 2.0}
    return AlertRule.objects.create(**(given | {"cool_down_seconds": 600} | fields))


def live(start: int, end: int, step: int = MINUTE) -> None:
    for now in range(start, end + 1, step):
        evaluate_rules(now + DELAY)


def ledger(of: AlertRule) -> list[tuple[str, int, str, str]]:
    rows = Transition.objects.filter(rule=of).exclude(group_key="").order_by("group_key", "at", "id")
    return [(row.group_key, unix(row.at), row.before, row.after) for row in rows]


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
def test_the_back_test_marks_the_minutes_of_the_live_run(stream: None, fields: dict[str, object]) -> None:
    tested = rule(**fields)
    live(BEGIN, BEGIN + DAY, step=7 * MINUTE)
    found = back_test(history.rule_spec(tested), history.scope_of(tested), BEGIN, BEGIN + DAY - DAY % (7 * MINUTE))
    alerts = Alert.objects.order_by("-fired_at")
    assert found.count > 0
    assert [(each.group.key, each.started_at, each.fired_at, each.resolved_at) for each in found.firings] == [
        (alert.group_key, unix(alert.started_at), unix(alert.fired_at), alert.resolved_at and unix(alert.resolved_at))
        for alert in alerts
    ]
    assert [each.figures for each in found.firings] == [alert.figures for alert in alerts]
