"""Which texts are worth labelling: those that the head is least sure of, no two of them alike. Pure numpy."""

from __future__ import annotations

import numpy as np

COPY = 0.02  # cosine distance below which a text adds nothing to one that is chosen


def uncertainties(probabilities: np.ndarray) -> np.ndarray:
    """(n, k) -> (n,): 1 less the lead of the likeliest class over the second.

    After Joshi, Porikli & Papanikolopoulos, Multi-class active learning for image classification, 2009.
    """
    second, best = np.sort(probabilities, axis=1)[:, -2:].T
    return 1 - (best - second)


def choose(uncertainty: np.ndarray, vectors: np.ndarray, known: np.ndarray, count: int) -> list[int]:
    """Positions of up to `count` texts, the one most worth it first: uncertainty (n,) times the cosine distance to the
    nearest text that is chosen already or `known` (m, d), of unit vectors (n, d).

    Greedy k-centre, after Sener & Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach,
    2018, weighted by uncertainty.
    """
    distance = np.ones(len(vectors), dtype=np.float32)
    for vector in known:
        distance = np.minimum(distance, 1 - vectors @ vector)
    chosen: list[int] = []
    for _ in range(min(count, len(vectors))):
        worth = np.where(distance < COPY, -1, uncertainty * distance)
        best = int(worth.argmax())
        if worth[best] < 0:
            break  # only copies are left
        chosen.append(best)
        distance = np.minimum(distance, 1 - vectors @ vectors[best])
    return chosen
