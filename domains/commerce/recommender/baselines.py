"""The simple rivals that every evaluation prints beside the recommender, fed with the same log.

A baseline is a function from a history (item codes, oldest first) to a score for every item, float (n,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sparse

from domains.commerce.recommender.log import InteractionLog
from domains.commerce.recommender.statistics import StatisticsSettings, ease_weights, following

Scores = Callable[[np.ndarray], np.ndarray]
LARGEST = 8_000  # items for which EASE's dense solve is done
RIDGE = 500.0
FADE = 0.9
NEWEST = 50  # items that fading baselines look at


def fit_baselines(log: InteractionLog) -> dict[str, Scores]:
    """Every baseline by name, fitted on a log without its targets. EASE is left out above `LARGEST` items."""
    sets = all_sets(log)
    together = (sets.T @ sets).tocsr()
    counts = np.maximum(together.diagonal(), 1.0)
    together.setdiag(0.0)
    popularity = np.bincount(log.items, minlength=len(log.item_keys)).astype(float)
    norm = sparse.diags_array(1.0 / np.sqrt(counts))
    cosine = (norm @ together @ norm).tocsr()
    found: dict[str, Scores] = {
        "popularity": lambda history: popularity,
        "cooccurrence": lambda history: faded(together, history),
        "itemknn": lambda history: summed(cosine, np.unique(history)),
        "markov": lambda history: faded(transitions, history),
    }
    transitions = markov(log)
    if sets.shape[1] <= LARGEST:
        weights = ease_weights(sets, RIDGE)
        found["ease"] = lambda history: weights[np.unique(history)].sum(axis=0)
        found["ease_last_10"] = lambda history: weights[np.unique(history[-10:])].sum(axis=0)
    return found


def all_sets(log: InteractionLog) -> Any:
    """Sparse 0/1 (users, items)."""
    shape = (len(log.user_keys), len(log.item_keys))
    sets = sparse.csr_array((np.ones(len(log), np.float32), (log.users, log.items)), shape=shape)
    sets.data[:] = 1.0
    return sets


def markov(log: InteractionLog) -> Any:
    """Sparse (n, n) probabilities of what comes within ten steps, nearer steps counting more."""
    settings = StatisticsSettings(window=10, step_decay=FADE, gap_days=np.inf)
    counts = following(log, np.zeros(len(log)), settings)
    return (sparse.diags_array(1.0 / (np.asarray(counts.sum(axis=1)).ravel() + settings.prior_count)) @ counts).tocsr()


def summed(weights: Any, history: np.ndarray) -> np.ndarray:
    return np.asarray(weights[history].sum(axis=0)).ravel()


def faded(weights: Any, history: np.ndarray) -> np.ndarray:
    """The rows of the newest items, each step back counting less."""
    newest = history[::-1][:NEWEST]
    return np.asarray((FADE ** np.arange(len(newest))) @ weights[newest]).ravel()
