"""How many stories are to be expected: a seasonal count model of each group, fitted once a UTC day from whole hours.

Counts of an hour are negative binomial: Poisson around a rate that has its own gamma noise, as in A. Noufaily et al.,
"An improved algorithm for outbreak detection in multiple surveillance systems", Statistics in Medicine 32 (2013). Past
bursts are held down there by their weights, here to what another week had. The rate is a level times a shape over the
hours of the week. Level and shape are gamma posterior means (A. Gelman et al., "Bayesian Data Analysis", 3rd ed., 2.6)
in three tiers, each the prior of the next: all stories' hours of the day, all stories' hours of the week, the group's
own hours of the week. What a thin group does not know of itself it takes from everything. Older weeks and days count
less, by a constant factor each (exponential forgetting: M. West and J. Harrison, "Bayesian Forecasting and Dynamic
Models", 2nd ed., 6.3).

Hours are UTC, so no day has 23 or 25 of them; where a source follows a clock that is put forward, the neighbouring
hours that are smoothed over and the forgetting take the change up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, nbdtrik

from domains.finance.alerting.series import HOUR

WEEK = 168  # hours
WEEKS = 8  # that a fit looks back
HISTORY = WEEKS * WEEK * HOUR  # seconds
WEEK_KEPT = 0.90  # of a week's weight in the shape, a week later
DAY_KEPT = 0.92  # of a day's weight in the level, a day later
SMOOTHING = (0.25, 0.5, 0.25)  # over neighbouring hours
SHAPE_COUNTS = 8.0  # stories that a group's own hour must have before it outweighs the shape of all
LEVEL_COUNTS = 0.5  # stories that the prior level is worth
LEVEL_PRIOR = 0.05  # stories an hour, of a group of which nothing is known
NOISE_PRIOR, NOISE_WEIGHT = 0.15, 100.0  # 1 / size of the gamma noise, and the squared stories that this prior is worth
BURST_TIMES, BURST_MORE = 1.5, 3.0  # of the second strongest week's count, and stories: more in an hour is a burst
MOST_SURPRISE = 300.0  # -log10 of the smallest probability that is told apart


@dataclass(frozen=True, slots=True)
class Baseline:
    """Of some groups, for the 24 hours of a UTC day: `rate` float32 (groups, 24) stories an hour; `size` float32
    (groups,), the negative binomial's size: the smaller, the further counts stray from the rate."""

    rate: np.ndarray
    size: np.ndarray


def fit(hours: np.ndarray, everything: np.ndarray) -> Baseline:
    """The baseline of the day that follows the given hours.

    `hours` (groups, WEEKS * WEEK) stories of each group in each hour, oldest first, the last one ending at midnight
    UTC; `everything` (WEEKS * WEEK,) the same of all stories together. What lies before a series' first day counts as
    not seen.
    """
    week = shape_of_all(everything)
    seen = seen_hours(hours)
    counts = without_bursts(hours.astype(np.float64), seen)
    rate, evidence = rates(counts, seen, week)
    noise = over_dispersion(counts, seen, rate) + 1 / evidence  # the level itself is not known exactly
    return Baseline(rate[:, :24].astype(np.float32), (1 / noise).astype(np.float32))


def seen_hours(counts: np.ndarray) -> np.ndarray:
    """1 from the day of a series' first story on, 0 before; (groups, hours)."""
    days = counts.reshape(len(counts), WEEKS * 7, 24).any(axis=2)
    return np.repeat(np.maximum.accumulate(days, axis=1), 24, axis=1).astype(np.float64)


