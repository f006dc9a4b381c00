"""One list out of two: weighted reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009).

Ranks, not scores, are added, because a BM25 score and a cosine have no common scale. One leg alone is allowed to win:
its weight is then 1 and the other's 0, and the other is not even asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from suite.index.engine import Candidate, Legs

RANK_OFFSET = 60  # of the paper: how much a first place is worth over a second


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each leg counts; 0 leaves it out."""

    text: float = 1.0
    vector: float = 1.0


def fuse(legs: Legs, weights: Weights, k: int) -> list[Candidate]:
    """The best `k` of both legs, best first; equal scores are ordered by key, so that an answer can be repeated."""
    scores: dict[str, float] = {}
    for weight, leg in ((weights.text, legs.text), (weights.vector, legs.vector)):
        if weight > 0:
            for rank, (key, _) in enumerate(leg, start=1):
                scores[key] = scores.get(key, 0.0) + weight / (RANK_OFFSET + rank)
    bm25, similarity = dict(legs.text), dict(legs.vector)
    best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
    return [Candidate(key, bm25.get(key), similarity.get(key), score) for key, score in best]


def tune(judged: Sequence[tuple[Legs, Mapping[str, float]]], k: int = 10, steps: int = 10) -> Weights:
    """The weights with the best mean reciprocal rank over held-out queries, each with the gains of its right keys.

    Both ends of the grid are one leg alone. Of equal weights the most even ones win.
    """
    grid = [Weights(text=step / steps, vector=1 - step / steps) for step in range(steps + 1)]

    def quality(weights: Weights) -> tuple[float, float]:
        ranks = []
        for legs, gains in judged:
            keys = [candidate.key for candidate in fuse(legs, weights, k)]
            ranks.append(next((1 / rank for rank, key in enumerate(keys, start=1) if gains.get(key, 0) > 0), 0.0))
        return sum(ranks), -abs(weights.text - weights.vector)

    return max(grid, key=quality)
