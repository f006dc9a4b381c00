"""The features of candidates: what each channel knows of an item, given what this person did last.

A feature is 0 where a channel knows nothing and grows with its evidence, never negative; so with weights that are not
negative either, a score is a sum of what the channels say, and the shares of an answer are exact. Features are
raw here; `blend.Blend` compresses them with log(1 + x / scale).

Channels: `together` (neighbours of the history, by column and by how fast the history fades), `text` (cosine with
the history's vectors), `popular`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from domains.commerce.recommender.sources import Neighbours
from domains.commerce.recommender.statistics import COLUMNS

CHANNELS = ("text", "together", "popular")
FADES = {"last": 0.5, "recent": 0.85, "wide": 0.97}  # what a step back in the history counts
TEXT = ("mean", "nearest", "last")
TEXT_FADE = 0.8
CANDIDATE_FADE = 0.9
FEATURES = (
    *(f"together:{column}:{fade}" for column in COLUMNS for fade in FADES),
    *(f"text:{name}" for name in TEXT),
    "popular",
)
CHANNEL_OF = np.array([CHANNELS.index(name.split(":")[0]) for name in FEATURES])


def fading(length: int) -> np.ndarray:
    """float32 (fades, length): the weight of each history item, newest first."""
    return np.array([[fade**step for step in range(length)] for fade in FADES.values()], np.float32)


@dataclass(frozen=True)
class Evidence:
    """What the history says of the candidates, apart by history item (newest first), so that it can be explained.

    `together` float32 (columns, history, candidates), `cosines` float32 (history, candidates) not negative,
    `popularity` float32 (candidates,).
    """

    together: np.ndarray
    cosines: np.ndarray
    popularity: np.ndarray

    def select(self, candidates: np.ndarray) -> Evidence:
        return Evidence(self.together[:, :, candidates], self.cosines[:, candidates], self.popularity[candidates])

    def features(self) -> np.ndarray:
        """float32 (candidates, len(FEATURES)), not negative."""
        _, length, count = self.together.shape
        faded = fading(length) @ self.together  # (columns, fades, candidates)
        if length:
            weights = TEXT_FADE ** np.arange(length, dtype=np.float32)
            text = np.stack([weights @ self.cosines / weights.sum(), self.cosines.max(axis=0), self.cosines[0]])
        else:
            text = np.zeros((len(TEXT), count), np.float32)
        return np.concatenate([faded.reshape(-1, count), text, self.popularity[None]]).T.astype(np.float32)

    def parts(self, feature: int) -> np.ndarray:
        """float32 (history, candidates): how the feature divides among the history items; columns sum to 1 or 0."""
        length, count = self.cosines.shape
        channel, *name = FEATURES[feature].split(":")
        if channel == "popular" or not length:
            return np.zeros((length, count), np.float32)
        if channel == "together":
            column, fade = COLUMNS.index(name[0]), list(FADES).index(name[1])
            shares = fading(length)[fade][:, None] * self.together[column]
        elif name == ["mean"]:
            shares = (TEXT_FADE ** np.arange(length, dtype=np.float32))[:, None] * self.cosines
        else:
            chosen = self.cosines.argmax(axis=0) if name == ["nearest"] else np.zeros(count, np.int64)
            shares = np.zeros((length, count), np.float32)
            shares[chosen, np.arange(count)] = self.cosines[chosen, np.arange(count)]
        return shares / np.maximum(shares.sum(axis=0), 1e-12)


@dataclass(frozen=True)
class Links:
    """The neighbours of a whole history as flat arrays, one row a link: `steps` int (links,) the history item it comes
    from, `items` int (links,) a place in `keys`, `weights` float32 (links, columns).
    """

    keys: list[str]
    steps: np.ndarray
    items: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, history: Sequence[str], neighbours: Mapping[str, Neighbours]) -> Links:
        known = [(step, neighbours[key]) for step, key in enumerate(history) if key in neighbours]
        places: dict[str, int] = {}
        items = [places.setdefault(key, len(places)) for _, found in known for key in found.keys]
        steps = np.repeat([step for step, _ in known], [len(found.keys) for _, found in known]).astype(np.int64)
        weights = [found.weights for _, found in known] or [np.zeros((0, len(COLUMNS)), np.float32)]
        return cls(list(places), steps, np.array(items, np.int64), np.concatenate(weights))

    def strongest(self, count: int) -> list[str]:
        """The keys with the most weight in all columns together, each column scaled, fading with every step back."""
        if not self.keys:
            return []
        scaled = (self.weights / np.maximum(self.weights.max(axis=0), 1e-12)).sum(axis=1)
        totals = np.bincount(self.items, scaled * CANDIDATE_FADE**self.steps, minlength=len(self.keys))
        order = np.lexsort((np.arange(len(totals)), -totals))[:count]
        return [self.keys[item] for item in order]


def evidence(
    history: Sequence[str],
    candidates: Sequence[str],
    links: Links,
    vectors: Mapping[str, np.ndarray],
    popularity: Mapping[str, float],
) -> Evidence:
    """The evidence on the candidates; `history` newest first. Items that a source does not know say nothing."""
    position = {key: place for place, key in enumerate(candidates)}
    places = np.array([position.get(key, -1) for key in links.keys], np.int64)[links.items]
    known = places >= 0
    together = np.zeros((len(COLUMNS), len(history), len(candidates)), np.float32)
    together[:, links.steps[known], places[known]] = links.weights[known].T
    cosines = np.zeros((len(history), len(candidates)), np.float32)
    seen = [step for step, key in enumerate(history) if key in vectors]
    described = [place for place, key in enumerate(candidates) if key in vectors]
    if seen and described:
        left = np.stack([vectors[history[step]] for step in seen])
        right = np.stack([vectors[candidates[place]] for place in described])
        cosines[np.ix_(seen, described)] = np.maximum(left @ right.T, 0.0)
    return Evidence(together, cosines, np.array([popularity.get(key, 0.0) for key in candidates], np.float32))
