"""The features of candidates: what each channel knows of an item, given what this person did last.

A feature is 0 where a channel knows nothing and grows with its evidence, never negative; so with weights that are not
negative either, a score is a sum of what the channels say, and the shares of an answer are exact. Features are
raw here; `blend.Blend` compresses them with log(1 + x / scale).

Channels: `together` (neighbours of the history, by column and by how fast the history fades), `text` (cosine with
the history's vectors), `graph` (what is linked to the history, or shares a neighbour with it in the knowledge graph),
`popular` (what everybody chooses, and what is gaining).

The history fades by steps: interactions of one moment (the lines of an invoice) are one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from domains.commerce.recommender.sources import Neighbours, Popularity
from domains.commerce.recommender.statistics import COLUMNS

CHANNELS = ("text", "together", "popular", "graph")
FADES = {"last": 0.5, "recent": 0.85, "wide": 0.97}  # what a step back in the history counts
TEXT = ("last", "recent", "nearest")  # weighted means by two of the fades, and the nearest item of the history
NEAREST_FADE = 0.985  # even the nearest item of the history counts less when it lies back
CANDIDATE_FADE = 0.9
FEATURES = (
    *(f"together:{column}:{fade}" for column in COLUMNS for fade in FADES),
    *(f"text:{name}" for name in TEXT),
    "popular:recent",
    "popular:trend",
    *(f"graph:{fade}" for fade in FADES),
)
CHANNEL_OF = np.array([CHANNELS.index(name.split(":")[0]) for name in FEATURES])


@dataclass(frozen=True)
class Evidence:
    """What the history says of the candidates, apart by history item (newest first), so that it can be explained.

    `steps` int (history,), `together` float32 (columns, history, candidates), `cosines` float32 (history, candidates)
    not negative, `popularity` float32 (candidates, 2): recent and trend, `graph` float32 (history, candidates).
    """

    steps: np.ndarray
    together: np.ndarray
    cosines: np.ndarray
    popularity: np.ndarray
    graph: np.ndarray

    def select(self, candidates: np.ndarray) -> Evidence:
        return Evidence(
            self.steps,
            self.together[:, :, candidates],
            self.cosines[:, candidates],
            self.popularity[candidates],
            self.graph[:, candidates],
        )

    def fading(self) -> np.ndarray:
        """float32 (fades, history): the weight of each history item."""
        return np.array([fade**self.steps for fade in FADES.values()], np.float32).reshape(len(FADES), -1)

    def nearest(self) -> np.ndarray:
        """float32 (history, candidates): the cosines as `text:nearest` compares them."""
        return self.cosines * (NEAREST_FADE**self.steps).astype(np.float32)[:, None]

    def features(self) -> np.ndarray:
        """float32 (candidates, len(FEATURES)), not negative."""
        _, length, count = self.together.shape
        fading = self.fading()
        faded = fading @ self.together  # (columns, fades, candidates)
        text = np.zeros((len(TEXT), count), np.float32)
        if length:
            means = fading[:2] / fading[:2].sum(axis=1, keepdims=True)
            text = np.concatenate([means @ self.cosines, self.nearest().max(axis=0, keepdims=True)])
        linked = fading @ self.graph  # (fades, candidates)
        return np.concatenate([faded.reshape(-1, count), text, self.popularity.T, linked]).T.astype(np.float32)

    def parts(self, feature: int) -> np.ndarray:
        """float32 (history, candidates): how the feature divides among the history items; columns sum to 1 or 0."""
        channel, *name = FEATURES[feature].split(":")
        if channel == "popular" or not len(self.steps):
            return np.zeros(self.cosines.shape, np.float32)
        if channel == "together":
            fade = self.fading()[list(FADES).index(name[1])]
            parts = fade[:, None] * self.together[COLUMNS.index(name[0])]
        elif name == ["nearest"]:
            values = self.nearest()
            parts = np.where(np.arange(len(values))[:, None] == values.argmax(axis=0), values, 0.0)
        else:
            parts = self.fading()[list(FADES).index(name[0])][:, None] * (
                self.graph if channel == "graph" else self.cosines
            )
        return parts / np.maximum(parts.sum(axis=0), 1e-12)


@dataclass(frozen=True)
class Neighbourhood:
    """The neighbours of a whole history as flat arrays, one row a link: `sources` int (links,) the history item it
    comes from, `items` int (links,) a place in `keys`, `weights` float32 (links, columns).
    """

    keys: list[str]
    sources: np.ndarray
    items: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, history: Sequence[str], neighbours: Mapping[str, Neighbours], columns: int) -> Neighbourhood:
        known = [(place, neighbours[key]) for place, key in enumerate(history) if key in neighbours]
        places: dict[str, int] = {}
        items = [places.setdefault(key, len(places)) for _, found in known for key in found.keys]
        sizes = [len(found.keys) for _, found in known]
        sources = np.repeat(np.array([place for place, _ in known], np.int64), sizes)
        weights = [found.weights for _, found in known] or [np.zeros((0, columns), np.float32)]
        return cls(list(places), sources, np.array(items, np.int64), np.concatenate(weights))

    def strongest(self, count: int, steps: np.ndarray) -> list[str]:
        """The keys with the most weight in all columns together, each column scaled, fading with every step back."""
        if not self.keys:
            return []
        scaled = (self.weights / np.maximum(self.weights.max(axis=0), 1e-12)).sum(axis=1)
        totals = np.bincount(self.items, scaled * CANDIDATE_FADE ** steps[self.sources], minlength=len(self.keys))
        order = np.lexsort((np.arange(len(totals)), -totals))[:count]
        return [self.keys[item] for item in order]

    def table(self, length: int, candidates: Mapping[str, int]) -> np.ndarray:
        """float32 (columns, length of the history, candidates); `candidates` gives each one's place."""
        places = np.array([candidates.get(key, -1) for key in self.keys], np.int64)[self.items]
        known = places >= 0
        table = np.zeros((self.weights.shape[1], length, len(candidates)), np.float32)
        table[:, self.sources[known], places[known]] = self.weights[known].T
        return table


def evidence(
    history: Sequence[str],
    steps: np.ndarray,
    candidates: Sequence[str],
    together: Neighbourhood,
    graph: Neighbourhood,
    vectors: Mapping[str, np.ndarray],
    popularity: Mapping[str, Popularity],
) -> Evidence:
    """The evidence on the candidates; `history` newest first, with the step of each. Items that a source does not know
    say nothing."""
    position = {key: place for place, key in enumerate(candidates)}
    cosines = np.zeros((len(history), len(candidates)), np.float32)
    seen = [place for place, key in enumerate(history) if key in vectors]
    described = [place for place, key in enumerate(candidates) if key in vectors]
    if seen and described:
        left = np.stack([vectors[history[place]] for place in seen])
        right = np.stack([vectors[candidates[place]] for place in described])
        cosines[np.ix_(seen, described)] = np.maximum(left @ right.T, 0.0)
    popular = np.array([popularity.get(key, (0.0, 0.0)) for key in candidates], np.float32).reshape(-1, 2)
    return Evidence(
        steps, together.table(len(history), position), cosines, popular, graph.table(len(history), position)[0]
    )
