"""One learned blend of the channels: how much each feature counts, by how long the history is.

The score is a sum of weight * log(1 + feature / scale) with weights that are not negative, each weight going from one
value for a short history to another for a long one. `fit_blend` learns them from held-out next items: a softmax over
the candidates (conditional logit, McFadden 1974), L-BFGS-B.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from domains.commerce.recommender.features import FEATURES


@dataclass(frozen=True)
class Blend:
    """`scales` (features,), `short` and `long` (features,): the weights for a history of no items and of many."""

    scales: np.ndarray
    short: np.ndarray
    long: np.ndarray

    def contributions(self, features: np.ndarray, history: int) -> np.ndarray:
        """float32 (candidates, features): what each feature adds to the score."""
        return np.log1p(features / self.scales) * self.weights(history)

    def weights(self, history: int) -> np.ndarray:
        share = history / (history + HALF_WAY)
        return (1 - share) * self.short + share * self.long

    def as_json(self) -> dict[str, Any]:
        return {
            name: [float(f"{value:.6g}") for value in values]
            for name, *values in zip(FEATURES, self.scales, self.short, self.long, strict=True)
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Blend:
        """The blend that `as_json` wrote; the prior where it is empty or was learned for other features."""
        if stored.keys() != set(FEATURES):
            return PRIOR
        scales, short, long = np.array([stored[name] for name in FEATURES], np.float32).T
        return cls(scales, short, long)


HALF_WAY = 5.0  # the history length at which a weight is half way from short to long
PRIOR = Blend(
    np.array([0.01] * 9 + [0.2] * 3 + [1.0], np.float32),
    np.array([0.3] * 9 + [1.0] * 3 + [0.3], np.float32),
    np.array([0.3] * 9 + [1.0] * 3 + [0.1], np.float32),
)
