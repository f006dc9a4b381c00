"""Learning while the desk works: after some more decisions the ranker is fitted anew, and serves where a replay of
decisions that it was not fitted on says that it is no worse.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from django.db import transaction
from django.utils import timezone

from domains.support.learning.examples import DecidedRun, decided_runs
from domains.support.models import Feedback, Ranker
from domains.support.selectors import serving_ranker
from domains.support.suggesting.ranker import Weights, fit

log = logging.getLogger(__name__)
EVERY = 20  # feedback events between two fits
LEAST_RUNS = 12  # decided questions before anything is fitted
HELD_BACK = 0.3  # newest share of the decided questions that the gate replays


def learn() -> Ranker | None:
    """Fit the ranker that serves anew where there is enough news; returns the one that serves then, None where nothing
    was tried."""
    active = serving_ranker()
    if active is None:
        return None
    seen = Feedback.objects.filter(release=active.fingerprint).count()
    if seen - int(active.metrics.get("tried_on", 0)) < EVERY:
        return None
    runs = decided_runs(active.fingerprint)
    if len(runs) < LEAST_RUNS:
        return None
    return learn_from(active, runs, seen)


def learn_from(active: Ranker, runs: Sequence[DecidedRun], seen: int) -> Ranker:
    """The new ranker, or the active one with the gate's figures where the gate says no."""
    first = Ranker.objects.filter(fingerprint=active.fingerprint).order_by("id").first() or active
    start, before = Weights.from_json(first.weights), Weights.from_json(active.weights)
    held = max(int(len(runs) * HELD_BACK), 1)
    candidate = fitted(start, runs[:-held])
    figures: dict[str, Any] = {
        "tried_on": seen,
        "tried_at": timezone.now().isoformat(),
        "held_back": held,
        "before": replay(before, runs[-held:]),
        "after": replay(candidate, runs[-held:]),
    }
    is_passed = is_no_worse(figures["before"], figures["after"])
    figures["passed"] = is_passed
    log.info("ranker of %s on %s decisions: %s", active.fingerprint[:8], seen, figures)
    with transaction.atomic():
        if not is_passed:
            active.metrics = active.metrics | figures
            active.save(update_fields=["metrics"])
            return active
        Ranker.objects.filter(fingerprint=active.fingerprint, is_active=True).update(is_active=False)
        return Ranker.objects.create(
            fingerprint=active.fingerprint,
            head=bytes(active.head),
            weights=fitted(start, runs).as_json(),
            metrics=figures,
            trained_on=seen,
        )


def fitted(start: Weights, runs: Sequence[DecidedRun]) -> Weights:
    features = np.vstack([run.features for run in runs])
    return fit(
        start, features, np.concatenate([run.taken for run in runs]), np.concatenate([run.counts for run in runs])
    )


def replay(weights: Weights, runs: Sequence[DecidedRun]) -> dict[str, float]:
    """Weighted log loss, and the mean reciprocal rank, among what was shown, of what was taken."""
    losses, counts, ranks = 0.0, 0.0, []
    for run in runs:
        z = weights.log_odds(run.features)
        losses += float(run.counts @ (np.logaddexp(0, z) - run.taken * z))
        counts += float(run.counts.sum())
        if run.taken.any():
            order = np.argsort(-z, kind="stable")
            ranks.append(1 / (1 + int(np.flatnonzero(run.taken[order])[0])))
    return {
        "log_loss": round(losses / max(counts, 1e-9), 5),
        "mrr": round(float(np.mean(ranks)), 5) if ranks else 0.0,
        "questions": float(len(runs)),
    }


def is_no_worse(before: dict[str, float], after: dict[str, float]) -> bool:
    return after["mrr"] >= before["mrr"] and after["log_loss"] <= before["log_loss"]
