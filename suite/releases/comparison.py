"""Is a release better or worse than another, beyond noise? Paired bootstrap on held-out examples. No torch in here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from suite.encoder.heads import Head, class_indices, features_of, halves
from suite.encoder.metrics import METRICS
from suite.releases.building import HeadPlan
from suite.releases.training_data import CONTRASTIVE, NEXT_ITEM, TaskExamples

RESAMPLES = 400
INTERVAL = (2.5, 97.5)  # percentiles
MOST = 2_000  # examples of a head or task
SEED = 0


class Model(Protocol):
    """The encoder of a release."""

    heads: dict[str, Head]

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...


def compare(
    candidate: Model, active: Model, plans: Iterable[HeadPlan], tasks: Iterable[TaskExamples]
) -> dict[str, dict[str, Any]]:
    """{head or task: {"metric", "examples", "candidate", "active", "low", "high"}}, low and high being the ends of the
    95% interval of the candidate's lead. Heads that one of the two lacks, or has with other classes, are left out."""
    found = {}
    for plan in plans:
        if comparable(candidate, active, plan):
            found[plan.spec.name] = of_heads(candidate, active, plan)
    for task in tasks:
        if task.kind in {CONTRASTIVE, NEXT_ITEM} and task.validation:
            found[f"{task.name} {task.kind}"] = of_ranks(candidate, active, task)
    return found


def comparable(candidate: Model, active: Model, plan: HeadPlan) -> bool:
    ours, theirs = candidate.heads.get(plan.spec.name), active.heads.get(plan.spec.name)
    return ours is not None and theirs is not None and ours.spec.labels == theirs.spec.labels


def of_heads(candidate: Model, active: Model, plan: HeadPlan) -> dict[str, Any]:
    """On the validation examples that `fit_head` sets apart for measuring."""
    _, measured = halves([inputs for inputs, _ in plan.examples.validation])
    examples = [plan.examples.validation[place] for place in measured[:MOST]]
    spec = candidate.heads[plan.spec.name].spec
    labels = class_indices(spec, examples, "validation")
    inputs = [one for one, _ in examples]
    ours, theirs = (
        model.heads[spec.name].probabilities(features_of(model, spec.kind, inputs)) for model in (candidate, active)
    )
    metric = METRICS[spec.primary_metric]
    sign = -1.0 if spec.primary_metric == "ece" else 1.0  # of an error less is better
    leads = [
        sign * (metric(ours[rows], labels[rows]) - metric(theirs[rows], labels[rows])) for rows in draws(len(labels))
    ]
    return entry(spec.primary_metric, len(labels), metric(ours, labels), metric(theirs, labels), leads)


def of_ranks(candidate: Model, active: Model, task: TaskExamples) -> dict[str, Any]:
    examples = list(task.validation)[:MOST]
    ours, theirs = (reciprocal_ranks(model, task.kind, examples) for model in (candidate, active))
    leads = [float((ours[rows] - theirs[rows]).mean()) for rows in draws(len(ours))]
    return entry("mrr", len(ours), float(ours.mean()), float(theirs.mean()), leads)


def reciprocal_ranks(model: Model, kind: str, examples: Sequence[Any]) -> np.ndarray:
    """1/rank of what is right for each example, among what is right for any of them; (n,)."""
    if kind == CONTRASTIVE:
        asked, right = [anchor for anchor, _, _ in examples], [positive for _, positive, _ in examples]
    else:
        asked, right = [history[0] for history, _ in examples], [target for _, target in examples]
    candidates = list(dict.fromkeys(right))
    place = {text: row for row, text in enumerate(candidates)}
    similarities = model.embed(asked) @ model.embed(candidates).T  # (n, c)
    own = similarities[np.arange(len(asked)), [place[text] for text in right]]
    return 1 / (similarities >= own[:, None] - 1e-6).sum(axis=1)


def draws(count: int) -> Iterable[np.ndarray]:
    dice = np.random.default_rng(SEED)
    return [dice.integers(0, count, count) for _ in range(RESAMPLES)]


def entry(metric: str, examples: int, ours: float, theirs: float, leads: Sequence[float]) -> dict[str, Any]:
    known = [lead for lead in leads if np.isfinite(lead)] or [0.0]
    low, high = np.percentile(known, INTERVAL)
    numbers = {"candidate": ours, "active": theirs, "low": float(low), "high": float(high)}
    return {"metric": metric, "examples": examples} | {name: round(value, 5) for name, value in numbers.items()}
