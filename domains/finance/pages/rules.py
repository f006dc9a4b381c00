"""Rules as a list, with how often each fires; and the proof of one: where it would have fired in the last 30 days."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from domains.finance.alerting import selectors
from domains.finance.alerting.backtest import BackTest, WouldFire, back_test
from domains.finance.alerting.history import rule_spec, scope_of
from domains.finance.alerting.rules import RuleSpec
from domains.finance.alerting.series import DAY, MINUTE, Group, floor, moment, unix
from domains.finance.models import AlertRule, Entity
from domains.finance.pages.alerts import figure_words
from domains.finance.pages.selection import topic_words
from domains.finance.pages.series import BOUNDS, FORMATS, UNITS, rounded_value, span_words

PROOF_DAYS = 30
LISTED = 40
OFTEN = 10.0  # alerts a week that nobody reads any more


@dataclass(frozen=True, slots=True)
class RuleRow:
    rule: AlertRule
    words: str
    fired: int  # in the last 30 days
    per_week: float
    last_fired_at: datetime | None
    firing: int
    pending: int
    error: str

    @property
    def is_often(self) -> bool:
        return self.per_week > OFTEN


@dataclass(frozen=True, slots=True)
class Firing:
    """One time that the rule would have fired."""

    group: str
    at: datetime
    seconds: int | None  # until it resolved; None where it still would fire
    saw: str
    versus: str
    stories_at: str


@dataclass(frozen=True, slots=True)
class Proof:
    test: BackTest
    firings: list[Firing]
    days: list[tuple[datetime, int]]  # alerts of each day, oldest first
    drawn: str  # the group that is drawn
    drawing: dict[str, Any]
    min_stories: int

    @property
    def is_often(self) -> bool:
        return self.test.alerts_per_week > OFTEN


def rule_rows() -> list[RuleRow]:
    now = timezone.now()
    return [
        RuleRow(
            rule,
            rule_words(rule),
            rule.recent,
            rule.recent * 7 / min(PROOF_DAYS, max(7.0, (now - rule.created_at).total_seconds() / DAY)),
            rule.last,
            rule.firing,
            rule.pending,
            rule.progress.last_error if hasattr(rule, "progress") else "",
        )
        for rule in selectors.rules().annotate(last=Max("alerts__fired_at"))
    ]


def rule_words(rule: AlertRule) -> str:
    """The rule as a sentence."""
    spec = rule_spec(rule)
    levels = {"negative_share": f"{spec.threshold:.0%}", "mean_sentiment": f"{spec.threshold:+.2f}".replace("-", "−")}
    level = levels.get(spec.metric, f"{spec.threshold:g}")
    words = f"{UNITS[spec.metric]} {level} or {'more' if spec.comparison == 'above' else 'less'}"
    whom = {
        AlertRule.Scope.EVERYTHING: "all stories",
        AlertRule.Scope.ENTITY: rule.entity.symbol if rule.entity else "no entity",
        AlertRule.Scope.EACH_ENTITY: "each entity",
        AlertRule.Scope.WATCH_LIST: f"each of {rule.watch_list}",
    }[AlertRule.Scope(rule.scope)]
    topic = f" on {topic_words(rule.topic)}" if rule.topic else ""
    lasting = f", for {span_words(spec.for_seconds)}" if spec.for_seconds else ""
    return f"{words} of {whom}{topic} within {span_words(spec.window)}{lasting}"


def proof(rule: AlertRule) -> Proof:
    """Where the rule, saved or not, would have fired in the last PROOF_DAYS days."""
    spec = rule_spec(rule)
    end = floor(unix(timezone.now()), MINUTE)
    test = back_test(spec, scope_of(rule), end - PROOF_DAYS * DAY, end)
    shown = test.firings[:LISTED]
    symbols = symbols_of({each.group for each in (*shown, *drawn_firings(test))} | {test.strip_group or Group()})
    return Proof(
        test,
        [firing_of(spec, each, symbols) for each in shown],
        by_day(test),
        name_of(test.strip_group, symbols) if test.strip_group else "",
        drawing_of(spec, test, symbols),
        spec.min_stories,
    )


def symbols_of(groups: set[Group]) -> dict[int, str]:
    rows = Entity.objects.filter(pk__in={group.entity_id for group in groups if group.entity_id})
    return dict(rows.values_list("pk", "symbol"))


def name_of(group: Group, symbols: dict[int, str]) -> str:
    return " · ".join(filter(None, (symbols.get(group.entity_id, ""), topic_words(group.topic)))) or "all stories"


def firing_of(spec: RuleSpec, would: WouldFire, symbols: dict[int, str]) -> Firing:
    saw, versus = figure_words(spec.as_json(), would.figures)
    asked = {"entity": symbols.get(would.group.entity_id, ""), "topic": would.group.topic}
    asked |= {"from": str(would.figures["from"]), "to": str(would.figures["to"])}
    query = urlencode({name: value for name, value in asked.items() if value})
    return Firing(
        name_of(would.group, symbols),
        moment(would.fired_at),
        would.resolved_at - would.fired_at if would.resolved_at else None,
        saw,
        versus,
        f"{reverse('finance:stories')}?{query}",
    )


def by_day(test: BackTest) -> list[tuple[datetime, int]]:
    """Listed firings of each of the last PROOF_DAYS days."""
    counts = Counter((each.fired_at - test.start) // DAY for each in test.firings)
    return [(moment(test.start + day * DAY), counts[day]) for day in range(PROOF_DAYS)]


def drawn_firings(test: BackTest) -> list[WouldFire]:
    return [each for each in test.firings if each.group == test.strip_group]


def drawing_of(spec: RuleSpec, test: BackTest, symbols: dict[int, str]) -> dict[str, Any]:
    """The figure of the group that fires most, with the rule's levels and the times when it would have fired."""
    step = test.strip[1][0] - test.strip[0][0] if len(test.strip) > 1 else MINUTE
    spans = []
    for each in drawn_firings(test):
        if each.started_at < each.fired_at:
            spans.append({"from": each.started_at, "to": each.fired_at, "state": "pending", "name": "would wait"})
        until = each.resolved_at or test.end
        spans.append({"from": each.fired_at, "to": until, "state": "firing", "name": "would fire"})
    levels = [{"level": spec.threshold, "name": "threshold"}]
    if spec.clear != spec.threshold:
        levels.append({"level": spec.clear, "name": "resolves at", "isClear": True})
    return {
        "start": test.strip[0][0] - MINUTE if test.strip else test.start,
        "step": step,
        "anchor": 0.5,
        "reach": step,
        "value": [rounded_value(value) for _, value in test.strip],
        "negative": None,
        "low": None,
        "high": None,
        "stories": None,
        "thresholds": levels,
        "spans": [span | {"own": True} for span in spans],
        "unit": UNITS[spec.metric],
        "format": FORMATS[spec.metric],
        "bounds": BOUNDS.get(spec.metric),
    }
