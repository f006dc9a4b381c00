"""What is to be expected: levels, seasons, thin and new groups, past bursts, a changed clock."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import nbinom

from benchmarks.surge import OURS, deviation_rule, judged, made, surge_rule
from domains.finance.alerting.baseline import HISTORY, WEEK, WEEKS, band, fit, silence, surprise
from domains.finance.alerting.rules import Expectation
from domains.finance.alerting.series import DAY, HOUR

HOURS = HISTORY // HOUR
SHAPE = 0.2 + np.exp(-0.5 * ((np.arange(24) - 12) / 3) ** 2)
WEEKLY = np.concatenate([SHAPE] * 5 + [0.3 * SHAPE] * 2)
WEEKLY /= WEEKLY.mean()


def counts(level: float, seed: int = 0, shape: np.ndarray = WEEKLY) -> np.ndarray:
    return np.random.default_rng(seed).poisson(level * np.tile(shape, WEEKS))


def test_level_and_season_are_found() -> None:
    """The day that follows is a Monday, at hours of known rates."""
    hours = counts(20)
    found = fit(hours[None], hours * 3)
    assert found.rate.shape == (1, 24)
    error = np.abs(found.rate[0] - 20 * WEEKLY[:24]) / (20 * WEEKLY[:24])
    assert error.mean() < 0.1
    assert error.max() < 0.3


def test_a_thin_group_takes_the_shape_of_all() -> None:
    thin = counts(0.05, 1)
    found = fit(thin[None], counts(50))
    correlation = np.corrcoef(found.rate[0], WEEKLY[:24])[0, 1]
    assert correlation > 0.97
    assert found.rate[0].sum() == pytest.approx(0.05 * WEEKLY[:24].sum(), rel=0.8)


def test_a_new_group_leans_on_what_is_known_of_all() -> None:
    new = np.zeros(HOURS, dtype=int)
    new[-24:] = counts(5, 2)[-24:]  # a Sunday, its first day
    found = fit(np.stack([new, np.zeros(HOURS, dtype=int)]), counts(50))
    assert found.rate[0, 12] > 4 * found.rate[0, 0]  # noon against midnight, which it has seen once
    assert found.rate[0].sum() > 10 * found.rate[1].sum()
    assert (found.rate > 0).all()  # a group of which nothing is known can have a story
    assert found.size[1] < found.size[0]  # and is less sure


def test_nothing_at_all_is_no_error() -> None:
    found = fit(np.zeros((2, HOURS)), np.zeros(HOURS))
    assert np.isfinite(found.rate).all()
    assert (found.rate > 0).all()
    assert fit(np.zeros((0, HOURS)), np.zeros(HOURS)).rate.shape == (0, 24)


def test_older_weeks_count_less() -> None:
    hours = counts(10)
    hours[-2 * WEEK :] *= 3
    found = fit(hours[None], counts(50))
    assert 15 < found.rate[0].sum() / WEEKLY[:24].sum() < 32


def test_past_bursts_are_cut_off() -> None:
    calm = counts(4)
    burst = calm.copy()
    burst[-WEEK + 10 : -WEEK + 14] += 400
    before, after = fit(calm[None], counts(50)), fit(burst[None], counts(50))
    assert after.rate[0].sum() == pytest.approx(before.rate[0].sum(), rel=0.15)
    assert after.size[0] > 0.5 * before.size[0]


def test_noise_beyond_poisson_is_seen() -> None:
    random = np.random.default_rng(3)
    noisy = random.poisson(20 * np.tile(WEEKLY, WEEKS) * random.gamma(2, 1 / 2, HOURS))
    found = fit(np.stack([counts(20), noisy]), counts(100))
    assert found.size[0] > 20
    assert 1.3 < found.size[1] < 5


def test_groups_do_not_touch_each_other() -> None:
    many = np.stack([counts(level, seed) for seed, level in enumerate((0.1, 1, 30))])
    everything = many.sum(axis=0)
    together = fit(many, everything)
    for i in range(3):
        alone = fit(many[i : i + 1], everything)
        assert np.array_equal(alone.rate[0], together.rate[i])
        assert alone.size[0] == together.size[i]


def test_a_clock_that_is_put_forward_is_no_surge() -> None:
    """A source that follows a local clock moves by an hour in UTC: of the week after, few half hours are surprising."""
    random = np.random.default_rng(4)
    rate = np.tile(WEEKLY, WEEKS + 1) * 8
    moved = np.concatenate([rate[: WEEKS * WEEK], np.roll(WEEKLY, -1) * 8])
    alarms = {}
    for name, hourly in (("same clock", rate), ("clock put forward", moved)):
        found = 0
        for _ in range(20):
            halves = random.poisson(np.repeat(hourly / 2, 2))
            hours = halves.reshape(-1, 2).sum(axis=1)
            for day in range(7):
                past = slice(day * 24, WEEKS * WEEK + day * 24)
                expectation = Expectation.of_days(0, [fit(hours[past][None], hours[past] * 5)])
                ends = np.arange(1_800, DAY + 1, 1_800)
                expected, size = expectation.window(1_800, ends)
                today = halves[2 * past.stop : 2 * past.stop + 48]
                found += int((surprise(today, expected[0], size[0]) >= 4).sum())
        alarms[name] = found / 20  # a week
    assert alarms["clock put forward"] <= 0.3


def test_surprise_is_the_tail_of_the_negative_binomial() -> None:
    count, expected, size = np.array([0, 1, 5, 40]), np.array([2.0, 2.0, 1.5, 3.0]), np.array([3.0, 3.0, 8.0, 1.2])
    tail = nbinom.sf(count - 1, size, size / (size + expected))
    assert surprise(count, expected, size) == pytest.approx(-np.log10(tail))
    assert surprise(np.array([0]), np.array([5.0]), np.array([1.0]))[0] == 0
    assert np.isfinite(surprise(np.array([10**6]), np.array([1e-6]), np.array([50.0])))


def test_silence_is_the_chance_of_nothing() -> None:
    expected, size = np.array([0.5, 30.0]), np.array([4.0, 4.0])
    assert silence(expected, size) == pytest.approx(-nbinom.logpmf(0, size, size / (size + expected)) / np.log(10))


def test_the_band_is_that_of_the_distribution() -> None:
    expected, size = np.array([0.01, 1.0, 40.0]), np.array([2.0, 5.0, 9.0])
    chance = size / (size + expected)
    low, high = band(expected, size)
    assert low.tolist() == nbinom.ppf(0.05, size, chance).tolist()
    assert high.tolist() == nbinom.ppf(0.95, size, chance).tolist()


def test_windows_go_over_hours_and_days() -> None:
    days = [fit(np.full((1, HOURS), level), np.full(HOURS, level)) for level in (2, 6)]
    expectation = Expectation.of_days(0, days)
    ends = np.array([HOUR, DAY, DAY + 1_800, 2 * DAY])
    expected, size = expectation.window(3_600, ends)
    a, b = days[0].rate[0], days[1].rate[0]
    assert expected[0] == pytest.approx([a[0], a[23], (a[23] + b[0]) / 2, b[23]], rel=1e-5)
    assert size[0].tolist() == [days[0].size[0]] * 2 + [days[1].size[0]] * 2


def test_planted_surges_are_found_at_a_low_price() -> None:
    """A small run of the benchmark, on a seed that nothing was chosen on."""
    stream = made(201, entities=100)
    marks = judged(stream, surge_rule(OURS), "stories")
    assert marks.rate <= 0.15
    assert marks.found / marks.surges >= 0.6
    assert judged(stream, deviation_rule(3), "stories").rate > 10 * marks.rate
