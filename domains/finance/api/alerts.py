"""Alerts, the rules that raise them, and what people decide about them. Reading wants a key with the scope `read`,
writing one with the scope `ingest`: whoever may send news may say what is worth an alert.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Annotated, Any, Concatenate, Literal, ParamSpec

from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from ninja import Path, Query, Router, Schema
from pydantic import Field

from domains.finance.alerting import selectors, services
from domains.finance.alerting.series import DAY, floor, moment, unix
from domains.finance.alerting.services import Invalid
from domains.finance.models import Alert, AlertRule, Entity, Silence, WatchList
from suite.events.auth import ApiKeyAuth
from suite.problems import Problem, problem_responses

PLAIN = r"^[^\x00]*$"
MOST_POINTS = 5_000
router = Router()
writing = ApiKeyAuth("ingest")
Given = ParamSpec("Given")

Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
Symbol = Annotated[str, Query(max_length=60, pattern=PLAIN, description="an entity's symbol; empty: any")]
Topic = Annotated[str, Query(max_length=100, pattern=PLAIN, description="empty: any")]
Text = Annotated[str, Field(max_length=500, pattern=PLAIN)]
Name = Annotated[str, Field(max_length=150, pattern=PLAIN, description="who does it; default: the name of the key")]


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


class RuleFields(Schema):
    """Seconds are whole minutes. `clear_threshold` null: the threshold. `topic` narrows what is counted."""

    name: Annotated[str, Field(min_length=1, max_length=120, pattern=PLAIN)]
    enabled: bool = True
    metric: Literal["surge", "volume", "negative_share", "mean_sentiment"] = "surge"
    scope: Literal["everything", "entity", "each_entity", "watch_list"] = "each_entity"
    entity: Annotated[str, Field(max_length=60, pattern=PLAIN)] = ""
    watch_list: Annotated[str, Field(max_length=120, pattern=PLAIN)] = ""
    topic: Annotated[str, Field(max_length=100, pattern=PLAIN)] = ""
    window_seconds: Annotated[int, Field(ge=300, le=86_400)] = 1_800
    comparison: Literal["above", "below"] = "above"
    threshold: Annotated[float, Field(ge=-1, le=100_000)] = 4.0
    clear_threshold: Annotated[float, Field(ge=-1, le=100_000)] | None = None
    for_seconds: Annotated[int, Field(ge=0, le=21_600)] = 0
    cool_down_seconds: Annotated[int, Field(ge=0, le=604_800)] = 1_800
    min_stories: Annotated[int, Field(ge=0, le=10_000)] = 3
    severity: Literal["info", "warning", "critical"] = "warning"


class BackTestFields(RuleFields):
    """A rule, stored or not, and how many days to look back on. The name is not looked at."""

    name: Annotated[str, Field(max_length=120, pattern=PLAIN)] = ""
    days: Annotated[int, Field(ge=1, le=92)] = 30


class RuleRow(RuleFields):
    rule_id: int
    version: int
    changed_by: str
    firing: int
    pending: int
    alerts_30_days: int
    evaluated_until: datetime | None
    no_data_since: datetime | None
    last_error: str


class Rules(Schema):
    rules: list[RuleRow]


class Firing(Schema):
    entity: str
    topic: str
    started_at: datetime
    fired_at: datetime
    resolved_at: datetime | None
    figures: dict[str, Any]


class BackTestResult(Schema):
    """Where the rule would have fired, newest first: at most 500 are listed, all are counted."""

    groups: int
    count: int
    alerts_per_week: float
    seconds_firing: int
    seconds: float
    firings: list[Firing]


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


class Point(Schema):
    start: datetime
    stories: int
    expected: float
    low: int
    high: int


class Expected(Schema):
    """Stories a step, and what was to be expected: the mean, and the 5th and 95th percentile."""

    seconds: int
    points: list[Point]


READ = problem_responses(401, 403, 404, 422, 503)


def with_problems(
    view: Callable[Concatenate[HttpRequest, Given], dict[str, Any] | None],
) -> Callable[Concatenate[HttpRequest, Given], JsonResponse]:
    """What cannot be done is answered with 422 and its fields, what is missing with 404."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Given.args, **kwargs: Given.kwargs) -> JsonResponse:
        try:
            return JsonResponse(view(request, *args, **kwargs) or {})
        except Invalid as error:
            place = "query" if request.method == "GET" else "body"
            errors = [{"field": f"{place}.{field}", "reason": reason} for field, reason in error.errors.items()]
            raise Problem(422, "The request is not valid", str(error), errors=errors) from None
        except (Alert.DoesNotExist, AlertRule.DoesNotExist, Silence.DoesNotExist) as error:
            raise Problem(404, "Not found", str(error)) from None

    return answered


