"""Why an alert fired: in one line, and in full, by deciding once more on what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from domains.finance.alerting import history, selectors
from domains.finance.alerting.baseline import surprise
from domains.finance.alerting.rules import (
    FIRING,
    MEAN_SENTIMENT,
    NEGATIVE_SHARE,
    SURGE,
    RuleSpec,
    State,
    Transition,
    replay,
)
from domains.finance.alerting.series import MINUTE, Group, unix
from domains.finance.models import Alert, Mention

UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def why(spec: RuleSpec, figures: dict[str, Any]) -> str:
    """What the rule saw against what it compares with, in one line."""
    window, stories, value = duration(spec.window), counted(figures["stories"]), figures["value"]
    if spec.metric == SURGE:
        return f"{stories} in {window}, {figures['expected']:.3g} expected (p = {10**-value:.0e})"
    if spec.metric == NEGATIVE_SHARE:
        return f"{value:.0%} negative of {stories} in {window} (threshold {spec.threshold:.0%})"
    if spec.metric == MEAN_SENTIMENT:
        return f"mean sentiment {value:+.2f} of {stories} in {window} (threshold {spec.threshold:+.2f})"
    return f"{stories} in {window} (threshold {spec.threshold:g})"


def counted(stories: int) -> str:
    return f"{stories} {'story' if stories == 1 else 'stories'}"


def duration(seconds: int) -> str:
    """`30 minutes`, `1 hour`: in the largest unit that has no rest."""
    size, unit = next((size, unit) for size, unit in UNITS if seconds % size == 0 or size == MINUTE)
    amount = seconds // size
    return f"{amount} {unit}{'' if amount == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """An alert decided once more.

    `decided` is what the stored minutes lead to, `is_same` whether that is what was done; `value` is the metric,
    computed from the stored figures. `now` are the figures of the same window from the stories as they are now, and
    `missing` the counted stories that are counted no more.
    """

    alert: Alert
    spec: RuleSpec
    decided: Sequence[Transition]
    value: float | None
    is_same: bool
    now: dict[str, Any]
    missing: Sequence[int]
    evidence: dict[str, Any]  # selectors.evidence

    def as_json(self) -> dict[str, Any]:
        return {
            "alert": selectors.alert_rows([self.alert])[0],
            "decided": [each._asdict() for each in self.decided],
            "value": self.value,
            "is_same": self.is_same,
            "figures_now": self.now,
            "missing_stories": list(self.missing),
            **self.evidence,
        }


def explain(alert: Alert) -> Explanation:
    spec = RuleSpec.from_json(alert.spec)
    rested = unix(alert.rested_until) if alert.rested_until else 0
    decided, _ = replay(spec, alert.seen, State(rests_until=rested))
    fired = [each.at for each in decided if each.after == FIRING]
    value = metric(spec, alert.figures)
    is_same = fired == [unix(alert.fired_at)] and value == alert.figures["value"]
    now, missing, evidence = figures_now(alert, spec), gone(alert), selectors.evidence(alert)
    return Explanation(alert, spec, decided, value, is_same, now, missing, evidence)


def metric(spec: RuleSpec, figures: dict[str, Any]) -> float | None:
    """The metric of a window from its stored figures alone."""
    if spec.metric == SURGE:
        count, expected, size = (
            np.array([figures[name]], dtype=np.float64) for name in ("stories", "expected", "size")
        )
        return round(float(surprise(count, expected, size)[0]), 4)
    if spec.metric in (NEGATIVE_SHARE, MEAN_SENTIMENT):
        total = figures["negative"] + figures["neutral"] + figures["positive"]
        part = figures["negative"] if spec.metric == NEGATIVE_SHARE else figures["positive"] - figures["negative"]
        return round(part / total, 4) if total else None
    return float(figures["stories"])


def figures_now(alert: Alert, spec: RuleSpec) -> dict[str, Any]:
    """The rule's figures in the window that fired, from the buckets as they are now."""
    end = unix(alert.fired_at)
    begin, group = end - MINUTE - history.reach(spec), Group.from_key(alert.group_key)
    series = history.stored_series(history.Scope.of_groups([group]), begin, end, MINUTE)
    everything = history.everything_between(begin, end)
    return history.observed(spec, series, everything, end - MINUTE, end).figures(0, 0)


def gone(alert: Alert) -> list[int]:
    group = Group.from_key(alert.group_key)
    still = Mention.objects.filter(
        entity_id=group.entity_id,
        story__in=alert.story_ids,
        published_at__gte=alert.fired_at.fromtimestamp(alert.figures["from"], alert.fired_at.tzinfo),
        published_at__lt=alert.fired_at,
    ).values_list("story_id", flat=True)
    return sorted(set(alert.story_ids) - set(still))
