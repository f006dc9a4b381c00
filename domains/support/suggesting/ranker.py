"""The ranker: from features to the probability that an agent takes a candidate.

It belongs to a release: its relevance head is the release's, and its weights were fitted with the release's vectors. It
is a logistic regression on standardised features, so it can be read, learned from few decisions, and never forgets what
it began with: learning pulls its weights away from the prior only as far as the decisions bear it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from domains.support.suggesting.features import FEATURES, Candidate, Past, features_of

# Of standardised features: what every ranker begins with. `relevance` to `coverage` rank validation questions of
# StackFAQ and Amazon QA well by a frozen and by a trained body, see docs/training.md; the others are set by hand.
PRIOR = {
    "relevance": 0.4,
    "cosine": 1.1,
    "behind": 0.75,
    "lexical": 0.25,
    "coverage": 0.3,
    "title": 0.2,
    "language": 0.4,
    "accepted_near": 0.25,
    "rejected_near": -0.2,
}
ACCEPTANCE = 0.25  # of the feature as it is: no sample says how it spreads
STRENGTH = 1.0  # of the pull back to the weights before
SIGNS = {"reply": (None, None), "rejected_near": (None, 0.0)}  # bounds of a weight; of any other: never below 0


@dataclass(frozen=True, slots=True)
class RelevanceHead:
    """A release's pair head on two unit vectors: log odds = weight . [u*v, |u-v|, u.v] + bias, as
    `suite.encoder.heads` has it, its temperature folded in."""

    weight: np.ndarray  # float32 (2d + 1,)
    bias: float

    def log_odds(self, question: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(n,) of a question (d,) with each of n texts (n, d)."""
        product = others * question
        features = np.hstack([product, np.abs(others - question), product.sum(axis=1, keepdims=True)])
        return features @ self.weight + self.bias

    def pack(self) -> bytes:
        return np.append(self.weight, self.bias).astype(np.float32).tobytes()

    @classmethod
    def unpack(cls, stored: bytes | memoryview) -> RelevanceHead | None:
        values = np.frombuffer(stored, dtype=np.float32)
        return cls(values[:-1], float(values[-1])) if len(values) else None


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """confidence = sigmoid(weight . (features - mean) / scale + bias); arrays are float64 (f,)."""

    weight: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    bias: float
    threshold: float  # a best candidate below it is nothing good

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        return ((features - self.mean) / self.scale) @ self.weight + self.bias

    def confidence(self, features: np.ndarray) -> np.ndarray:
        """(n,) of features (n, f)."""
        return expit(self.log_odds(features))

    def as_json(self) -> dict[str, Any]:
        table = zip(FEATURES, self.weight, self.mean, self.scale, strict=True)
        return {
            "features": {name: [round(float(value), 6) for value in row] for name, *row in table},
            "bias": round(self.bias, 6),
            "threshold": round(self.threshold, 6),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Weights:
        """A feature that is not known there counts nothing."""
        rows = np.array([stored["features"].get(name, [0.0, 0.0, 1.0]) for name in FEATURES])
        return cls(rows[:, 0], rows[:, 1], rows[:, 2], stored["bias"], stored["threshold"])


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its confidence and the features behind it."""

    candidate: Candidate
    confidence: float
    features: dict[str, float]


def relevance_of(head: RelevanceHead | None, vector: np.ndarray | None, candidates: Sequence[Candidate]) -> np.ndarray:
    """The head's log odds, (n,); 0 where there is no head or no vector."""
    found = np.zeros(len(candidates))
    placed = {row: one.vector for row, one in enumerate(candidates) if one.vector is not None}
    if head is not None and vector is not None and placed:
        found[list(placed)] = head.log_odds(vector, np.stack(list(placed.values())))
    return found


def rank(
    weights: Weights,
    head: RelevanceHead | None,
    question: str,
    vector: np.ndarray | None,
    candidates: Sequence[Candidate],
    past: Past,
) -> list[Ranked]:
    """The candidates with their confidence, best first; equal ones in the order of their names."""
    if not candidates:
        return []
    features = features_of(question, vector, candidates, relevance_of(head, vector, candidates), past)
    confidence = weights.confidence(features)
    rows = [
        Ranked(
            candidate, float(sure), {name: round(float(value), 4) for name, value in zip(FEATURES, row, strict=True)}
        )
        for candidate, sure, row in zip(candidates, confidence, features, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row.confidence, row.candidate.name))


# Fitting ------------------------------------------------------------------------------------------------------
def prior(features: np.ndarray) -> Weights:
    """The weights of `PRIOR` for features (n, f) that spread as these do; not calibrated yet."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-9] = 1.0
    weight = np.array([PRIOR.get(name, 0.0) for name in FEATURES])
    weight[FEATURES.index("acceptance")] = ACCEPTANCE * scale[FEATURES.index("acceptance")]
    return Weights(weight, mean, scale, 0.0, 0.5)


def fit(
    start: Weights, features: np.ndarray, labels: np.ndarray, examples: np.ndarray, strength: float = STRENGTH
) -> Weights:
    """The weights that make the labels likely, each example counting by its weight (n,), and stay near the start
    (maximum a posteriori under a Gaussian prior around it). A weight keeps its sign: more of what speaks for a
    candidate never counts against it, however few the examples are."""
    x = (features - start.mean) / start.scale
    y = labels.astype(float)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = values[:-1], values[-1]
        z = x @ weight + bias
        apart = values - before
        value = float(examples @ (np.logaddexp(0, z) - y * z)) + 0.5 * strength * float(apart @ apart)
        slope = examples * (expit(z) - y)
        return value, np.append(slope @ x, slope.sum()) + strength * apart

    before = np.append(start.weight, start.bias)
    bounds = [*(SIGNS.get(name, (0.0, None)) for name in FEATURES), (None, None)]
    found = minimize(loss, before, jac=True, method="L-BFGS-B", bounds=bounds).x
    return replace(start, weight=found[:-1], bias=float(found[-1]))
