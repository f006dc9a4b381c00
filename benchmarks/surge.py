"""Surges: how many are found within half an hour, and at what price in false alerts, beside the rules that others use.

The stream is made: entities whose stories follow the day and the week, with gamma noise that differs by entity and
lasts for hours, levels that wander from day to day, copies of most stories and storms of copies of some. Into the weeks
that are judged, surges of known size are planted. Our rule is the one of the product, through the product's
evaluator: baseline, windows, hysteresis. The rivals see the same windows: more than a number of stories; more than the
mean plus 3 standard deviations of the last 14 days (as in Huginn's peak detector); three times the window before (as in
ElastAlert's spike). Each is shown on articles and on stories, the first two also at the level that gives them no more
false alerts than ours.

Thresholds are chosen on the seeds of `TUNING` alone; the figures are of other seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from domains.finance.alerting.baseline import HISTORY, WEEK, WEEKS, fit
from domains.finance.alerting.rules import ABOVE, SURGE, VOLUME, Expectation, Observations, RuleSpec, evaluate, observe
from domains.finance.alerting.series import DAY, HOUR, MINUTE, Group, Series

NAME = "surge"
HELP = "planted surges found within 30 minutes and false alerts per entity-week, beside mean + 3 sd and a threshold"
TUNING = (1, 2, 3)
SEEDS = (101, 102, 103)
ENTITIES, SURGES = 200, 400
WARM_DAYS, JUDGED_DAYS = 28, 14
WINDOW = 30 * MINUTE
DEADLINE = 30 * MINUTE  # after which a surge is found too late
LASTING = 60 * MINUTE  # of a surge
FACTOR, MORE = 4.0, 0.16  # a surge: so many times the stories, and so many more a minute
MIN_STORIES = 3
OURS = RuleSpec(SURGE, WINDOW, ABOVE, threshold=4.1, clear=2.0, min_stories=MIN_STORIES)
MIDNIGHT = 1_700_006_400  # where the streams begin, a midnight UTC


@dataclass(frozen=True, slots=True)
class Stream:
    """int16 (entities, minutes) of stories and of articles, copies included; `surges`: (entity, Unix seconds)."""

    stories: np.ndarray
    articles: np.ndarray
    surges: np.ndarray


@dataclass(frozen=True, slots=True)
class Marks:
    """How one rule did on one stream."""

    false_alerts: int
    found: int
    surges: int
    delays: tuple[int, ...]  # seconds, of those found
    entity_weeks: float

    def __add__(self, other: Marks) -> Marks:
        return Marks(
            self.false_alerts + other.false_alerts,
            self.found + other.found,
            self.surges + other.surges,
            self.delays + other.delays,
            self.entity_weeks + other.entity_weeks,
        )

    def as_row(self) -> dict[str, float]:
        return {
            "false alerts / entity-week": round(self.false_alerts / self.entity_weeks, 3),
            "recall in 30 min": round(self.found / self.surges, 3),
            "median delay (min)": round(float(np.median(self.delays)) / MINUTE, 1) if self.delays else float("nan"),
        }

    @property
    def rate(self) -> float:
        return self.false_alerts / self.entity_weeks


NOTHING = Marks(0, 0, 0, (), 0.0)
Rule = Callable[[np.ndarray, int, int], list[list[int]]]  # (entities, minutes), start, end -> when each fired


def run(seeds: Sequence[int] = SEEDS, entities: int = ENTITIES) -> dict[str, Any]:
    """{"ours", "rival" (recall at no more false alerts than ours), "ratio", ..., rule: figures}"""
    tuned = [made(seed, entities) for seed in TUNING]
    ours = surge_rule(OURS)
    allowed = total(tuned, ours, "stories").rate
    static = strictest(tuned, static_rule, (5, 8, 12, 16, 20, 25, 30, 35, 40, 50), allowed)
    spread = strictest(tuned, deviation_rule, (3, 4, 5, 6, 7, 8, 9, 10, 12), allowed)
    del tuned
    streams = [made(seed, entities) for seed in seeds]
    rules: dict[str, Rule] = {
        "ours": ours,
        "mean + 3 sd": deviation_rule(3),
        f"mean + {spread} sd, at our false alerts": deviation_rule(spread),
        "more than 10 stories": static_rule(10),
        f"more than {static} stories, at our false alerts": static_rule(static),
        "3 times the window before": spike_rule(3),
    }
    table = {
        f"{name}, on {unit}": total(streams, rule, unit).as_row()
        for name, rule in rules.items()
        for unit in ("stories", "articles")
    }
    recall = "recall in 30 min"
    ours_recall = table["ours, on stories"][recall]
    rival = max(figures[recall] for name, figures in table.items() if "at our false alerts, on stories" in name)
    return {
        "unit": f"{recall}, at our false alerts",
        "ours": ours_recall,
        "rival": rival,
        "ratio": round(ours_recall / max(rival, 1e-9), 2),
        "false alerts / entity-week": table["ours, on stories"]["false alerts / entity-week"],
        "seeds": list(seeds),
        "entities": entities,
    } | table


def total(streams: Sequence[Stream], rule: Rule, unit: str) -> Marks:
    return sum((judged(stream, rule, unit) for stream in streams), NOTHING)


def strictest(streams: Sequence[Stream], rule: Callable[[int], Rule], levels: Sequence[int], allowed: float) -> int:
    """The lowest level with no more false alerts on stories than allowed, else the highest."""
    return next((level for level in levels if total(streams, rule(level), "stories").rate <= allowed), levels[-1])


def judged(stream: Stream, rule: Rule, unit: str) -> Marks:
    """Alerts in the judged days: each fired within the deadline of a surge finds it; one outside any surge is false."""
    start, end = MIDNIGHT + WARM_DAYS * DAY, MIDNIGHT + (WARM_DAYS + JUDGED_DAYS) * DAY
    fired = rule(getattr(stream, unit), start, end)
    false = found = 0
    delays = []
    for entity, moments in enumerate(fired):
        surges = stream.surges[stream.surges[:, 0] == entity, 1]
        after = np.array(moments)[:, None] - surges[None]  # (alerts, surges)
        within = (after > 0) & (after <= LASTING + WINDOW)
        false += int((~within.any(axis=1)).sum()) if len(moments) else 0
        for i in range(len(surges)):
            in_time = after[:, i][(after[:, i] > 0) & (after[:, i] <= DEADLINE)]
            if len(in_time):
                found += 1
                delays.append(int(in_time.min()))
    weeks = len(fired) * JUDGED_DAYS / 7
    return Marks(false, found, len(stream.surges), tuple(delays), weeks)


# Rules: each takes (entities, minutes) and says when it fired ------------------------------------------------


def surge_rule(rule: RuleSpec) -> Rule:
    def fired(minutes: np.ndarray, start: int, end: int) -> list[list[int]]:
        hours = hourly(minutes)
        everything = hours.sum(axis=0)
        moments: list[list[int]] = []
        for first in range(0, len(minutes), 25):
            part = slice(first, first + 25)
            days = [fit(before(hours[part], day), before(everything, day)) for day in range(start - DAY, end, DAY)]
            expectation = Expectation.of_days(start - DAY, days)
            series = as_series(minutes[part], start - DAY, end)
            moments += firings(observe(rule, series, start, end, everything=series, expectation=expectation))
        return moments

    return fired


def static_rule(level: int) -> Rule:
    rule = RuleSpec(VOLUME, WINDOW, ABOVE, threshold=level + 1, clear=max(1, level // 2))

    def fired(minutes: np.ndarray, start: int, end: int) -> list[list[int]]:
        series = as_series(minutes, start - DAY, end)
        return firings(observe(rule, series, start, end, everything=series))

    return fired


def deviation_rule(deviations: int) -> Rule:
    """More than the mean and so many standard deviations of the last 14 days' windows; it clears at mean plus one."""

    def fired(minutes: np.ndarray, start: int, end: int) -> list[list[int]]:
        windows = sums(minutes)
        judged_days = []
        for day in range(start, end, DAY):
            at = (day - MIDNIGHT) // MINUTE
            past = windows[:, at - 14 * 1_440 : at : 30]
            mean, spread = past.mean(axis=1, keepdims=True), past.std(axis=1, keepdims=True)
            judged_days.append((windows[:, at : at + 1_440] - mean) / np.maximum(spread, 1e-9))
        return crossings(np.concatenate(judged_days, axis=1), windows, start, end, deviations, 1.0)

    return fired


