"""How good a ranking is: leave the last interaction out, or cut by date. Every item is ranked, never a sample.

The recommender measured here is the class that serves. Items that it does not return rank after those it does. No
target is ever seen in fitting: statistics, blend and baselines get the log before the targets alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from domains.commerce.recommender.baselines import Scores
from domains.commerce.recommender.blend import Blend
from domains.commerce.recommender.features import CHANNELS
from domains.commerce.recommender.fitting import HoldOut, fit_blend, seen_before
from domains.commerce.recommender.log import KINDS, InteractionLog
from domains.commerce.recommender.ranker import Recommender
from domains.commerce.recommender.sources import GraphSource, TextSource
from domains.commerce.recommender.statistics import build_statistics

CUTOFFS = (5, 10, 20)
DEPTH = max(CUTOFFS)
RESAMPLES = 1_000
Rank = Callable[["Case"], Sequence[int]]


@dataclass(frozen=True)
class Case:
    """One user: the rows of the log that are history (in `past`), the time of asking, and the target item codes."""

    past: slice
    now: float
    targets: frozenset[int]


@dataclass(frozen=True)
class Split:
    """A log without dismissals, the part of it that may be learned from, the cases, and bool (items,): what is
    ranked. `now` is when the statistics are made, None for the end of the part.
    """

    log: InteractionLog
    known: InteractionLog
    cases: list[Case]
    ranked: np.ndarray
    now: float | None
    hold_out: HoldOut


def leave_last_out(log: InteractionLog) -> Split:
    """Each user's last interaction is the target, everything before it the history; users with one are left out."""
    log = log.select(log.kinds != KINDS.index("dismiss"))
    starts = log.starts()
    cases = [
        Case(slice(first, stop - 1), float(log.timestamps[stop - 1]), frozenset([int(log.items[stop - 1])]))
        for first, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        if stop - first > 1
    ]
    known = log.select(log.positions_from_end() > 0)
    return Split(log, known, cases, np.ones(len(log.item_keys), bool), None, "items")


def cut_by_date(log: InteractionLog, cut: float) -> Split:
    """History is before the cut; the targets are the items of the first later moment that are new to the user, among
    those that anybody had before the cut. Users without history or targets are left out.
    """
    log = log.select(log.kinds != KINDS.index("dismiss"))
    known = log.select(log.timestamps < cut)
    sold = np.bincount(known.items, minlength=len(log.item_keys)) > 0
    starts, cases = log.starts(), []
    for first, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        times = log.timestamps[first:stop]
        middle = first + int(np.searchsorted(times, cut))
        if middle in (first, stop):
            continue
        end = first + int(np.searchsorted(times, log.timestamps[middle], "right"))
        new = set(log.items[middle:end].tolist()) - set(log.items[first:middle].tolist())
        if targets := frozenset(item for item in new if sold[item]):
            cases.append(Case(slice(first, middle), cut, targets))
    return Split(log, known, cases, sold, cut, "baskets")


def learned(split: Split, text: TextSource, graph: GraphSource | None = None) -> Blend:
    """The blend that is learned from the known part."""
    return fit_blend(split.known, text, graph=graph, hold_out=split.hold_out)


def served(split: Split, text: TextSource, blend: Blend, graph: GraphSource | None = None) -> Rank:
    """The recommender as it serves, with statistics of the known part."""
    statistics = build_statistics(split.known, now=split.now)
    recommender = Recommender(statistics, text, blend, graph)
    codes = {key: code for code, key in enumerate(split.log.item_keys)}

    def allowed(keys: list[str]) -> set[str]:
        return {key for key in keys if key in codes and split.ranked[codes[key]]}

    def rank(case: Case) -> list[int]:
        history = seen_before(split.log, case.past, case.now)
        found = recommender.recommend(history, DEPTH, exclude={seen.key for seen in history}, allowed=allowed)
        return [codes[each.key] for each in found]

    return rank


