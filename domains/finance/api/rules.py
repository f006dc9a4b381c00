"""The rules that raise alerts, their back-test, and what was to be expected. Reading wants a key with the scope `read`,
writing one with `ingest`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from domains.finance.alerting import selectors, services
from domains.finance.alerting.series import DAY, floor, moment, unix
from domains.finance.alerting.services import Invalid
from domains.finance.api.shared import (
    PLAIN,
    READ,
    Number,
    Symbol,
    Topic,
    named,
    person,
    with_problems,
    writing,
)
from domains.finance.models import AlertRule, Entity, WatchList

MOST_POINTS = 5_000
router = Router()


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
