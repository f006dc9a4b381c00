"""How good is a release on held-out examples, beside others and simple rivals, and is it better or worse beyond noise?

Every head is measured on the validation examples that `fit_head` sets apart for it, every other task on all of its own.
No torch in here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from suite.encoder.heads import Head, HeadSpec, class_indices, features_of, halves, spread
from suite.encoder.metrics import METRICS
from suite.releases import baselines, measures
from suite.releases.heads import Examples
from suite.releases.measures import RELEASE
from suite.releases.models import Release
from suite.releases.training_data import CONTRASTIVE, NEXT_ITEM, TaskExamples

MOST = 2_000  # examples of a head or task
NEWEST = 10  # items of a history
TIE = 1e-6  # similarities this close are one, and a tie counts against the release
ACTIVE = "active"

Checks = Iterable[tuple[HeadSpec, Examples]]  # heads with what they were fitted on and are measured on
Evaluation = dict[str, dict[str, Any]]


class Model(Protocol):
    """The encoder of a release."""

    heads: dict[str, Head]

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...


def evaluate(model: Model, checks: Checks, tasks: Iterable[TaskExamples], others: Mapping[str, Model]) -> Evaluation:
    """{head or task: {"metric", "examples", "value", "interval", "rivals": {name: {"value", "interval", "lead"}}}}; of
    heads what `measures.of_head` says, too. Intervals are of 95%, `lead` is that of the release over the rival.

    The rivals are `others`, where they have the head with the same classes, and the baselines. Plain data.
    """
    found = {
        spec.name: of_head(model.heads[spec.name], model, others, examples)
        for spec, examples in checks
        if spec.name in model.heads
    }
    for task in tasks:
        if task.kind in {CONTRASTIVE, NEXT_ITEM} and task.validation:
            found[f"{task.name} {task.kind}"] = of_ranks(model, others, task)
    return found


def against_active(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """{head or task: {"metric", "examples", "candidate", "active", "low", "high"}} of those that the active release was
    measured in, too; low and high end the interval of the candidate's lead. What decides whether it may serve."""
    return {
        name: {
            "metric": entry["metric"],
            "examples": entry["examples"],
            "candidate": entry["value"],
            "active": entry["rivals"][ACTIVE]["value"],
            "low": entry["rivals"][ACTIVE]["lead"][0],
            "high": entry["rivals"][ACTIVE]["lead"][1],
        }
        for name, entry in evaluation.items()
        if ACTIVE in entry["rivals"]
    }


def note(release: Release, evaluation: Evaluation) -> None:
    """Keep it on the release, whose `compared_with` names the active one that it was measured beside."""
    release.evaluation, release.comparison = evaluation, against_active(evaluation)
    release.save(update_fields=["evaluation", "comparison", "compared_with"])


def of_head(head: Head, model: Model, others: Mapping[str, Model], examples: Examples) -> dict[str, Any]:
    _, measured = halves([inputs for inputs, _ in examples.validation])
    held_out = [examples.validation[place] for place in spread(measured.tolist(), MOST)]
    labels = class_indices(head.spec, held_out, "validation")
    inputs = [one for one, _ in held_out]
    able = {RELEASE: model} | {name: other for name, other in others.items() if has_same(other, head)}
    heads = {name: one.heads[head.spec.name] for name, one in able.items()}
    predictions = {
        name: heads[name].probabilities(features_of(one, heads[name].spec, inputs)) for name, one in able.items()
    }
    own = predictions[RELEASE]
    predictions |= baselines.of_head(head.spec, examples, inputs)
    metric = head.spec.primary_metric
    measure = measures.of_predictions(predictions, labels, {metric: METRICS[metric]})
    return entry(metric, measure, len(labels)) | measures.of_head(head, own, labels)


def has_same(model: Model, head: Head) -> bool:
    theirs = model.heads.get(head.spec.name)
    return theirs is not None and theirs.spec.labels == head.spec.labels


def of_ranks(model: Model, others: Mapping[str, Model], task: TaskExamples) -> dict[str, Any]:
    """By mean reciprocal rank of the best that is right for each example, among what is right for any of them or was
    for training examples: these stand beside it in use, too, and a release that finds them everywhere is worse."""
    examples = spread(task.validation, MOST)
    asked, right = [one[0] for one in examples], [one[1] for one in examples]
    learned = task.train[:: max(1, -(-len(task.train) // MOST))]
    candidates = list(dict.fromkeys([*right, *(one[1] for one in learned)]))
    scores = {name: similarities(one, asked, candidates) for name, one in ({RELEASE: model} | dict(others)).items()}
    scores |= baselines.of_task(task, asked, candidates)
    place = {text: column for column, text in enumerate(candidates)}
    about = asked if task.kind == CONTRASTIVE else range(len(asked))  # a question may have several answers
    known: dict[Any, list[int]] = defaultdict(list)
    for key, text in zip(about, right, strict=True):
        known[key].append(place[text])
    is_right = np.zeros((len(examples), len(candidates)), dtype=bool)
    for row, key in enumerate(about):
        is_right[row, known[key]] = True
    measure = measures.of_cases({name: {"mrr": reciprocal_ranks(given, is_right)} for name, given in scores.items()})
    return entry("mrr", measure, len(examples))


def similarities(model: Model, asked: Sequence[str | Sequence[str]], candidates: Sequence[str]) -> np.ndarray:
    """(n, c) cosines of the candidates with texts, or with histories, newest first, the n-th newest weighing 1/n."""
    histories = [(one,) if isinstance(one, str) else tuple(one[:NEWEST]) for one in asked]
    texts = list(dict.fromkeys(text for history in histories for text in history))
    place = {text: row for row, text in enumerate(texts)}
    vectors = model.embed(texts)
    weights = 1 / np.arange(1, NEWEST + 1, dtype=np.float32)
    summed = np.stack([weights[: len(one)] @ vectors[[place[text] for text in one]] for one in histories])
    return summed / np.linalg.norm(summed, axis=1, keepdims=True) @ model.embed(candidates).T


def reciprocal_ranks(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """1/rank of the best right column of each row, a tie counting against it: (n, c), bool (n, c) -> (n,)."""
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    return 1 / (1 + (~right & (scores >= best - TIE)).sum(axis=1))


def entry(metric: str, measure: measures.Measure, count: int) -> dict[str, Any]:
    values = measure(np.arange(count))
    own, leads = measures.intervals(measure, count)
    rivals = {
        name: {"value": measures.plain(values[name][metric]), "interval": own[name][metric], "lead": lead[metric]}
        for name, lead in leads.items()
    }
    value = measures.plain(values[RELEASE][metric])
    return {"metric": metric, "examples": count, "value": value, "interval": own[RELEASE][metric], "rivals": rivals}
