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
    together = Together(sets)
    popularity = np.bincount(log.items, minlength=len(log.item_keys)).astype(float)
    norm = 1.0 / np.sqrt(together.counts)
    transitions = markov(log)
    found: dict[str, Scores] = {
        "popularity": lambda history: popularity,
        "cooccurrence": lambda history: together.of(history[::-1][:NEWEST], fading(history)),
        "itemknn": lambda history: norm * together.of(once := np.unique(history), norm[once]),
        "markov": lambda history: fading(history) @ transitions[history[::-1][:NEWEST]],
    }
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


class Together:
    """How often two items are with one user, other than with themselves. The table of all pairs, which is large where
    users have hundreds of items, is never made."""

    def __init__(self, sets: Any) -> None:
        self.sets, self.users = sets, sets.T.tocsr()  # (users, items) and (items, users)
        self.counts = np.maximum(self.users.sum(axis=1), 1.0)  # (n,) users of each item

    def of(self, items: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The sum of the rows of these items, (n,), by their weights."""
        found = (weights @ self.users[items]) @ self.sets
        np.subtract.at(found, items, weights * self.counts[items])
        return found


def fading(history: np.ndarray) -> np.ndarray:
    """Weights of the newest items, newest first, each step back counting less."""
    return FADE ** np.arange(min(len(history), NEWEST))