def without_bursts(counts: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The counts, none far above what the second strongest week had at about that hour; (groups, hours).

    A level that stays is there in a second week, a burst is not. Hours seen in fewer than three weeks stay as they are.
    """
    weeks = counts.reshape(len(counts), WEEKS, WEEK)
    near = np.maximum(weeks, np.maximum(np.roll(weeks, 1, axis=2), np.roll(weeks, -1, axis=2)))
    second = np.partition(near, -2, axis=1)[:, -2]
    known = seen.reshape(weeks.shape).sum(axis=1)
    limit = np.where(known >= 3, BURST_TIMES * second + BURST_MORE, np.inf)
    return np.minimum(weeks, limit[:, None]).reshape(counts.shape)


def shape_of_all(everything: np.ndarray) -> np.ndarray:
    """The stream's hours of the week around a mean of 1, (WEEK,); its hours of the day are their prior."""
    seen = seen_hours(everything[None])
    counts, seen = weekly(without_bursts(everything[None].astype(np.float64), seen)), weekly(seen)
    level = (counts.sum() + 1) / (seen.sum() + 1 / LEVEL_PRIOR)
    by_day = counts.reshape(1, 7, 24).sum(axis=1), seen.reshape(1, 7, 24).sum(axis=1)
    day = shrunk(*by_day, np.full(24, level))[0]
    week = shrunk(smooth(counts), smooth(seen), np.tile(day, 7))[0]
    return week / week.mean()


def rates(counts: np.ndarray, seen: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stories an hour of the week, (groups, WEEK), and the stories that the level rests on, (groups,)."""
    ages = np.arange(WEEKS * 7)[::-1].repeat(24)
    recent = DAY_KEPT**ages
    found = (counts * recent).sum(axis=1) + LEVEL_COUNTS
    exposure = (seen * recent * np.tile(shape, WEEKS)).sum(axis=1) + LEVEL_COUNTS / LEVEL_PRIOR
    level = found / exposure
    own = shrunk(smooth(weekly(counts)), smooth(weekly(seen)), level[:, None] * shape)
    # The shape is learned over weeks, the level over days: bring the shape to the level.
    own *= level[:, None] / (own / shape).mean(axis=1, keepdims=True)
    return own, found


def weekly(hours: np.ndarray) -> np.ndarray:
    """Weighted sums over the weeks, (groups, WEEK)."""
    weights = WEEK_KEPT ** np.arange(WEEKS)[::-1]
    return np.einsum("gwh,w->gh", hours.reshape(len(hours), WEEKS, WEEK), weights)


def smooth(hours: np.ndarray) -> np.ndarray:
    """Each hour of the week with its neighbours, around the end of the week, too."""
    before, here, after = SMOOTHING
    return before * np.roll(hours, 1, axis=1) + here * hours + after * np.roll(hours, -1, axis=1)


def shrunk(counts: np.ndarray, exposure: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Gamma posterior means of rates whose prior mean is `prior` and whose prior is worth SHAPE_COUNTS stories."""
    return (counts + SHAPE_COUNTS) / (exposure + SHAPE_COUNTS / prior)


def over_dispersion(counts: np.ndarray, seen: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """1 / size of each group by the method of moments, variance = mean + mean^2 / size, with the prior; (groups,)."""
    expected = np.tile(rate, WEEKS) * seen
    excess = ((counts - expected) ** 2 - expected).sum(axis=1)
    return np.maximum(
        (excess + NOISE_WEIGHT * NOISE_PRIOR) / ((expected**2).sum(axis=1) + NOISE_WEIGHT), NOISE_PRIOR / 10
    )


def surprise(count: np.ndarray, expected: np.ndarray, size: np.ndarray) -> np.ndarray:
    """-log10 of the probability of at least `count` stories where `expected` are; 0 for no stories."""
    with np.errstate(divide="ignore", invalid="ignore"):
        tail = np.where(count > 0, betainc(np.maximum(count, 1), size, expected / (expected + size)), 1.0)
        return np.minimum(-np.log10(tail), MOST_SURPRISE) + 0.0


def silence(expected: np.ndarray, size: np.ndarray) -> np.ndarray:
    """-log10 of the probability of no story at all where `expected` are."""
    return size * np.log10(1 + expected / size)


def band(expected: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 5th and the 95th percentile of the counts where `expected` are."""
    chance = size / (size + expected)
    return percentile(0.05, size, chance), percentile(0.95, size, chance)


def percentile(share: float, size: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The smallest count at which the distribution function reaches `share`, as `scipy.stats.nbinom.ppf` gives it."""
    return np.maximum(np.ceil(np.nan_to_num(nbdtrik(share, size, chance)) - 1e-9), 0)