def person(request: HttpRequest, given: str) -> str:
    return given or request.auth.name  # type: ignore[attr-defined]


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
        until=body.until,
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


# Rules ------------------------------------------------------------------------------------------------------------


@router.get("/rules", response={200: Rules}, openapi_extra=READ)
@with_problems
def list_rules(request: HttpRequest) -> dict[str, Any]:
    """Every rule, and how often each fired."""
    return {"rules": [selectors.rule_row(rule) for rule in selectors.rules()]}


@router.post("/rules", auth=writing, response={200: RuleRow}, openapi_extra=READ)
@with_problems
def add_rule(request: HttpRequest, body: RuleFields) -> dict[str, Any]:
    """A new rule: it decides from now on."""
    rule = services.save_rule(fields_of(body), by=person(request, ""))
    return selectors.rule_row(selectors.rules().get(pk=rule.pk))


@router.post("/rules/backtest", response={200: BackTestResult}, openapi_extra=READ)
@with_problems
def back_test_rule(request: HttpRequest, body: BackTestFields) -> dict[str, Any]:
    """When a rule would have fired, by the evaluator that decides live, over the stories as they are now."""
    fields = fields_of(body)
    del fields["name"]
    return selectors.back_test_row(services.backtest(fields, days=body.days))


@router.get("/rules/{rule_id}", response={200: RuleRow}, openapi_extra=READ)
@with_problems
def get_rule(request: HttpRequest, rule_id: Number) -> dict[str, Any]:
    return selectors.rule_row(selectors.rules().get(pk=rule_id))


@router.put("/rules/{rule_id}", auth=writing, response={200: RuleRow}, openapi_extra=READ)
@with_problems
def change_rule(request: HttpRequest, rule_id: Number, body: RuleFields) -> dict[str, Any]:
    """The whole rule anew. Where what decides changes, its alerts end and it decides anew from now on."""
    rule = AlertRule.objects.get(pk=rule_id)
    services.save_rule(fields_of(body), by=person(request, ""), rule=rule)
    return selectors.rule_row(selectors.rules().get(pk=rule_id))


@router.delete("/rules/{rule_id}", auth=writing, response={200: dict[str, Any]}, openapi_extra=READ)
@with_problems
def delete_rule(request: HttpRequest, rule_id: Number) -> dict[str, Any]:
    """Remove a rule; its alerts stay, and those that fire end."""
    services.delete_rule(AlertRule.objects.get(pk=rule_id))
    return {}


def fields_of(body: RuleFields) -> dict[str, Any]:
    """The fields of a rule, names looked up. Raises `Invalid`."""
    fields = body.dict(exclude={"days", "enabled"})
    fields["is_enabled"] = body.enabled
    fields["entity"] = named(Entity, "entity", symbol=body.entity) if body.entity else None
    fields["watch_list"] = named(WatchList, "watch_list", name=body.watch_list) if body.watch_list else None
    return fields


def named(model: Any, field: str, **by: Any) -> Any:
    found = model.objects.filter(**by).first()
    if found is None:
        raise Invalid({field: "is not known"})
    return found


# What was to be expected --------------------------------------------------------------------------------------------


@router.get("/expected", response={200: Expected}, openapi_extra=READ)
@with_problems
def get_expected(
    request: HttpRequest,
    entity: Symbol = "",
    topic: Topic = "",
    since: Annotated[datetime | None, Query(description="default: a day ago")] = None,
    until: Annotated[datetime | None, Query(description="default: now")] = None,
    seconds: Annotated[int, Query(ge=60, le=86_400, multiple_of=60, description="of a step")] = 3_600,
) -> dict[str, Any]:
    """Stories of an entity (empty: of all) beside what the baseline expects."""
    entity_id = named(Entity, "entity", symbol=entity).pk if entity else 0
    end = floor(unix(until) if until else unix_now(), seconds) + (0 if until else seconds)
    start = floor(unix(since), seconds) if since else end - DAY
    if not 0 < end - start <= seconds * MOST_POINTS or start < 0 or end > unix_now() + DAY:
        raise Invalid({"since": f"must lie before until, by at most {MOST_POINTS:,} steps, and both in the past"})
    found = selectors.series_with_band(entity_id, topic, start, end, seconds)
    columns = zip(found.series.stories[0], found.expected, found.low, found.high, strict=True)
    return {
        "seconds": seconds,
        "points": [
            {
                "start": moment(start + i * seconds).isoformat(),
                "stories": int(stories),
                "expected": float(expected),
                "low": int(low),
                "high": int(high),
            }
            for i, (stories, expected, low, high) in enumerate(columns)
        ],
    }


def unix_now() -> int:
    return unix(timezone.now())
