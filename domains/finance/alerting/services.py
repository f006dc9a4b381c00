"""Writes of alerting: rules, and what people do about alerts. Each raises `Invalid`, which names the field and why.

What is done about an alert is an event like any other, whether it comes from a page or from outside: it is stored with
its source, and happens once however often it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from domains.finance.alerting import history, ledger
from domains.finance.alerting.backtest import BackTest, back_test
from domains.finance.alerting.series import DAY, MINUTE, Group, floor, unix
from domains.finance.models import Alert, AlertRule, Entity, Silence, Transition
from suite.events.ingestion import ingest
from suite.events.models import Event
from suite.live.broadcast import broadcast

PAGE = "finance/analyst"  # the source of events that people make on our pages
BACK_TEST_DAYS = 30
FIELDS = (
    "name", "is_enabled", "metric", "scope", "entity", "watch_list", "topic", "window_seconds", "comparison",
    "threshold", "clear_threshold", "for_seconds", "cool_down_seconds", "min_stories", "severity",
)  # fmt: skip


class Invalid(Exception):
    """What was asked for cannot be done; `errors` says why, by field ("" where no field is at fault)."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {reason}" if field else reason for field, reason in errors.items()))
        self.errors = dict(errors)


def check(row: AlertRule | Silence, *, but: Sequence[str] = ()) -> None:
    """Raises `Invalid` where a row may not be stored as it is."""
    try:
        row.full_clean(exclude=but)
    except ValidationError as error:
        errors = {field: " ".join(reasons) for field, reasons in error.message_dict.items()}
        raise Invalid({"" if field == "__all__" else field: reason for field, reason in errors.items()}) from None


# Rules ----------------------------------------------------------------------------------------------------------


def rule_of(fields: Mapping[str, Any], rule: AlertRule | None = None, *, but: Sequence[str] = ()) -> AlertRule:
    """The rule with these fields (of FIELDS), checked and not stored. What its scope does not use is empty."""
    rule = rule or AlertRule()
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise Invalid({unknown[0]: f"is not a field of a rule; those are {', '.join(FIELDS)}"})
    for name, value in fields.items():
        setattr(rule, name, value)
    if rule.scope != AlertRule.Scope.ENTITY:
        rule.entity = None
    if rule.scope != AlertRule.Scope.WATCH_LIST:
        rule.watch_list = None
    check(rule, but=but)
    return rule


def save_rule(fields: Mapping[str, Any], *, by: str, rule: AlertRule | None = None) -> AlertRule:
    """Store a new rule, or change one. Where what decides has changed, its version moves on: alerts of the version
    before end, and it decides anew from now on."""
    before = AlertRule.objects.filter(pk=rule.pk).values(*AlertRule.DECIDING).first() if rule else None
    rule = rule_of(fields, rule)
    if before is not None and any(getattr(rule, name) != value for name, value in before.items()):
        rule.version += 1
    rule.changed_by = by
    with transaction.atomic():
        rule.save()
        broadcast(["finance.alerts"])
    return rule


def delete_rule(rule: AlertRule) -> None:
    """Its alerts stay, and end with the next evaluation."""
    with transaction.atomic():
        rule.delete()
        broadcast(["finance.alerts"])


def backtest(fields: Mapping[str, Any], *, days: int = BACK_TEST_DAYS, until: datetime | None = None) -> BackTest:
    """Where the rule with these fields would have fired in the last days. Raises `Invalid`."""
    rule = rule_of(fields, but=["name"])
    if not 1 <= days <= 92:
        raise Invalid({"days": "must be from 1 to 92"})
    end = floor(unix(until or timezone.now()), MINUTE)
    return back_test(history.rule_spec(rule), history.scope_of(rule), end - days * DAY, end)


# People -----------------------------------------------------------------------------------------------------------


def acknowledge(alert_id: int, *, by: str, until: datetime | None = None, note: str = "") -> None:
    """Somebody takes an alert on, until a time or until it resolves."""
    send("finance.alert.acknowledged", {"alert_id": alert_id, "until": written(until), "reason": note, "by": by})


def silence_alert(alert_id: int, *, by: str, until: datetime, reason: str) -> None:
    """Nobody is told of alerts like this one: of its rule, for its entity and topic."""
    send("finance.alert.silenced", {"alert_id": alert_id, "until": written(until), "reason": reason, "by": by})


