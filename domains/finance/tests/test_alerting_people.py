"""What people do: rules with what is wrong at the field, acknowledgements, silences; by pages, events and the API."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone

from domains.finance.alerting import notifications, services
from domains.finance.alerting.evaluation import DELAY, evaluate_rules
from domains.finance.alerting.series import DAY, HOUR, MINUTE
from domains.finance.models import Alert, AlertRule, Entity, Silence, Transition, WatchList
from domains.finance.tests.streams import MIDNIGHT, store
from suite.events.auth import create_key
from suite.events.ingestion import ingest
from suite.events.models import Event
from suite.live.models import Topic

pytestmark = pytest.mark.django_db
NOON = MIDNIGHT + 12 * HOUR


@pytest.fixture
def alert() -> Alert:
    """One that fires: eleven stories of ACME in a quarter of an hour."""
    entity = Entity.objects.create(symbol="ACME", name="Acme")
    rule = AlertRule.objects.create(
        name="Busy", metric="volume", scope="entity", entity=entity, threshold=10, clear_threshold=5, window_seconds=900
    )
    evaluate_rules(NOON + DELAY)
    counts = np.zeros(1_440, dtype=int)
    counts[720:731] = 1
    store(counts, entity_id=entity.pk)
    evaluate_rules(NOON + 15 * MINUTE + DELAY)
    return Alert.objects.get(rule=rule)


def event(kind: str, **data: Any) -> dict[str, Any]:
    time, key = data.pop("time", None), f"{kind} {data}"[:150]
    sent = {"id": f"{key} {time}", "source": "chat", "type": f"finance.alert.{kind}", "data": data}
    return sent | ({"time": time} if time else {})


def sequence(topic: str) -> int:
    return Topic.objects.filter(name=topic).values_list("sequence", flat=True).first() or 0


GOOD = {"name": "Surge", "metric": "surge", "threshold": 4.0, "clear_threshold": 2.0}


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"name": ""}, "name", "blank"),
        ({"window_seconds": 90}, "window_seconds", "from 300 to 86400"),
        ({"window_seconds": 86_460}, "window_seconds", "from 300 to 86400"),
        ({"for_seconds": 30}, "for_seconds", "whole minutes"),
        ({"cool_down_seconds": 8 * DAY}, "cool_down_seconds", "604800"),
        ({"threshold": 0.0}, "threshold", "from 1 to 100"),
        ({"threshold": float("nan")}, "threshold", "from 1 to 100"),
        ({"metric": "negative_share", "threshold": 60.0}, "threshold", "from 0 to 1"),
        ({"metric": "mean_sentiment", "threshold": -2.0, "clear_threshold": None}, "threshold", "from -1 to 1"),
        ({"metric": "volume", "threshold": 0.0, "clear_threshold": None}, "threshold", "from 1 to 100000"),
        ({"clear_threshold": 5.0}, "clear_threshold", "must not be above the threshold, 4"),
        (
            {"metric": "mean_sentiment", "comparison": "below", "threshold": -0.2, "clear_threshold": -0.4},
            "clear_threshold",
            "must not be below the threshold, -0.2",
        ),
        ({"comparison": "below"}, "comparison", "volume"),
        ({"scope": "entity"}, "entity", "required"),
        ({"scope": "watch_list"}, "watch_list", "required"),
        ({"min_stories": 10_001}, "min_stories", "10,000"),
        ({"metric": "mood"}, "metric", "not a valid choice"),
        ({"colour": "red"}, "colour", "not a field"),
    ],
)
def test_a_rule_says_what_is_wrong_at_its_field(fields: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(services.Invalid) as caught:
        services.save_rule(GOOD | fields, by="ann")
    assert reason in caught.value.errors[field]
    assert not AlertRule.objects.exists()


def test_what_a_rule_s_scope_does_not_use_is_dropped() -> None:
    entity, listed = Entity.objects.create(symbol="ACME", name="Acme"), WatchList.objects.create(name="mine")
    rule = services.save_rule(GOOD | {"scope": "watch_list", "entity": entity, "watch_list": listed}, by="ann")
    assert (rule.entity, rule.watch_list, rule.version, rule.changed_by) == (None, listed, 1, "ann")


def test_a_change_of_what_decides_is_a_new_version_and_ends_its_alerts(alert: Alert) -> None:
    rule = AlertRule.objects.get()
    services.save_rule({"severity": "critical"}, by="ann", rule=rule)
    assert AlertRule.objects.get().version == 1
    services.save_rule({"threshold": 9}, by="ann", rule=AlertRule.objects.get())
    evaluate_rules(NOON + 16 * MINUTE + DELAY)
    alert.refresh_from_db()
    assert (AlertRule.objects.get().version, alert.state, alert.resolution) == (2, "resolved", "the rule was changed")
    evaluate_rules(NOON + 17 * MINUTE + DELAY)
    assert list(Alert.objects.values_list("state", "rule_version").order_by("id")) == [("resolved", 1), ("firing", 2)]


@pytest.mark.parametrize("how", ["off", "deleted"])
def test_alerts_of_a_rule_that_is_gone_end(alert: Alert, how: str) -> None:
    if how == "off":
        services.save_rule({"is_enabled": False}, by="ann", rule=AlertRule.objects.get())
    else:
        services.delete_rule(AlertRule.objects.get())
    evaluate_rules(NOON + 16 * MINUTE + DELAY)
    alert.refresh_from_db()
    words = {"off": "the rule was switched off", "deleted": "the rule was deleted"}
    assert (alert.state, alert.resolution) == ("resolved", words[how])


def test_an_acknowledgement_is_an_event_that_happens_once(alert: Alert) -> None:
    before = sequence("finance.alerts")
    sent = event("acknowledged", alert_id=alert.pk, reason="on it", by="ann", time="2026-01-05T13:00:00Z")
    assert [result.status for result in ingest([sent, sent])] == ["accepted", "duplicate"]
    alert.refresh_from_db()
    assert (alert.acknowledged_by, alert.acknowledged_note, alert.acknowledged_until) == ("ann", "on it", None)
    assert Transition.objects.filter(after="acknowledged").count() == 1
    assert sequence("finance.alerts") == before + 1
    assert sequence("finance.entity:ACME") > 0


def test_acknowledgements_in_any_order_end_in_the_newest(alert: Alert) -> None:
    first = event("acknowledged", alert_id=alert.pk, by="ann", time="2026-01-05T13:00:00Z")
    second = event("acknowledged", alert_id=str(alert.pk), by="ben", time="2026-01-05T13:05:00Z")
    ingest([second])
    ingest([first])
    alert.refresh_from_db()
    assert alert.acknowledged_by == "ben"


@pytest.mark.parametrize(
    ("kind", "data", "field", "reason"),
    [
        ("acknowledged", {}, "data.alert_id", "is required"),
        ("acknowledged", {"alert_id": 10**30}, "data.alert_id", "is not known"),
        ("acknowledged", {"alert_id": "7x"}, "data.alert_id", "must be the number of an alert, not a text"),
        ("acknowledged", {"alert_id": True}, "data.alert_id", "not a boolean"),
        (
            "acknowledged",
            {"until": "2020-01-01T00:00:00Z"},
            "data.until",
            "must be after the event, by at most 90 days",
        ),
        ("acknowledged", {"reason": "x" * 501}, "data.reason", "501 characters"),
        ("silenced", {"reason": "noise"}, "data.until", "is required"),
        ("silenced", {"until": 10**12, "reason": "noise"}, "data.until", "ISO 8601"),
        ("silenced", {"until": "2027-01-01"}, "data.reason", "is required"),
    ],
)
def test_bad_decisions_are_rejected_by_field(
    alert: Alert, kind: str, data: dict[str, Any], field: str, reason: str
) -> None:
    given = data if data == {} else {"alert_id": alert.pk} | data
    if data.get("until") == "2027-01-01":
        given["until"] = (timezone.now() + timedelta(days=1)).isoformat()
    [result] = ingest([event(kind, **given)])
    assert (result.status, result.field) == ("rejected", field)
    assert reason in result.reason


def test_unacknowledging_stands_against_an_older_acknowledgement_that_comes_late(alert: Alert) -> None:
    services.acknowledge(alert.pk, by="ann")
    services.unacknowledge(alert.pk, by="ben")
    ingest([event("acknowledged", alert_id=alert.pk, by="cid", time="2026-01-05T13:00:00Z")])
    alert.refresh_from_db()
    assert alert.acknowledged_by == ""
    assert list(Transition.objects.exclude(by="").values_list("after", "by").order_by("id")) == [
        ("acknowledged", "ann"),
        ("unacknowledged", "ben"),
        ("acknowledged", "cid"),
    ]


def test_a_silence_needs_something_to_match_and_an_end(alert: Alert) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    with pytest.raises(services.Invalid, match="must match something"):
        services.silence(by="ann", until=tomorrow, reason="quiet")
    with pytest.raises(services.Invalid, match="by at most 90 days"):
        services.silence(by="ann", until=tomorrow + timedelta(days=90), reason="quiet", topic="earnings")
    with pytest.raises(services.Invalid, match="reason"):
        services.silence(by="ann", until=tomorrow, reason="", topic="earnings")
    assert not Silence.objects.exists()
    row = services.silence(by="ann", until=tomorrow, reason="quiet", entity=alert.entity)
    assert notifications.silence_of(alert, notifications.active_silences(timezone.now())) == row
    services.end_silence(row, by="ben")
    assert notifications.active_silences(timezone.now()) == []
    assert list(Transition.objects.exclude(by="").values_list("after", "by").order_by("id")) == [
        ("silenced", "ann"),
        ("unsilenced", "ben"),
    ]


def test_a_silenced_event_silences_alerts_like_this_one(alert: Alert) -> None:
    services.silence_alert(alert.pk, by="ann", until=timezone.now() + timedelta(hours=1), reason="known")
    [row] = Silence.objects.all()
    assert (row.rule, row.entity, row.reason, row.by) == (alert.rule, alert.entity, "known", "ann")
    assert Event.objects.filter(type="finance.alert.silenced", source=services.PAGE).count() == 1


def test_an_alert_whose_rule_is_gone_silences_nothing(alert: Alert) -> None:
    Alert.objects.filter(pk=alert.pk).update(entity=None, topic="")  # of all stories: a silence would match everything
    assert alert.rule is not None
    alert.rule.delete()
    with pytest.raises(services.Invalid, match="is of a rule that is gone"):
        services.silence_alert(alert.pk, by="ann", until=timezone.now() + timedelta(hours=1), reason="known")
    event = Event(time=timezone.now(), data={"alert_id": alert.pk, "until": "2030-01-01T00:00:00+00:00", "reason": "x",
                                             "by": "ann"})  # fmt: skip
    services.record_silences([event])  # the rule went after it was validated
    assert not Silence.objects.exists()


# The API ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def api() -> Any:
    _, key = create_key("desk", ["read", "ingest"])

    def call(method: str, path: str, body: Any = None) -> Any:
        return Client().generic(
            method,
            f"/api/finance/{path}",
            "" if body is None else json.dumps(body),
            content_type="application/json",
            headers={"Authorization": f"Bearer {key}"},
        )

    return call


def test_alerts_are_listed_and_shown_with_their_evidence(alert: Alert, api: Any) -> None:
    [row] = api("GET", "alerts?state=firing&entity=ACME").json()["alerts"]
    assert (row["alert_id"], row["rule"], row["state"]) == (alert.pk, "Busy", "firing")
    assert row["why"] == "10 stories in 15 minutes (threshold 10)"
    assert api("GET", "alerts?entity=BOLT").json() == {"alerts": [], "before": None}
    whole = api("GET", f"alerts/{alert.pk}").json()
    assert whole["figures"]["stories"] == 10
    assert [line["after"] for line in whole["timeline"]] == ["firing"]
    assert whole["minutes"] == [{"at": "2026-01-05T12:10:00+00:00", "value": 10.0}]
    assert api("GET", "alerts/999999").status_code == 404


def test_alerts_come_in_pages(alert: Alert, api: Any) -> None:
    for i in range(3):
        Alert.objects.create(
            **{
                field.name: getattr(alert, field.name)
                for field in Alert._meta.fields
                if field.name not in ("id", "group_key")
            },
            group_key=f"{i}/other",
        )
    first = api("GET", "alerts?limit=3").json()
    second = api("GET", f"alerts?limit=3&before={first['before']}").json()
    numbers = [row["alert_id"] for row in first["alerts"] + second["alerts"]]
    assert numbers == sorted(Alert.objects.values_list("pk", flat=True), reverse=True)
    assert second["before"] is None


def test_the_api_acknowledges_and_silences(alert: Alert, api: Any) -> None:
    row = api("POST", f"alerts/{alert.pk}/acknowledge", {"reason": "on it"}).json()
    assert row["acknowledged_by"] == "desk"
    assert api("DELETE", f"alerts/{alert.pk}/acknowledge").json()["acknowledged_by"] == ""
    until = (timezone.now() + timedelta(hours=2)).isoformat()
    row = api("POST", f"alerts/{alert.pk}/silence", {"until": until, "reason": "known", "by": "ann"}).json()
    assert (row["silenced_by"], row["silence_reason"]) == ("ann", "known")
    [silence] = api("GET", "silences").json()["silences"]
    assert api("DELETE", f"silences/{silence['silence_id']}").status_code == 200
    assert api("GET", "silences").json() == {"silences": []}
    naive = (timezone.now() + timedelta(hours=2)).replace(tzinfo=None).isoformat()
    row = api("POST", "silences", {"until": naive, "reason": "known", "severity": "info"}).json()
    assert row["until"] == f"{naive}+00:00"
    bad = api("POST", "silences", {"until": until, "reason": "known"})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "body.rule")


def test_the_api_writes_rules(api: Any) -> None:
    Entity.objects.create(symbol="ACME", name="Acme")
    given = GOOD | {"scope": "entity", "entity": "ACME"}
    made = api("POST", "rules", given)
    assert made.status_code == 200, made.content
    rule = made.json()
    assert (rule["entity"], rule["version"], rule["changed_by"]) == ("ACME", 1, "desk")
    changed = api("PUT", f"rules/{rule['rule_id']}", given | {"threshold": 5.0}).json()
    assert (changed["threshold"], changed["version"]) == (5.0, 2)
    assert [row["name"] for row in api("GET", "rules").json()["rules"]] == ["Surge"]
    assert api("DELETE", f"rules/{rule['rule_id']}").status_code == 200
    assert api("GET", f"rules/{rule['rule_id']}").status_code == 404
    bad = api("POST", "rules", given | {"entity": "NOBODY"})
    assert (bad.status_code, bad.json()["errors"]) == (422, [{"field": "body.entity", "reason": "is not known"}])


def test_the_api_back_tests_a_rule_that_is_not_saved(alert: Alert, api: Any) -> None:
    given = {"metric": "volume", "threshold": 10, "window_seconds": 900, "days": 1}
    found = api("POST", "rules/backtest", given)
    assert found.status_code == 200, found.content
    assert (found.json()["count"], found.json()["groups"]) == (0, 0)  # the last day has no story


def test_the_api_says_what_was_expected(alert: Alert, api: Any) -> None:
    found = api("GET", "expected?entity=ACME&since=2026-01-05T00:00:00Z&until=2026-01-06T00:00:00Z&seconds=3600").json()
    assert [point["stories"] for point in found["points"]] == [0] * 12 + [11] + [0] * 11
    assert api("GET", "expected?since=2026-01-06&until=2026-01-05").status_code == 422


def test_writing_wants_another_scope(alert: Alert) -> None:
    _, key = create_key("reader", ["read"])
    answer = Client().post(f"/api/finance/alerts/{alert.pk}/acknowledge", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403


# The admin ----------------------------------------------------------------------------------------------------------


RULE_FORM = {
    "name": "Surge", "is_enabled": "on", "severity": "warning", "metric": "surge", "scope": "each_entity", "entity": "",
    "watch_list": "", "topic": "", "window_seconds": "1800", "comparison": "above", "threshold": "4",
    "for_seconds": "0", "min_stories": "3", "clear_threshold": "2", "cool_down_seconds": "600",
}  # fmt: skip


def test_the_admin_writes_rules_by_the_service(admin_client: Client) -> None:
    bad = admin_client.post("/admin/finance/alertrule/add/", RULE_FORM | {"threshold": "400", "window_seconds": "90"})
    assert bad.status_code == 200
    assert b"must be from 1 to 100 for this metric" in bad.content
    assert b"from 300 to 86400" in bad.content
    assert admin_client.post("/admin/finance/alertrule/add/", RULE_FORM).status_code == 302
    rule = AlertRule.objects.get()
    assert (rule.version, rule.changed_by) == (1, "admin")
    admin_client.post(f"/admin/finance/alertrule/{rule.pk}/change/", RULE_FORM | {"threshold": "5"})
    rule.refresh_from_db()
    assert (rule.version, rule.threshold) == (2, 5.0)


def test_the_admin_silences_and_says_what_is_wrong(admin_client: Client, alert: Alert) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    form = {"until_0": f"{tomorrow:%Y-%m-%d}", "until_1": "12:00:00", "reason": "known", "topic": "", "severity": ""}
    bad = admin_client.post("/admin/finance/silence/add/", form)
    assert b"must match something" in bad.content
    assert admin_client.post("/admin/finance/silence/add/", form | {"entity": alert.entity_id}).status_code == 302
    assert Silence.objects.get().by == "admin"
    assert Transition.objects.get(after="silenced").alert == alert


@pytest.mark.parametrize("page", ["alert", "transition", "notification", "channel", "silence", "alertrule"])
def test_the_admin_lists_what_there_is(admin_client: Client, alert: Alert, page: str) -> None:
    assert admin_client.get(f"/admin/finance/{page}/").status_code == 200


def test_an_alert_is_read_and_not_written(admin_client: Client, alert: Alert) -> None:
    address = f"/admin/finance/alert/{alert.pk}/change/"
    assert b"10 stories in 15 minutes" in admin_client.get(address).content
    assert admin_client.post(address, {"rule_name": "other"}).status_code == 403
