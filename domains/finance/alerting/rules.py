"""The evaluator: what a rule makes of a stream, minute by minute. One pure function behind the live evaluation, the
back-test and the replay of an alert, so that all three decide alike.

`observe` turns cells into the rule's figures for every group and minute at once; `walk` goes through the minutes of a
group that has something to decide, jumping from one transition to the next. Time is the time of the stories: a moment
`at` stands for the minute that ends there, and the window that ends with it.

The states follow Prometheus (docs/configuration/alerting_rules.md): inactive, pending for `for_seconds`, firing, and
back, with two additions: an alert resolves at its own `clear` level, and a group rests for `cool_down` after that.
Where the whole stream is silent, nothing is known: nothing fires, nothing pending stays so, and what fires goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from domains.finance.alerting.baseline import Baseline, band, silence, surprise
from domains.finance.alerting.series import DAY, HOUR, MINUTE, PARTS, Series, floor

INACTIVE, PENDING, FIRING, RESOLVED, NO_DATA = "inactive", "pending", "firing", "resolved", "no_data"
NEGATIVE_SHARE, VOLUME, MEAN_SENTIMENT, SURGE = METRICS = ("negative_share", "volume", "mean_sentiment", "surge")
ABOVE, BELOW = COMPARISONS = ("above", "below")
SILENCE_WINDOW = 30 * MINUTE
SILENCE_SURPRISE = 4.0  # -log10 of the chance of such a silence: above it, the stream itself has stopped
DIGITS = 4  # of a metric's value, before it is compared: enough for a person, too few for a rounding error to decide


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """What an alert rule says, without its name and its groups. Seconds are whole minutes; `clear` is the level past
    which a firing alert resolves, on the quiet side of `threshold` or equal to it."""

    metric: str
    window: int
    comparison: str
    threshold: float
    clear: float
    for_seconds: int = 0
    cool_down: int = 0
    min_stories: int = 1

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RuleSpec:
        return cls(**{field.name: stored[field.name] for field in fields(cls)})

    @property
    def wants_baseline(self) -> bool:
        return self.metric == SURGE

    @property
    def judges_silence(self) -> bool:
        """Whether no stories are what the rule looks for: a silent stream is then no lack of data."""
        return self.metric == VOLUME and self.comparison == BELOW

    def beyond(self, value: np.ndarray, level: float) -> np.ndarray:
        """Where a value is at the level or past it; never where it is not a number."""
        with np.errstate(invalid="ignore"):
            return value >= level if self.comparison == ABOVE else value <= level


class State(NamedTuple):
    """Of a group under a rule. `since`: when it was entered; `rests_until`: nothing becomes pending or fires before."""

    name: str = INACTIVE
    since: int = 0
    rests_until: int = 0


class Transition(NamedTuple):
    at: int  # Unix seconds, the end of the minute that decided
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """Baselines laid side by side, an hour a column from `start` on: `rate` stories an hour, `size` of the negative
    binomial, both (groups, hours). Sums are rounded, so that they are the same wherever the hours began."""

    start: int
    rate: np.ndarray
    size: np.ndarray

    @classmethod
    def of_days(cls, start: int, days: Iterable[Baseline]) -> Expectation:
        """`start` is the midnight UTC at which the first day begins."""
        days = list(days)
        rate = np.concatenate([day.rate for day in days], axis=1).astype(np.float64)
        size = np.concatenate([np.repeat(day.size[:, None], 24, axis=1) for day in days], axis=1).astype(np.float64)
        return cls(start, rate, size)

    def window(self, seconds: int, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Stories expected in the windows that end at `ends` (steps,), and their sizes; (groups, steps) both."""
        total = np.concatenate([np.zeros((len(self.rate), 1)), np.cumsum(self.rate, axis=1)], axis=1)
        last = (ends - 1 - self.start) // HOUR
        found = np.round(self._until(total, ends) - self._until(total, ends - seconds), 6)
        return np.maximum(found, 1e-6), self.size[:, last]

    def _until(self, total: np.ndarray, moments: np.ndarray) -> np.ndarray:
        hour, rest = np.divmod(moments - self.start, HOUR)
        inside = np.minimum(hour, self.rate.shape[1] - 1)
        return total[:, hour] + self.rate[:, inside] * (rest / HOUR)


