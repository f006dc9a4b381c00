"""What is measured of predictions, for releases and for `manage.py evaluate` alike: intervals, confusion, reliability.

Intervals are percentiles of a bootstrap over the cases (Efron and Tibshirani, An Introduction to the Bootstrap, 1993);
rivals are measured on the same draws, so the interval of a lead is a paired one. No torch in here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from suite.encoder.heads import Head
from suite.encoder.metrics import confusion, ece, reliability

RESAMPLES = 400
INTERVAL = (2.5, 97.5)  # percentiles
SEED = 0
RELEASE = "release"  # the one that is measured, among its rivals
SMALLER_IS_BETTER = {"ece"}

Metric = Callable[[np.ndarray, np.ndarray], float]  # probabilities (n, k), class indices (n,)
Table = dict[str, dict[str, float]]  # {who: {metric: value}}
Measure = Callable[[np.ndarray], Table]  # on the cases of these rows, of which some may come more than once


def of_predictions(predictions: Mapping[str, np.ndarray], labels: np.ndarray, metrics: Mapping[str, Metric]) -> Measure:
    """Of {who: probabilities (n, k)} of the true classes (n,)."""
    return lambda rows: {
        who: {name: metric(given[rows], labels[rows]) for name, metric in metrics.items()}
        for who, given in predictions.items()
    }


def of_cases(values: Mapping[str, Mapping[str, np.ndarray]]) -> Measure:
    """Of {who: {metric: one value a case, (n,)}}, whose mean is the metric; NaN where a case has no part in it."""
    return lambda rows: {who: {name: mean(one[rows]) for name, one in given.items()} for who, given in values.items()}


def mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def intervals(measure: Measure, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """({who: {metric: [low, high]}}, {rival: {metric: [low, high] of the release's lead}}) over `count` cases, at 95%.

    A lead is positive where the release is better, whichever way the metric goes.
    """
    dice = np.random.default_rng(SEED)
    drawn = [measure(dice.integers(0, count, count)) for _ in range(RESAMPLES)]
    own, leads = {}, {}
    for who, metrics in drawn[0].items():
        values = {name: np.array([one[who][name] for one in drawn]) for name in metrics}
        own[who] = {name: ends(found) for name, found in values.items()}
        if who != RELEASE:
            leads[who] = {
                name: ends(lead_over(name, np.array([one[RELEASE][name] for one in drawn]), found))
                for name, found in values.items()
                if name in drawn[0][RELEASE]
            }
    return own, leads


def lead_over(metric: str, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return theirs - ours if metric in SMALLER_IS_BETTER else ours - theirs


def ends(values: np.ndarray) -> list[float]:
    known = values[np.isfinite(values)]
    return [round(float(end), 5) for end in np.percentile(known if len(known) else [0.0], INTERVAL)]


def plain(value: float) -> float | None:
    """As JSON can have it: none where it is not defined."""
    return round(float(value), 5) if np.isfinite(value) else None


def of_head(head: Head, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """{"labels", "confusion" (true class by predicted one), "reliability" and "ece", each before and after temperature
    scaling} of calibrated probabilities (n, k) and true classes (n,). Plain data."""
    stages = {"before": head.before_scaling(probabilities), "after": probabilities}
    return {
        "labels": list(head.spec.labels),
        "confusion": confusion(probabilities, labels).tolist(),
        "temperature": head.temperature,
        "spread": head.spread,
        "reliability": {stage: reliability(given, labels).round(4).tolist() for stage, given in stages.items()},
        "ece": {stage: round(ece(given, labels), 5) for stage, given in stages.items()},
    }
