"""The chosen series: a figure over time, the band it is expected in, levels of the rules on it, spans of its alerts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from domains.finance.alerting.baseline import band, surprise
from domains.finance.alerting.history import Scope, expected, scope_of, stored_series
from domains.finance.alerting.rules import MEAN_SENTIMENT, NEGATIVE_SHARE, SURGE, VOLUME
from domains.finance.alerting.series import EVERYTHING, HOUR, KINDS, MINUTE, PARTS, Group, floor, moment, unix
from domains.finance.models import Alert, AlertRule
from domains.finance.pages.selection import Selection, Window, members

ROLLING = {"1h": 30 * MINUTE, "1d": HOUR, "7d": 6 * HOUR, "30d": 24 * HOUR}  # of shares: few stories say little
UNITS = {
    VOLUME: "stories",
    NEGATIVE_SHARE: "negative share",
    MEAN_SENTIMENT: "mean sentiment",
    SURGE: "surge",
}
FORMATS = {VOLUME: "count", NEGATIVE_SHARE: "share", MEAN_SENTIMENT: "signed", SURGE: "count"}
BOUNDS = {NEGATIVE_SHARE: [0, 1], MEAN_SENTIMENT: [-1, 1]}
MOST_SPANS = 200
MOST_ROWS = 60


@dataclass(frozen=True, slots=True)
class Level:
    """A rule's threshold on the series."""

    rule: AlertRule
    window: int


@dataclass(frozen=True, slots=True)
class ChosenSeries:
    title: str
    unit: str
    summary: str
    drawing: dict[str, Any]  # what chart.js draws
    has_negative: bool
    has_band: bool


@dataclass(frozen=True, slots=True)
class SeriesRow:
    start: datetime
    end: datetime
    stories: int
    negative: float | None
    expected: str
    value: float | None
    href: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the windows that end with each step: (steps,) each."""

    stories: np.ndarray
    negative: np.ndarray
    neutral: np.ndarray
    positive: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    surprise: np.ndarray | None = None


def chosen_series(selection: Selection) -> ChosenSeries:
    span, group = selection.span, Group(selection.entity_id, selection.topic)
    now = unix(timezone.now())
    levels = levels_on(group, selection.metric)
    window = window_of(selection, levels)
    bucket = MINUTE if span.step < HOUR or span.name == "7d" else HOUR
    end = floor(now, bucket) + bucket  # of the bucket that now is in
    start = end - span.seconds
    figures = figures_of(selection, group, start, end, now, window, bucket)
    value = value_of(selection.metric, figures)
    has_band = figures.low is not None and selection.metric == VOLUME
    has_negative = selection.metric == VOLUME
    drawing = {
        "start": start,
        "step": span.step,
        "anchor": 1 if window != span.step else 0.5,
        "reach": window,
        "value": rounded(value),
        "stories": figures.stories.astype(int).tolist(),
        "negative": rounded(figures.negative) if has_negative else None,
        "low": rounded(figures.low) if has_band else None,
        "high": rounded(figures.high) if has_band else None,
        "thresholds": [
            {"level": level.rule.threshold, "name": level.rule.name} for level in levels if level.window == window
        ],
        "spans": [] if selection.unknown_entity else spans_of(group, start, end),
        "unit": UNITS[selection.metric],
        "format": FORMATS[selection.metric],
        "bounds": BOUNDS.get(selection.metric),
        "stories_at": f"{reverse('finance:stories')}?{urlencode(narrowed(selection))}",
    }
    return ChosenSeries(
        title_of(selection, window),
        UNITS[selection.metric],
        summary_of(selection, figures, span),
        drawing,
        has_negative,
        has_band,
    )


def levels_on(group: Group, metric: str) -> list[Level]:
    """Enabled rules on this figure of this group."""
    rules = AlertRule.objects.filter(is_enabled=True, metric=metric, topic=group.topic).select_related("watch_list")
    return [Level(rule, rule.window_seconds) for rule in rules if group in scope_of(rule)]


def window_of(selection: Selection, levels: list[Level]) -> int:
    """Seconds that each point looks back on: those of the first rule on the figure, where they can be shown."""
    span = selection.span
    shown = [level.window for level in levels if span.step <= level.window <= span.seconds]
    if shown and span.step < HOUR:
        return shown[0]
    return span.step if selection.metric == VOLUME else ROLLING[span.name]


def figures_of(selection: Selection, group: Group, start: int, end: int, now: int, window: int, bucket: int) -> Figures:
    """With a watch list, of its members together: what is expected of them together is not known."""
    step = selection.span.step
    groups = [Group(entity, group.topic) for entity in members(selection)] if selection.is_of_list else [group]
    if not groups or selection.unknown_entity:
        return Figures(*np.zeros((len(KINDS), selection.span.seconds // step)))
    cells = stored_series(Scope.of_groups(groups), start - window, end, bucket)
    sums = cells.window(window, start, end).sum(axis=0)[:, step // bucket - 1 :: step // bucket]
    figures = Figures(sums[0], *(sums[1:] / PARTS))
    if selection.is_of_list:
        return figures
    ends = np.minimum(np.arange(start + step, end + 1, step), now)
    count, size = expected([group], start - window, now + 1).window(window, ends)
    low, high = band(count[0], size[0])
    return replace(figures, low=low, high=high, surprise=surprise(figures.stories, count[0], size[0]))


def value_of(metric: str, figures: Figures) -> np.ndarray:
    if metric == VOLUME:
        return figures.stories
    if metric == SURGE:
        return figures.surprise if figures.surprise is not None else np.full(figures.stories.shape, np.nan)
    scored = figures.negative + figures.neutral + figures.positive
    part = figures.negative if metric == NEGATIVE_SHARE else figures.positive - figures.negative
    return np.divide(part, scored, out=np.full(part.shape, np.nan), where=scored > 0)


def rounded(values: np.ndarray | None) -> list[float | None]:
    assert values is not None
    return [rounded_value(float(value)) for value in values]


def rounded_value(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, 3)


def spans_of(group: Group, start: int, end: int) -> list[dict[str, Any]]:
    """The group's alerts in that time; on the series of all stories those of every group, marked as not its own."""
    alerts = Alert.objects.filter(Q(resolved_at=None) | Q(resolved_at__gte=moment(start)), started_at__lt=moment(end))
    is_own = group != EVERYTHING
    if is_own:
        alerts = alerts.filter(group_key=group.key)
    found = []
    for alert in alerts.select_related("entity").order_by("-fired_at")[:MOST_SPANS]:
        name = " ".join(filter(None, (alert.entity.symbol if alert.entity else "", alert.rule_name)))
        fired = unix(alert.fired_at)
        if alert.started_at < alert.fired_at:
            found.append({"from": unix(alert.started_at), "to": fired, "state": "pending", "name": name, "own": is_own})
        until = unix(alert.resolved_at) if alert.resolved_at else end
        found.append({"from": fired, "to": until, "state": "firing", "name": name, "own": is_own})
    return found