@dataclass(frozen=True)
class Observations:
    """The rule's figures for every group and minute: what is decided on, and nothing else is.

    `ends` (steps,) Unix seconds; `sums` int64 (groups, 4, steps) over the windows; `value` float64 (groups, steps), not
    a number where it has no meaning; `expected` and `size` where the rule wants a baseline.
    """

    rule: RuleSpec
    ends: np.ndarray
    sums: np.ndarray
    value: np.ndarray
    is_silent: np.ndarray  # (steps,)
    expected: np.ndarray | None = None
    size: np.ndarray | None = None

    @cached_property
    def is_enough(self) -> np.ndarray:
        """Where there are stories enough to say something. A rule that looks for silence needs none."""
        if self.rule.judges_silence:
            return np.ones(self.value.shape, dtype=bool)
        return self.sums[:, 0] >= max(1, self.rule.min_stories)

    @cached_property
    def breaches(self) -> np.ndarray:
        return self.rule.beyond(self.value, self.rule.threshold) & self.is_enough & ~self.is_silent

    @cached_property
    def clears(self) -> np.ndarray:
        return ~(self.rule.beyond(self.value, self.rule.clear) & self.is_enough) & ~self.is_silent

    def figures(self, group: int, step: int) -> dict[str, Any]:
        """What the rule saw in one window, for people and for the ledger."""
        stories, *sums = (int(figure) for figure in self.sums[group, :, step])
        value = self.value[group, step]
        end = int(self.ends[step])
        figures = {
            "value": None if np.isnan(value) else float(value),
            "stories": stories,
            **{name: total / PARTS for name, total in zip(("negative", "neutral", "positive"), sums, strict=True)},
            "from": end - self.rule.window,
            "to": end,
        }
        if self.expected is not None and self.size is not None:
            expected, size = self.expected[group, step], self.size[group, step]
            low, high = band(expected, size)
            figures |= {"expected": float(expected), "size": float(size), "low": int(low), "high": int(high)}
        return figures

    def seen(self, group: int, first: int, last: int) -> list[list[Any]]:
        """The minutes [first, last] as plain values, for `replay`: [at, value, is enough, is silent] each."""
        return [
            [
                int(self.ends[i]),
                none_if_nan(self.value[group, i]),
                bool(self.is_enough[group, i]),
                bool(self.is_silent[i]),
            ]
            for i in range(first, last + 1)
        ]


def none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def observe(
    rule: RuleSpec,
    series: Series,
    start: int,
    end: int,
    *,
    everything: Series,
    expectation: Expectation | None = None,
    everything_expected: Expectation | None = None,
) -> Observations:
    """The figures of the minutes that end in (start, end].

    `series` and `everything` (of the one group EVERYTHING) must reach back a window and SILENCE_WINDOW before `start`;
    `expectation` is wanted where the rule wants a baseline. Without `everything_expected` no silence is found.
    """
    ends = np.arange(start + MINUTE, end + 1, MINUTE)
    sums = series.window(rule.window, start, end)
    expected = size = None
    if rule.wants_baseline:
        if expectation is None:
            raise ValueError("a rule on surges wants what is expected")
        expected, size = expectation.window(rule.window, ends)
    value = measured(rule, sums, expected, size)
    is_silent = np.zeros(len(ends), dtype=bool)
    if everything_expected is not None and not rule.judges_silence:
        heard = everything.window(SILENCE_WINDOW, start, end)[0, 0]
        awaited, spread = everything_expected.window(SILENCE_WINDOW, ends)
        is_silent = (heard == 0) & (silence(awaited[0], spread[0]) >= SILENCE_SURPRISE)
    return Observations(rule, ends, sums, value, is_silent, expected, size)


