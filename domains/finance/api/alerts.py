"""Alerts, and what people decide about them. Reading wants a key with the scope `read`, writing one with `ingest`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from domains.finance.alerting import selectors, services
from domains.finance.api.shared import (
    PLAIN,
    READ,
    Name,
    Number,
    Symbol,
    Text,
    Topic,
    aware,
    named,
    person,
    with_problems,
    writing,
)
from domains.finance.models import Alert, AlertRule, Entity, Silence

router = Router()


class AlertRow(Schema):
    """An alert. `figures` are those of the minute in which it fired: value, stories, the sums of the probabilities
    negative, neutral and positive, and for surges what was expected (with size, low and high)."""

    alert_id: int
    state: Literal["firing", "resolved"]
    rule: str
    rule_id: int | None
    rule_version: int
    severity: Literal["info", "warning", "critical"]
    entity: str
    topic: str
    started_at: datetime
    fired_at: datetime
    resolved_at: datetime | None
    resolution: str
    why: str
    figures: dict[str, Any]
    late: str
    acknowledged_by: str
    acknowledged_until: datetime | None
    silenced_by: str
    silence_reason: str


class Alerts(Schema):
    """`before` asks for the next page; null where there is none."""

    alerts: list[AlertRow]
    before: int | None


class Minute(Schema):
    at: datetime
    value: float | None


class CountedStory(Schema):
    story_id: int
    title: str
    url: str
    source: str
    outlets: int
    topic: str
    published_at: datetime
    negative: float
    neutral: float
    positive: float
    sentence: str


class Line(Schema):
    at: datetime
    before: str
    after: str
    by: str
    note: str
    decided_at: datetime


class AlertWithEvidence(AlertRow):
    """An alert with the rule as it was, the minutes and stories that decided, and all that happened since."""

    spec: dict[str, Any]
    release: str
    minutes: list[Minute]
    stories: list[CountedStory]
    week_before: dict[str, Any]
    timeline: list[Line]


class Acknowledgement(Schema):
    """`until` null: until it resolves."""

    until: datetime | None = None
    reason: Text = ""
    by: Name = ""


class AlertSilence(Schema):
    until: datetime
    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=PLAIN)]
    by: Name = ""


class SilenceFields(AlertSilence):
    """Alerts that match all that is given; at least one of the four."""

    rule_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    entity: Annotated[str, Field(max_length=60, pattern=PLAIN)] = ""
    topic: Annotated[str, Field(max_length=100, pattern=PLAIN)] = ""
    severity: Literal["", "info", "warning", "critical"] = ""


class SilenceRow(Schema):
    silence_id: int
    rule_id: int | None
    entity: str
    topic: str
    severity: str
    starts_at: datetime
    until: datetime
    reason: str
    by: str


class Silences(Schema):
    silences: list[SilenceRow]


# Alerts -----------------------------------------------------------------------------------------------------------


@router.get("/alerts", response={200: Alerts}, openapi_extra=READ)
@with_problems
def list_alerts(
    request: HttpRequest,
    state: Literal["", "firing", "resolved"] = "",
    entity: Symbol = "",
    topic: Topic = "",
    rule_id: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="alerts with smaller numbers")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> dict[str, Any]:
    """Alerts, newest number first."""
    found = selectors.alerts(state=state, symbol=entity, topic=topic, rule_id=rule_id).order_by("-id")
    rows = list(found.filter(pk__lt=before)[: limit + 1] if before else found[: limit + 1])
    more = rows[limit - 1].pk if len(rows) > limit else None
    return {"alerts": selectors.alert_rows(rows[:limit]), "before": more}


@router.get("/alerts/{alert_id}", response={200: AlertWithEvidence}, openapi_extra=READ)
@with_problems
def get_alert(request: HttpRequest, alert_id: Number) -> dict[str, Any]:
    """One alert with the evidence that it was decided on."""
    alert = Alert.objects.select_related("entity").get(pk=alert_id)
    return selectors.alert_rows([alert])[0] | selectors.evidence(alert)


@router.post("/alerts/{alert_id}/acknowledge", auth=writing, response={200: AlertRow}, openapi_extra=READ)
@with_problems
def acknowledge_alert(request: HttpRequest, alert_id: Number, body: Acknowledgement) -> dict[str, Any]:
    """Take an alert on: it is not told again until then."""
    Alert.objects.only("pk").get(pk=alert_id)
    services.acknowledge(alert_id, by=person(request, body.by), until=body.until, note=body.reason)
    return selectors.alert_rows([Alert.objects.select_related("entity").get(pk=alert_id)])[0]


@router.delete("/alerts/{alert_id}/acknowledge", auth=writing, response={200: AlertRow}, openapi_extra=READ)
@with_problems
def unacknowledge_alert(request: HttpRequest, alert_id: Number) -> dict[str, Any]:
    """Take an acknowledgement back."""
    Alert.objects.only("pk").get(pk=alert_id)
    services.unacknowledge(alert_id, by=person(request, ""))
    return selectors.alert_rows([Alert.objects.select_related("entity").get(pk=alert_id)])[0]


@router.post("/alerts/{alert_id}/silence", auth=writing, response={200: AlertRow}, openapi_extra=READ)
@with_problems
def silence_alert(request: HttpRequest, alert_id: Number, body: AlertSilence) -> dict[str, Any]:
    """Tell nobody of alerts like this one: of its rule, for its entity and topic."""
    Alert.objects.only("pk").get(pk=alert_id)
    services.silence_alert(alert_id, by=person(request, body.by), until=body.until, reason=body.reason)
    return selectors.alert_rows([Alert.objects.select_related("entity").get(pk=alert_id)])[0]


# Silences ---------------------------------------------------------------------------------------------------------


@router.get("/silences", response={200: Silences}, openapi_extra=READ)
@with_problems
def list_silences(request: HttpRequest, all: bool = False) -> dict[str, Any]:
    """Silences that hold now; with `all` those that are over, too."""
    found = Silence.objects.select_related("entity")
    rows = found[:500] if all else found.filter(until__gt=timezone.now())[:500]
    return {"silences": [silence_row(row) for row in rows]}


@router.post("/silences", auth=writing, response={200: SilenceRow}, openapi_extra=READ)
@with_problems
def add_silence(request: HttpRequest, body: SilenceFields) -> dict[str, Any]:
    """Tell nobody of alerts that match, until then."""
    rule = named(AlertRule, "rule_id", pk=body.rule_id) if body.rule_id else None
    entity = named(Entity, "entity", symbol=body.entity) if body.entity else None
    row = services.silence(
        by=person(request, body.by),
        until=aware(body.until),
        reason=body.reason,
        rule=rule,
        entity=entity,
        topic=body.topic,
        severity=body.severity,
    )
    return silence_row(row)


@router.delete("/silences/{silence_id}", auth=writing, response={200: SilenceRow}, openapi_extra=READ)
@with_problems
def end_silence(request: HttpRequest, silence_id: Number) -> dict[str, Any]:
    """End a silence now."""
    row = Silence.objects.select_related("entity").get(pk=silence_id)
    services.end_silence(row, by=person(request, ""))
    return silence_row(row)


def silence_row(row: Silence) -> dict[str, Any]:
    return {
        "silence_id": row.pk,
        "rule_id": row.rule_id,
        "entity": row.entity.symbol if row.entity else "",
        "topic": row.topic,
        "severity": row.severity,
        "starts_at": row.starts_at.isoformat(),
        "until": row.until.isoformat(),
        "reason": row.reason,
        "by": row.by,
    }