def written(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def send(event_type: str, data: dict[str, Any]) -> None:
    now = timezone.now().isoformat()
    [result] = ingest([{"id": uuid4().hex, "source": PAGE, "type": event_type, "time": now, "data": data}])
    if result.status == "rejected":
        raise Invalid({result.field.removeprefix("data."): result.reason})


def record_acknowledgements(events: Sequence[Event]) -> None:
    """The newest one stands, in whatever order they come."""
    alerts = alerts_of(events)
    for event in sorted(events, key=lambda event: event.time):
        alert, data = alerts[event.data["alert_id"]], event.data
        ledger.append([person_line(alert, "acknowledged", event.time, data["by"], data["reason"])])
        if alert.acknowledged_at is None or alert.acknowledged_at <= event.time:
            alert.acknowledged_by, alert.acknowledged_at = data["by"], event.time
            alert.acknowledged_until = datetime.fromisoformat(data["until"]) if data["until"] else None
            alert.acknowledged_note = data["reason"]
            alert.save(update_fields=["acknowledged_by", "acknowledged_at", "acknowledged_until", "acknowledged_note"])
    ledger.tell_pages(alerts.values())


def record_silences(events: Sequence[Event]) -> None:
    alerts = alerts_of(events)
    for event in events:
        alert, data = alerts[event.data["alert_id"]], event.data
        if alert.rule is None:  # gone meanwhile: without it the silence would match what nobody meant
            continue
        Silence.objects.create(
            rule=alert.rule,
            entity=alert.entity,
            topic=alert.topic,
            starts_at=event.time,
            until=datetime.fromisoformat(data["until"]),
            reason=data["reason"],
            by=data["by"],
        )
        ledger.append([person_line(alert, "silenced", event.time, data["by"], data["reason"])])
    ledger.tell_pages(alerts.values())


def alerts_of(events: Sequence[Event]) -> dict[int, Alert]:
    ids = {event.data["alert_id"] for event in events}
    return {alert.pk: alert for alert in Alert.objects.filter(pk__in=ids).select_related("rule", "entity")}


def person_line(alert: Alert, what: str, at: datetime, by: str, note: str) -> Transition:
    group = Group.from_key(alert.group_key)
    return ledger.line(alert.rule, unix(at), alert.state, what, group=group, alert=alert, by=by, note=note)


@transaction.atomic
def unacknowledge(alert_id: int, *, by: str) -> None:
    alert = Alert.objects.filter(pk=alert_id).select_related("rule", "entity").first()
    if alert is None:
        raise Invalid({"alert_id": "is not known"})
    alert.acknowledged_by, alert.acknowledged_until, alert.acknowledged_note = "", None, ""
    alert.acknowledged_at = timezone.now()  # an acknowledgement that was made before and comes late changes nothing
    alert.save(update_fields=["acknowledged_by", "acknowledged_at", "acknowledged_until", "acknowledged_note"])
    ledger.append([person_line(alert, "unacknowledged", timezone.now(), by, "")])
    ledger.tell_pages([alert])


def silence(
    *,
    by: str,
    until: datetime,
    reason: str,
    rule: AlertRule | None = None,
    entity: Entity | None = None,
    topic: str = "",
    severity: str = "",
) -> Silence:
    """Nobody is told of alerts that match all that is given."""
    row = Silence(rule=rule, entity=entity, topic=topic, severity=severity, until=until, reason=reason, by=by)
    keep_silence(row)
    return row


@transaction.atomic
def keep_silence(row: Silence) -> None:
    """Store a new or changed silence, and note it at every alert that it matches now."""
    check(row)
    row.save()
    firing = Alert.objects.filter(state=Alert.FIRING).select_related("rule", "entity")
    matched = [alert for alert in firing if row.matches(alert)]
    ledger.append(person_line(alert, "silenced", row.starts_at, row.by, row.reason) for alert in matched)
    ledger.tell_pages(matched)


@transaction.atomic
def end_silence(row: Silence, *, by: str) -> None:
    now = timezone.now()
    if row.until <= now:
        return
    row.until = max(now, row.starts_at + timedelta(microseconds=1))
    row.save(update_fields=["until"])
    firing = Alert.objects.filter(state=Alert.FIRING).select_related("rule", "entity")
    matched = [alert for alert in firing if row.matches(alert)]
    ledger.append(person_line(alert, "unsilenced", now, by, "") for alert in matched)
    ledger.tell_pages(matched)
