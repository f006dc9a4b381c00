"""The evaluator, by cases computed by hand: states, hysteresis, rest, silence, and what has no value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.finance.alerting.rules import (
    FIRING,
    INACTIVE,
    PENDING,
    RESOLVED,
    Observations,
    RuleSpec,
    State,
    Transition,
    evaluate,
    observe,
    replay,
    walk,
)
from domains.finance.alerting.series import EVERYTHING, MINUTE, PARTS, Group, dense

ACME = Group(1)
NOTHING = np.zeros((0, 6))


def spec(**fields: Any) -> RuleSpec:
    given: dict[str, Any] = {"metric": "volume", "window": 300, "comparison": "above", "threshold": 5, "clear": 3}
    return RuleSpec(**(given | fields))


def decided(rule: RuleSpec, values: Sequence[float | None], silent: tuple[int, ...] = ()) -> Any:
    """Transitions as (minute, state) of these values, one a minute, the first ending at minute 1."""
    value = np.array([[np.nan if value is None else value for value in values]])
    ends = np.arange(1, len(values) + 1) * MINUTE
    is_silent = np.isin(np.arange(1, len(values) + 1), silent)
    sums = np.full((1, 4, len(values)), 100)
    transitions, states = evaluate(Observations(rule, ends, sums, value, is_silent), {})
    found = [(each.at // MINUTE, each.after) for each in transitions.get(0, ())]
    return found, states.get(0, State())


def test_it_fires_at_the_threshold_and_resolves_past_the_clear_level() -> None:
    found, state = decided(spec(), [4, 5, 4, 3, 2, 9])
    assert found == [(2, FIRING), (5, RESOLVED), (6, FIRING)]
    assert state == State(FIRING, 6 * MINUTE)


def test_for_wants_every_minute_of_it() -> None:
    rule = spec(for_seconds=3 * MINUTE)
    found, _ = decided(rule, [5, 5, 5, 4, 5, 5, 5, 5])
    assert found == [(1, PENDING), (4, INACTIVE), (5, PENDING), (8, FIRING)]


def test_a_group_rests_after_an_alert() -> None:
    found, _ = decided(spec(cool_down=3 * MINUTE), [9, 0, 9, 9, 9, 9])
    assert found == [(1, FIRING), (2, RESOLVED), (5, FIRING)]


def test_the_state_is_carried_over_a_cut_at_any_minute() -> None:
    rule = spec(for_seconds=2 * MINUTE, cool_down=2 * MINUTE)
    values = [0, 5, 5, 6, 7, 2, 8, 8, 8, 8, 4, 1, 6, 6, 6]
    whole, end = decided(rule, values)
    for cut in range(1, len(values)):
        ends = np.arange(1, len(values) + 1) * MINUTE
        value = np.array(values, dtype=float)
        first, state = walk(rule, ends[:cut], value[:cut] >= 5, value[:cut] < 3, State())
        second, last = walk(rule, ends[cut:], value[cut:] >= 5, value[cut:] < 3, state)
        assert [(each.at // MINUTE, each.after) for each in first + second] == whole
        assert last == end


def test_below_fires_below() -> None:
    rule = spec(metric="mean_sentiment", comparison="below", threshold=-0.3, clear=-0.1)
    found, _ = decided(rule, [0.0, -0.3, -0.2, -0.05])
    assert found == [(2, FIRING), (4, RESOLVED)]


def test_no_value_neither_fires_nor_keeps_firing() -> None:
    found, _ = decided(spec(metric="negative_share", threshold=0.5, clear=0.4), [None, 0.6, None, 0.6])
    assert found == [(2, FIRING), (3, RESOLVED), (4, FIRING)]


def test_a_silent_stream_fires_nothing_drops_what_is_pending_and_holds_what_fires() -> None:
    firing, _ = decided(spec(), [5, 0, 0, 0], silent=(2, 3))
    assert firing == [(1, FIRING), (4, RESOLVED)]
    pending, _ = decided(spec(for_seconds=2 * MINUTE), [5, 5, 5, 5, 5, 5], silent=(2,))
    assert pending == [(1, PENDING), (2, INACTIVE), (3, PENDING), (5, FIRING)]


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=1, max_size=60),
    st.integers(0, 4),
    st.integers(0, 4),
    st.integers(1, 6),
)
def test_jumping_decides_as_stepping_minute_by_minute(
    values: Sequence[int | None], lasting: int, rest: int, clear: int
) -> None:
    rule = spec(threshold=6, clear=clear, for_seconds=lasting * MINUTE, cool_down=rest * MINUTE)
    assert decided(rule, values)[0] == stepped(rule, values)


def stepped(rule: RuleSpec, values: Sequence[int | None]) -> list[tuple[int, str]]:
    """The same, spelled out."""
    found, state, since, rests_until = [], INACTIVE, 0, 0
    for minute, value in enumerate(values, start=1):
        at = minute * MINUTE
        is_breach = value is not None and value >= rule.threshold
        is_clear = value is None or value < rule.clear
        if state == INACTIVE and is_breach and at >= rests_until:
            state, since = PENDING, at
            if rule.for_seconds:
                found.append((minute, PENDING))
        elif state == PENDING and not is_breach:
            state = INACTIVE
            found.append((minute, INACTIVE))
        elif state == FIRING and is_clear:
            state, rests_until = INACTIVE, at + rule.cool_down
            found.append((minute, RESOLVED))
        if state == PENDING and at >= since + rule.for_seconds:
            state = FIRING
            found.append((minute, FIRING))
    return found


# From cells to figures -----------------------------------------------------------------------------------------


def seen(rule: RuleSpec, cells: list[tuple[int, int, float, float]], minutes: int = 10) -> Observations:
    """Of ACME, from (minute, stories, negative, positive) within the hour before and `minutes` from then."""
    start = 3_600
    rows = [
        (1, start + minute * MINUTE, stories, negative, stories - negative - positive, positive)
        for minute, stories, negative, positive in cells
    ]
    series = dense([ACME], 0, start + minutes * MINUTE, MINUTE, np.array(rows, dtype=float))
    everything = dense([EVERYTHING], 0, start + minutes * MINUTE, MINUTE, NOTHING)
    return observe(rule, series, start, start + minutes * MINUTE, everything=everything)


def test_a_window_ends_with_its_minute() -> None:
    found = seen(spec(window=300), [(-1, 2, 1, 0), (0, 1, 0, 0), (4, 3, 0, 0)])
    assert found.value[0].tolist() == [3, 3, 3, 3, 4, 3, 3, 3, 3, 0]


def test_a_share_of_nothing_is_no_number_and_no_error() -> None:
    rule = spec(metric="negative_share", threshold=0.0, clear=0.0)
    found = seen(rule, [(2, 2, 1.5, 0.5)])
    assert np.isnan(found.value[0][:2]).all()
    assert found.value[0][2:7].tolist() == [0.75] * 5
    assert not found.breaches[0][:2].any()
    transitions, _ = evaluate(found, {})
    assert [(each.at, each.after) for each in transitions[0]] == [(3_600 + 180, FIRING), (3_600 + 480, RESOLVED)]


def test_mean_sentiment_is_positive_less_negative() -> None:
    found = seen(spec(metric="mean_sentiment"), [(0, 4, 3, 1)])
    assert found.value[0][0] == -0.5


def test_fewer_stories_than_wanted_decide_nothing() -> None:
    rule = spec(metric="negative_share", threshold=0.5, clear=0.5, min_stories=3)
    assert not seen(rule, [(0, 2, 2, 0)]).breaches.any()
    assert seen(rule, [(0, 3, 3, 0)]).breaches.any()


def test_too_few_stories_can_be_what_is_looked_for() -> None:
    rule = spec(comparison="below", threshold=0, clear=1, min_stories=5)
    transitions, _ = evaluate(seen(rule, [(-1, 1, 0, 0), (8, 2, 0, 0)]), {})
    assert [(each.at - 3_600) // MINUTE for each in transitions[0]] == [5, 9]


def test_sums_are_exact_whatever_they_were_computed_from() -> None:
    """Windows of a long series equal those of a short one to the last bit."""
    random = np.random.default_rng(0)
    grains = random.integers(0, PARTS, 5_000) / PARTS
    cells = np.array([(1, i * MINUTE, 1, grain, 1 - grain, 0.0) for i, grain in enumerate(grains)])
    long = dense([ACME], 0, 5_000 * MINUTE, MINUTE, cells)
    short = dense([ACME], 4_900 * MINUTE, 5_000 * MINUTE, MINUTE, cells)
    span = (4_970 * MINUTE, 5_000 * MINUTE)
    assert np.array_equal(long.window(1_800, *span), short.window(1_800, *span))


def test_a_series_that_is_too_short_says_so() -> None:
    series = dense([ACME], 0, 600, MINUTE, NOTHING)
    with pytest.raises(ValueError, match="shorter"):
        series.window(300, 120, 600)


def test_what_was_seen_leads_to_the_same_decision() -> None:
    rule = spec(for_seconds=2 * MINUTE)
    found = seen(rule, [(1, 6, 0, 0)])
    transitions, _ = evaluate(found, {})
    again, _ = replay(rule, found.seen(0, 0, 9), State())
    assert again == transitions[0]
    assert again[1] == Transition(3_600 + 4 * MINUTE, PENDING, FIRING)


def test_a_rule_is_read_back_from_its_json() -> None:
    rule = spec(metric="surge", threshold=4.5, cool_down=600)
    assert RuleSpec.from_json(rule.as_json() | {"later": "field"}) == rule
