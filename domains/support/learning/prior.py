"""What a release's ranker begins with: the prior's weights on features that are standardised and calibrated with the
release's own vectors, on the sample's questions.

The past is played, too: of the other questions a random part counts as decided, the right answer taken and what was
shown beside it passed over, so that those features have their scale from the start.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from domains.support.documents import is_sought
from domains.support.sample.files import sample_answers
from domains.support.suggesting.features import ANSWER, NO_PAST, Name, Past, features_of
from domains.support.suggesting.ranker import RelevanceHead, Weights, prior, relevance_of
from domains.support.suggesting.retrieve import MemoryPools
from domains.support.training_data import document_text, ranker_questions
from suite.encoder.metrics import area_under_curve
from suite.index.engine import Document

SEED = 3
DECIDED_SHARE = 0.3  # of the other questions
SHOWN = 5  # candidates that an agent sees
PLATT_STRENGTH = 1e-3


class Embedder(Protocol):
    """A release's encoder; see `suite.encoder.model.Encoder`."""

    @property
    def heads(self) -> Mapping[str, Any]: ...

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Case:
    """The candidates of one question: features (n, f), and which are right, bool (n,)."""

    features: np.ndarray
    labels: np.ndarray


def relevance_head(encoder: Embedder) -> RelevanceHead | None:
    """The release's head with its temperature folded in; None where it was trained without."""
    head = encoder.heads.get("relevance")
    if head is None:
        return None
    weight = (head.weight[1] - head.weight[0]) / head.temperature
    return RelevanceHead(weight.astype(np.float32), float(head.bias[1] - head.bias[0]) / head.temperature)


def build_weights(encoder: Embedder) -> tuple[Weights, dict[str, float]]:
    """The ranker that a release begins with, and what the sample says of it."""
    return calibrated(sample_cases(encoder))


def sample_cases(encoder: Embedder) -> list[Case]:
    """Every question of the sample twice: when nothing was decided yet, and after some was."""
    records = [one for one in sample_answers() if is_sought(one["answer_id"])]
    questions = ranker_questions()
    texts = [document_text(one) for one in records]
    vectors = encoder.embed([*texts, *(one["text"] for one in questions)])
    documents = [
        Document(one["answer_id"], one["title"], one["text"], vector=vector)
        for one, vector in zip(records, vectors[: len(texts)], strict=True)
    ]
    asked = vectors[len(texts) :]
    head = relevance_head(encoder)
    cases = []
    dice = random.Random(SEED)
    with MemoryPools(documents) as pools:
        found = [pools.find(one["text"], vector).candidates for one, vector in zip(questions, asked, strict=True)]
    similar = asked @ asked.T
    for row, (question, candidates) in enumerate(zip(questions, found, strict=True)):
        relevance = relevance_of(head, asked[row], candidates)
        labels = np.array([candidate.key in question["answer_ids"] for candidate in candidates])
        decided = [other for other in range(len(questions)) if other != row and dice.random() < DECIDED_SHARE]
        shown = {other: [candidate.key for candidate in found[other][:SHOWN]] for other in decided}
        past = played_past(similar[row], {other: (questions[other]["answer_ids"], shown[other]) for other in decided})
        for known in (NO_PAST, past):
            cases.append(Case(features_of(question["text"], asked[row], candidates, relevance, known), labels))
    return cases


def played_past(similar: np.ndarray, decided: Mapping[int, tuple[Sequence[str], Sequence[str]]]) -> Past:
    """From {question: (right answers, shown answers)}; a right one that was not shown was found by hand."""
    accepted: dict[Name, float] = defaultdict(float)
    rejected: dict[Name, float] = defaultdict(float)
    for other, (right, shown) in decided.items():
        for key in {*right, *shown}:
            near = accepted if key in right else rejected
            near[ANSWER, key] = max(near[ANSWER, key], float(similar[other]))
    return Past(accepted, rejected)


def calibrated(cases: Sequence[Case]) -> tuple[Weights, dict[str, float]]:
    """The prior's weights, stretched so that the first candidate's confidence is how often it is right, and the least
    confidence that is offered."""
    weights = prior(np.vstack([case.features for case in cases]))
    odds = [weights.log_odds(case.features) for case in cases]
    tops = np.array([each.max() for each in odds])
    right = np.array([bool(case.labels[each.argmax()]) for case, each in zip(cases, odds, strict=True)])
    slope, shift = platt(tops, right)
    confidence = expit(slope * tops + shift)
    threshold = best_threshold(confidence, right)
    has_answer = np.array([bool(case.labels.any()) for case in cases])
    metrics = {
        "p@1": float(right[has_answer].mean()),
        "auroc": auroc(confidence, has_answer),
        "threshold": threshold,
        "questions": float(len(cases)),
    }
    weights = replace(weights, weight=weights.weight * slope, bias=shift, threshold=threshold)
    return weights, metrics


def platt(odds: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """(slope, shift) that make sigmoid(slope * odds + shift) the probability of being right (Platt, 1999)."""

    def loss(values: np.ndarray) -> float:
        z = values[0] * odds + values[1]
        return float(np.sum(np.logaddexp(0, z) - right * z)) + PLATT_STRENGTH * float(values @ values)

    slope, shift = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(0.05, 20.0), (None, None)]).x
    return float(slope), float(shift)


def best_threshold(confidence: np.ndarray, right: np.ndarray) -> float:
    """The least confidence that is offered: most right ones shown and wrong ones held back, each counting as a share
    of its kind (Youden's index); one that is held back costs as much as two wrong ones that an agent passes over."""
    if right.all() or not right.any():
        return 0.5
    grid = np.linspace(0.05, 0.95, 91)
    gain = [2 * (confidence[right] >= t).mean() + (confidence[~right] < t).mean() for t in grid]
    return float(grid[int(np.argmax(gain))])


def auroc(scores: np.ndarray, right: np.ndarray) -> float:
    """The probability that a right one is scored above a wrong one; 0.5 where there is only one kind."""
    if right.all() or not right.any():
        return 0.5
    return area_under_curve(scores, right)