def ablations(split: Split, text: TextSource, blend: Blend, graph: GraphSource | None = None) -> dict[str, Rank]:
    """The recommender deaf to each of its channels, the weights of the others as they were learned."""
    names = [name for name in CHANNELS if graph or name != "graph"]
    return {f"without {name}": served(split, text, blend.without(name), graph) for name in names}


def scored(split: Split, scores: Scores) -> Rank:
    """The ranking of a baseline: by score, ties by item code, history and unranked items left out."""

    def rank(case: Case) -> list[int]:
        history = split.log.items[case.past]
        values = np.array(scores(history), np.float64)
        values[history] = -np.inf
        values[~split.ranked] = -np.inf
        best = np.lexsort((np.arange(len(values)), -values))[:DEPTH]
        return [int(item) for item in best if values[item] > -np.inf]

    return rank


def measure(split: Split, rank: Rank) -> tuple[dict[str, float], dict[str, Any], dict[str, np.ndarray]]:
    """(metrics, details, a value a case): hr@k and ndcg@k with coverage of the top 10; the interval of ndcg@10, slices
    and deciles; hr@k and ndcg@k of each case, (n,)."""
    ranked = [list(rank(case)) for case in split.cases]
    gains = {
        k: np.array([ndcg(r, case.targets, k) for r, case in zip(ranked, split.cases, strict=True)]) for k in CUTOFFS
    }
    hits = {
        k: np.array([not case.targets.isdisjoint(r[:k]) for r, case in zip(ranked, split.cases, strict=True)], float)
        for k in CUTOFFS
    }
    cases = {f"ndcg@{k}": gains[k] for k in CUTOFFS} | {f"hr@{k}": hits[k] for k in CUTOFFS}
    metrics = {name: mean(values) for name, values in cases.items()}
    shown = {item for r in ranked for item in r[:10]}
    metrics["coverage"] = len(shown) / max(int(split.ranked.sum()), 1)
    counts = np.bincount(split.known.items, minlength=len(split.log.item_keys))
    is_cold = np.array([all(counts[item] == 0 for item in case.targets) for case in split.cases], bool)
    details = {
        "ndcg@10_interval": interval(gains[10]),
        "slices": {
            name: {"n": int(part.sum()), "ndcg@10": mean(gains[10][part])}
            for name, part in (("warm", ~is_cold), ("cold", is_cold))
            if part.any()
        },
        "target_popularity_deciles": deciles(split, counts),
    }
    return metrics, details, cases


def ndcg(ranked: Sequence[int], targets: frozenset[int], k: int) -> float:
    """Binary NDCG: gains 1 / log2(rank + 1), divided by those of the best possible list."""
    gain = sum(1.0 / np.log2(place + 2) for place, item in enumerate(ranked[:k]) if item in targets)
    return float(gain / sum(1.0 / np.log2(place + 2) for place in range(min(k, len(targets)))))


def mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def interval(values: np.ndarray) -> list[float]:
    """The 95% bootstrap interval of the mean, over users; seeded, so it repeats."""
    if not len(values):
        return []
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    return [round(float(bound), 5) for bound in np.percentile(values[draws].mean(axis=1), (2.5, 97.5))]


def deciles(split: Split, counts: np.ndarray) -> list[float]:
    """The share of targets in each tenth of the ranked items by popularity, the most popular tenth first."""
    order = np.lexsort((np.arange(len(counts)), -np.where(split.ranked, counts, -1)))
    place = np.empty(len(counts), np.int64)
    place[order] = np.arange(len(counts))
    targets = np.array([item for case in split.cases for item in sorted(case.targets)], np.int64)
    tenths = np.minimum(place[targets] * 10 // max(int(split.ranked.sum()), 1), 9)
    return [round(float(share), 4) for share in np.bincount(tenths, minlength=10) / max(len(targets), 1)]
