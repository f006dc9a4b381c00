"""The two stages: candidates from every channel, then one learned blend over the evidence on all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from domains.commerce.recommender.blend import Blend
from domains.commerce.recommender.features import (
    CANDIDATE_FADE,
    CHANNEL_OF,
    CHANNELS,
    Evidence,
    Neighbourhood,
    evidence,
)
from domains.commerce.recommender.sources import GraphSource, NoGraph, Seen, StatisticsSource, TextSource
from domains.commerce.recommender.statistics import COLUMNS

HISTORY = 50  # the newest distinct items that are looked at
TOGETHER, TEXT, POPULAR, GRAPH = 300, 150, 100, 150  # candidates a channel
REASONS = 3  # kept an item, and the strongest of each channel


@dataclass(frozen=True, slots=True)
class Ranked:
    """One recommended item. `shares` of the channels sum to 1; `because` names the history items behind it, strongest
    first, as (history item's key, channel, its share of the score).
    """

    key: str
    score: float
    shares: dict[str, float]
    because: list[tuple[str, str, float]]


@dataclass(frozen=True)
class Candidates:
    """The first stage's answer: the history (distinct keys, newest first), the candidates, and the evidence on them."""

    history: list[str]
    keys: list[str]
    evidence: Evidence


def newest_first(history: Sequence[Seen]) -> tuple[list[str], np.ndarray]:
    """The distinct keys of the newest interactions, newest first, and the step back of each, int (keys,)."""
    ages: dict[str, float] = {}
    for seen in reversed(history):
        ages.setdefault(seen.key, seen.age)
        if len(ages) == HISTORY:
            break
    moments = np.diff(np.array(list(ages.values())), prepend=next(iter(ages.values()), 0.0)) != 0
    return list(ages), np.cumsum(moments)


def causes(strengths: np.ndarray) -> list[tuple[int, int]]:
    """(channel, history item) of the strongest causes, strongest first; strengths is (channels, history)."""
    order = np.argsort(-strengths, axis=None, kind="stable")
    kept: list[tuple[int, int]] = []
    for channel, step in zip(*np.unravel_index(order, strengths.shape), strict=True):
        is_first = all(channel != other for other, _ in kept)
        if strengths[channel, step] > 0 and (is_first or len(kept) < REASONS):
            kept.append((int(channel), int(step)))
    return kept


def everything(keys: list[str]) -> set[str]:
    """The filter that lets all items through."""
    return set(keys)


class Recommender:
    """Ranks the items of one catalogue for one person. Holds no state of its own: sources and a blend."""

    def __init__(
        self, statistics: StatisticsSource, text: TextSource, blend: Blend, graph: GraphSource | None = None
    ) -> None:
        self.statistics = statistics
        self.text = text
        self.blend = blend
        self.graph = graph or NoGraph()

    def recommend(
        self,
        history: Sequence[Seen],
        k: int,
        *,
        exclude: Set[str] = frozenset(),
        allowed: Callable[[list[str]], set[str]] = everything,
    ) -> list[Ranked]:
        """The best k items for someone with this history (newest last), best first, ties by key.

        Nothing in `exclude` or outside `allowed` is returned. Fewer than k only where no more items are left.
        """
        found = self.candidates(history, k, exclude=exclude, allowed=allowed)
        if not found.keys:
            return []
        contributions = self.blend.contributions(found.evidence.features(), len(found.history))
        scores = contributions.sum(axis=1)
        best = np.lexsort((np.array(found.keys), -scores))[:k]
        return self._explained(found, best, contributions[best])

    def candidates(
        self,
        history: Sequence[Seen],
        k: int,
        *,
        exclude: Set[str] = frozenset(),
        allowed: Callable[[list[str]], set[str]] = everything,
    ) -> Candidates:
        """Candidates of every channel with the evidence on them."""
        recent, steps = newest_first(history)
        together = Neighbourhood.of(recent, self.statistics.neighbours(recent), len(COLUMNS))
        graph = Neighbourhood.of(recent, self.graph.related(recent), 1)
        vectors = dict(self.text.vectors(recent))
        keys = together.strongest(TOGETHER, steps)
        keys += graph.strongest(GRAPH, steps)
        keys += self._nearest(recent, steps, vectors, exclude)
        keys += [key for key, _ in self.statistics.popular(POPULAR)]
        keys = [key for key in dict.fromkeys(keys) if key not in exclude]
        permitted = allowed(keys)
        keys = [key for key in keys if key in permitted]
        if len(keys) < k:
            keys += self._more_popular(k, exclude | set(keys), allowed)
        vectors |= self.text.vectors([key for key in keys if key not in vectors])
        popularity = self.statistics.popularity(keys)
        return Candidates(recent, keys, evidence(recent, steps, keys, together, graph, vectors, popularity))

    def _nearest(
        self, recent: Sequence[str], steps: np.ndarray, vectors: Mapping[str, np.ndarray], exclude: Set[str]
    ) -> list[str]:
        """The items nearest to the recency-weighted mean of the history's vectors."""
        known = [place for place, key in enumerate(recent) if key in vectors]
        if not known:
            return []
        fades = (CANDIDATE_FADE ** steps[known]).astype(np.float32)
        profile = fades @ np.stack([vectors[recent[place]] for place in known])
        length = float(np.linalg.norm(profile))
        return [key for key, _ in self.text.nearest(profile / length, TEXT, exclude)] if length else []

    def _more_popular(self, k: int, exclude: Set[str], allowed: Callable[[list[str]], set[str]]) -> list[str]:
        """Further popular items, until k pass the filters or there are no more."""
        wanted, passed = 4 * POPULAR, []
        while True:
            popular = [key for key, _ in self.statistics.popular(wanted)]
            fresh = [key for key in popular if key not in exclude]
            permitted = allowed(fresh)
            passed = [key for key in fresh if key in permitted]
            if len(passed) >= k or len(popular) < wanted:
                return passed
            wanted *= 4

    def _explained(self, found: Candidates, best: np.ndarray, contributions: np.ndarray) -> list[Ranked]:
        """The chosen candidates with shares and reasons; contributions is (chosen, features)."""
        totals = np.maximum(contributions.sum(axis=1), 1e-12)
        by_channel = np.stack([contributions[:, c == CHANNEL_OF].sum(axis=1) for c in range(len(CHANNELS))], axis=1)
        strengths = self._strengths(found.evidence.select(best), contributions / totals[:, None])
        ranked = []
        for place, candidate in enumerate(best):
            shares = by_channel[place] / totals[place]
            if not shares.any():  # nothing speaks for it: it is there because something has to be
                shares[CHANNELS.index("popular")] = 1.0
            because = [
                (found.history[step], CHANNELS[channel], round(float(strengths[channel, step, place]), 4))
                for channel, step in causes(strengths[:, :, place])
            ]
            score = float(contributions[place].sum())
            named = {name: round(float(share), 4) for name, share in zip(CHANNELS, shares, strict=True)}
            ranked.append(Ranked(found.keys[candidate], score, named, because))
        return ranked

    def _strengths(self, chosen: Evidence, shares: np.ndarray) -> np.ndarray:
        """float32 (channels, history, chosen): each history item's share of the score; shares is (chosen, features)."""
        strengths = np.zeros((len(CHANNELS), *chosen.cosines.shape), np.float32)
        for feature in np.flatnonzero(shares.any(axis=0)):
            strengths[CHANNEL_OF[feature]] += chosen.parts(int(feature)) * shares[:, feature]
        return strengths