def spike_rule(times: int) -> Rule:
    def fired(minutes: np.ndarray, start: int, end: int) -> list[list[int]]:
        windows = sums(minutes)
        first, last, width = (start - MIDNIGHT) // MINUTE, (end - MIDNIGHT) // MINUTE, WINDOW // MINUTE
        ratio = windows[:, first:last] / np.maximum(windows[:, first - width : last - width], 1)
        return crossings(ratio, windows, start, end, times, 1.0)

    return fired


def crossings(
    values: np.ndarray, windows: np.ndarray, start: int, end: int, level: float, clear: float
) -> list[list[int]]:
    """Through the product's states, so that every rule has the same hysteresis and the same smallest evidence."""
    rule = RuleSpec(VOLUME, WINDOW, ABOVE, threshold=level, clear=clear, min_stories=MIN_STORIES)
    stories = windows[:, (start - MIDNIGHT) // MINUTE : (end - MIDNIGHT) // MINUTE]
    cells = np.repeat(stories[:, None], 4, axis=1)
    ends = np.arange(start + MINUTE, end + 1, MINUTE)
    return firings(Observations(rule, ends, cells, values, np.zeros(len(ends), dtype=bool)))


def firings(observations: Observations) -> list[list[int]]:
    transitions, _ = evaluate(observations, {})
    return [
        [each.at for each in transitions.get(group, ()) if each.after == "firing"]
        for group in range(len(observations.value))
    ]


def as_series(minutes: np.ndarray, start: int, end: int) -> Series:
    part = minutes[:, (start - MIDNIGHT) // MINUTE : (end - MIDNIGHT) // MINUTE]
    cells = np.zeros((len(minutes), 4, part.shape[1]), dtype=np.int64)
    cells[:, 0] = part
    return Series(tuple(Group(i + 1) for i in range(len(minutes))), start, MINUTE, cells)


def sums(minutes: np.ndarray) -> np.ndarray:
    """Of the windows that end with each minute, as far as there are minutes."""
    total = np.cumsum(minutes, axis=1, dtype=np.int64)
    width = WINDOW // MINUTE
    total[:, width:] -= total[:, :-width].copy()
    return total


def hourly(minutes: np.ndarray) -> np.ndarray:
    return minutes.reshape(len(minutes), -1, 60).sum(axis=2, dtype=np.int64)


def before(hours: np.ndarray, day: int) -> np.ndarray:
    """The hours that a fit of the day wants; nothing before the stream began."""
    end = (day - MIDNIGHT) // HOUR
    known = hours[..., max(0, end - WEEKS * WEEK) : end]
    missing = HISTORY // HOUR - known.shape[-1]
    return np.concatenate([np.zeros((*hours.shape[:-1], missing), dtype=hours.dtype), known], axis=-1)


# The stream ---------------------------------------------------------------------------------------------------


def made(seed: int, entities: int = ENTITIES) -> Stream:
    random = np.random.default_rng(seed)
    days = WARM_DAYS + JUDGED_DAYS
    rate = rates(random, entities, days)  # stories an hour, (entities, hours)
    minutes = np.repeat(rate / 60, 60, axis=1)
    surges = planted(random, entities, round(SURGES * entities / ENTITIES))
    for entity, moment in surges:
        first = (moment - MIDNIGHT) // MINUTE
        during = slice(first, first + LASTING // MINUTE)
        minutes[entity, during] = minutes[entity, during] * FACTOR + MORE
    stories = random.poisson(minutes).astype(np.int16)
    return Stream(stories, copied(random, stories), surges)


def rates(random: np.random.Generator, entities: int, days: int) -> np.ndarray:
    hour, day = np.arange(24), np.arange(7)
    level = np.exp(random.normal(np.log(0.6), 1.2, entities))
    peak = random.normal(13, 1.5, (entities, 1))
    by_hour = 0.15 + np.exp(-0.5 * ((hour - peak) / 4.0) ** 2) + 0.5 * np.exp(-0.5 * ((hour - 20) / 1.5) ** 2)
    by_day = np.where(day < 5, 1.0, 0.35)
    season = (by_hour[:, None, :] * by_day[:, None]).reshape(entities, -1)
    season /= season.mean(axis=1, keepdims=True)
    season = np.tile(season, (1, days // 7))
    wander = np.cumsum(random.normal(0, 0.06, (entities, days)), axis=1)
    size = random.uniform(3, 12, (entities, 1))  # of the gamma noise
    noise = random.gamma(size, 1 / size, (entities, days * 24))
    return level[:, None] * season * np.repeat(np.exp(wander), 24, axis=1) * noise


def planted(random: np.random.Generator, entities: int, count: int) -> np.ndarray:
    """(entity, moment) of surges in the judged days, six hours at least between two of an entity."""
    start = MIDNIGHT + WARM_DAYS * DAY
    found: list[tuple[int, int]] = []
    while len(found) < count:
        entity = int(random.integers(entities))
        moment = start + int(random.integers(60, JUDGED_DAYS * 1_440 - 180)) * MINUTE
        if all(entity != other or abs(moment - at) > 6 * HOUR for other, at in found):
            found.append((entity, moment))
    return np.array(found)


def copied(random: np.random.Generator, stories: np.ndarray) -> np.ndarray:
    """Articles: each story and its copies, which follow within the hour; one story in twenty is copied everywhere."""
    articles = stories.copy()
    entity, minute = np.nonzero(stories)
    again = np.repeat(np.arange(len(entity)), stories[entity, minute])
    is_storm = random.random(len(again)) < 0.05
    copies = np.where(is_storm, random.poisson(30, len(again)), random.geometric(0.35, len(again)))
    each = np.repeat(again, copies)
    when = minute[each] + np.floor(random.exponential(15, len(each))).astype(np.int64)
    inside = when < stories.shape[1]
    np.add.at(articles, (entity[each[inside]], when[inside]), 1)
    return articles