def measured(rule: RuleSpec, sums: np.ndarray, expected: np.ndarray | None, size: np.ndarray | None) -> np.ndarray:
    """The metric of each window; a share of nothing is not a number."""
    stories, negative, _, positive = np.moveaxis(sums, 1, 0)
    if rule.metric == VOLUME:
        return stories.astype(np.float64)
    if rule.metric == SURGE:
        assert expected is not None and size is not None
        value = np.zeros(stories.shape)
        more = (stories >= max(1, rule.min_stories)) & (stories > expected)
        value[more] = surprise(stories[more], expected[more], size[more])
        return np.round(value, DIGITS)
    scored = sums[:, 1:].sum(axis=1)
    part = negative if rule.metric == NEGATIVE_SHARE else positive - negative
    return np.round(np.divide(part, scored, out=np.full(part.shape, np.nan), where=scored > 0), DIGITS)


def evaluate(
    observations: Observations, states: Mapping[int, State]
) -> tuple[dict[int, list[Transition]], dict[int, State]]:
    """Take the groups, given by position, through the observed minutes; those not named in `states` are inactive.

    Returns the transitions of each group that has some, and the states of all that are not plainly inactive any more.
    """
    ends = observations.ends
    busy = set(states) | set(np.flatnonzero(observations.breaches.any(axis=1)).tolist())
    transitions: dict[int, list[Transition]] = {}
    after: dict[int, State] = {}
    for group in sorted(busy):
        found, state = walk(
            observations.rule,
            ends,
            observations.breaches[group],
            observations.clears[group],
            states.get(group, State()),
        )
        if found:
            transitions[group] = found
        if state.name != INACTIVE or (len(ends) and state.rests_until > ends[-1]):
            after[group] = state
    return transitions, after


def walk(
    rule: RuleSpec, ends: np.ndarray, breaches: np.ndarray, clears: np.ndarray, state: State
) -> tuple[list[Transition], State]:
    """One group through the minutes `ends`, from transition to transition."""
    found: list[Transition] = []
    breaching, quiet, clearing = (ends[where] for where in (breaches, ~breaches, clears))
    now = int(ends[0]) if len(ends) else 0  # the next minute that is undecided

    def move(at: int, name: str, rests_until: int = 0) -> None:
        nonlocal state, now
        found.append(Transition(at, state.name, name))
        state = State(INACTIVE if name == RESOLVED else name, at, rests_until)
        now = at if name == PENDING else at + MINUTE

    while True:
        if state.name == INACTIVE:
            at = first_from(breaching, max(now, state.rests_until))
            if at is None:
                break
            move(at, PENDING if rule.for_seconds else FIRING)
        elif state.name == PENDING:
            fires, ends_at = state.since + rule.for_seconds, first_from(quiet, now)
            if ends_at is not None and ends_at <= fires:
                move(ends_at, INACTIVE)
            elif len(ends) and fires <= ends[-1]:
                move(max(fires, now), FIRING)
            else:
                break
        else:
            at = first_from(clearing, now)
            if at is None:
                break
            move(at, RESOLVED, at + rule.cool_down)
    return found, state


def first_from(moments: np.ndarray, at: int) -> int | None:
    """The first of the rising moments that is not before `at`."""
    position = int(np.searchsorted(moments, at))
    return int(moments[position]) if position < len(moments) else None


def replay(rule: RuleSpec, seen: Iterable[list[Any]], state: State) -> tuple[list[Transition], State]:
    """Decide once more on stored observations (`Observations.seen`), as the evaluator did."""
    rows = list(seen)
    ends = np.array([row[0] for row in rows], dtype=np.int64)
    value = np.array([np.nan if row[1] is None else row[1] for row in rows], dtype=np.float64)
    enough, silent = (np.array([row[i] for row in rows], dtype=bool) for i in (2, 3))
    breaches = rule.beyond(value, rule.threshold) & enough & ~silent
    clears = ~(rule.beyond(value, rule.clear) & enough) & ~silent
    return walk(rule, ends, breaches, clears, state)


def days_of(start: int, end: int) -> range:
    """The midnights UTC at which the days of [start, end) begin."""
    return range(floor(start, DAY), end, DAY)
