"""When a rule would have fired: the evaluator of the live run over stored history, before the rule is saved.

It knows the stories as they are now. The live run knew those that had come in by then, so the two differ where stories
came late, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from domains.finance.alerting import history
from domains.finance.alerting.rules import FIRING, PENDING, RESOLVED, Observations, RuleSpec, Transition, evaluate
from domains.finance.alerting.series import DAY, MINUTE, Group

GROUPS_AT_ONCE = 8
MOST_FIRINGS = 500  # that are listed; all are counted
STRIP_POINTS = 600


@dataclass(frozen=True, slots=True)
class WouldFire:
    group: Group
    started_at: int  # when it became pending
    fired_at: int
    resolved_at: int | None  # None: it still would at the end
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BackTest:
    """`strip`: (moment, value) of the group with most firings, or of the only one: the value furthest towards the
    threshold in each of at most STRIP_POINTS steps; None where there was no value."""

    start: int
    end: int
    groups: int
    firings: Sequence[WouldFire]  # newest first
    count: int
    alerts_per_week: float
    seconds_firing: int
    strip_group: Group | None
    strip: Sequence[tuple[int, float | None]]
    seconds: float  # that it took


def back_test(spec: RuleSpec, scope: history.Scope, start: int, end: int) -> BackTest:
    """Where the rule would have fired in the minutes (start, end], beginning inactive."""
    began = time.perf_counter()
    begin = start - history.reach(spec)
    everything = history.everything_between(begin, end)
    series = history.stored_series(scope, begin, end, MINUTE)
    firings: list[WouldFire] = []
    best: tuple[int, Group, Observations, int] | None = None
    for first in range(0, len(series.groups), GROUPS_AT_ONCE):
        part = series.part(series.groups[first : first + GROUPS_AT_ONCE])
        observations = history.observed(spec, part, everything, start, end)
        transitions, _ = evaluate(observations, {})
        for i, group in enumerate(part.groups):
            found = would_fire(observations, i, group, transitions.get(i, ()))
            firings += found
            if best is None or len(found) > best[0]:
                best = (len(found), group, observations, i)
    firings.sort(key=lambda each: -each.fired_at)
    return BackTest(
        start,
        end,
        len(series.groups),
        firings[:MOST_FIRINGS],
        len(firings),
        round(len(firings) / max((end - start) / (7 * DAY), 1e-9), 2),
        sum((each.resolved_at or end) - each.fired_at for each in firings),
        best[1] if best else None,
        strip(best[2], best[3]) if best else (),
        round(time.perf_counter() - began, 3),
    )


def would_fire(observations: Observations, i: int, group: Group, transitions: Sequence[Transition]) -> list[WouldFire]:
    found: list[WouldFire] = []
    started = 0
    for each in transitions:
        if each.after == PENDING:
            started = each.at
        elif each.after == FIRING:
            step = int((each.at - observations.ends[0]) // MINUTE)
            started = started if each.before == PENDING else each.at
            found.append(WouldFire(group, started, each.at, None, observations.figures(i, step)))
        elif each.after == RESOLVED:
            last = found.pop()
            found.append(WouldFire(group, last.started_at, last.fired_at, each.at, last.figures))
    return found


def strip(observations: Observations, i: int) -> list[tuple[int, float | None]]:
    """The values of a group in few points, none of those near the threshold lost."""
    ends, value = observations.ends, observations.value[i]
    if not len(ends):
        return []
    width = -(-len(ends) // STRIP_POINTS)
    starts = np.arange(0, len(ends), width)
    towards, nothing = (np.fmax, -np.inf) if observations.rule.comparison == "above" else (np.fmin, np.inf)
    reduced = towards.reduceat(np.where(np.isnan(value), nothing, value), starts)
    return [
        (int(ends[at]), None if np.isinf(figure) else float(figure)) for at, figure in zip(starts, reduced, strict=True)
    ]