def title_of(selection: Selection, window: int) -> str:
    about = selection.words or "All stories"
    figure = "" if selection.metric == VOLUME else f", {UNITS[selection.metric]}"
    return f"{about}{figure}, {span_words(window)} at a time"


def span_words(seconds: int) -> str:
    """`10 min`, `an hour`, `6 hours`, `a day`."""
    for unit, name, one in ((24 * HOUR, "days", "a day"), (HOUR, "hours", "an hour"), (MINUTE, "min", "a minute")):
        if seconds % unit == 0:
            return one if seconds == unit else f"{seconds // unit} {name}"
    return f"{seconds} s"


def summary_of(selection: Selection, figures: Figures, span: Window) -> str:
    if not len(figures.stories) or figures.low is None or figures.high is None:
        return ""
    return f"now {int(figures.stories[-1])}, expected {int(figures.low[-1])} to {int(figures.high[-1])}"


def narrowed(selection: Selection) -> dict[str, str]:
    parts = {"entity": selection.entity_text, "topic": selection.topic, "list": selection.watch_list}
    return {name: value for name, value in parts.items() if value}


def series_table(series: ChosenSeries) -> list[SeriesRow]:
    """The newest points as rows, the newest first: what the drawing says, to who cannot see it."""
    drawing = series.drawing
    rows = []
    for i in reversed(range(len(drawing["value"]))):
        end = drawing["start"] + (i + 1) * drawing["step"]
        start = end - drawing["reach"]
        negative = drawing["negative"]
        rows.append(
            SeriesRow(
                moment(start),
                moment(end),
                drawing["stories"][i],
                negative[i] if negative else None,
                f"{drawing['low'][i]:.0f} to {drawing['high'][i]:.0f}" if drawing["low"] else "",
                drawing["value"][i],
                f"{drawing['stories_at']}&{urlencode({'from': start, 'to': end})}",
            )
        )
    return rows[:MOST_ROWS]
