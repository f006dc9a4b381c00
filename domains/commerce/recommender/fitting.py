"""Learning a blend from what people really did next.

Each user's newest interactions are held out, statistics are built from the rest, and the candidates that the
recommender finds for the history before a held-out item become one example: which of them was it? The weights are
those of a conditional logit (McFadden 1974) with weights that are not negative, drawn towards the prior where there is
little data. An evaluation passes a log without its targets, so they are never seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize

from domains.commerce.recommender.blend import HALF_WAY, PRIOR, Blend
from domains.commerce.recommender.log import KINDS, InteractionLog
from domains.commerce.recommender.ranker import Recommender
from domains.commerce.recommender.sources import GraphSource, Seen, TextSource
from domains.commerce.recommender.statistics import StatisticsSettings, build_statistics

HoldOut = Literal["items", "baskets"]
FEWEST = 30  # examples: below, the prior is better than anything learned
SHORT = (0, 1, 2, 4)
PULL = 3.0  # how strongly weights are drawn to the prior, in examples


@dataclass(frozen=True)
class Examples:
    """Rows of all examples, one after the other: `features` float32 (rows, features) raw, `starts` (examples,) where
    each begins, `positive` (rows,) the share of the example's targets (sums to 1), `history` (examples,) its length.
    """

    features: np.ndarray
    starts: np.ndarray
    positive: np.ndarray
    history: np.ndarray


def fit_blend(
    log: InteractionLog,
    text: TextSource,
    *,
    graph: GraphSource | None = None,
    hold_out: HoldOut = "items",
    limit: int = 2_000,
    settings: StatisticsSettings | None = None,
) -> Blend:
    """The blend for the shop behind this log; the prior where there are too few examples to learn from.

    `items`: each of a user's five newest interactions is a target. `baskets`: all new items of the last basket are.
    """
    examples = collect(log, text, graph, hold_out, limit, settings)
    return PRIOR if examples is None else fit(examples)


def collect(
    log: InteractionLog,
    text: TextSource,
    graph: GraphSource | None,
    hold_out: HoldOut,
    limit: int,
    settings: StatisticsSettings | None,
) -> Examples | None:
    """Examples whose targets are among the candidates; None where there are fewer than `FEWEST`."""
    log = log.select(log.kinds != KINDS.index("dismiss"))
    held = held_out(log, hold_out)
    statistics = build_statistics(log.select(~held), settings=settings)
    recommender = Recommender(statistics, text, PRIOR, graph)
    features, sizes, positive, lengths = [], [], [], []
    for number, (history, targets) in enumerate(next_items(log, held, hold_out, limit)):
        past = {seen.key for seen in history}
        found = recommender.candidates(shortened(history, number), 1, exclude=past)
        hits = np.array([key in targets for key in found.keys], np.float32)
        if hits.any():
            features.append(found.evidence.features())
            sizes.append(len(hits))
            positive.append(hits / hits.sum())
            lengths.append(len(found.history))
    if len(sizes) < FEWEST:
        return None
    starts = np.cumsum([0, *sizes[:-1]])
    return Examples(np.concatenate(features), starts, np.concatenate(positive), np.array(lengths))


def shortened(history: list[Seen], number: int) -> list[Seen]:
    """Every fourth example is shown with its newest items only, or none: so weights for newcomers are learned, too."""
    if number % 4 < 3:
        return history
    newest = SHORT[number // 4 % len(SHORT)]
    return history[len(history) - min(newest, len(history)) :]


def held_out(log: InteractionLog, hold_out: HoldOut) -> np.ndarray:
    """bool (n,): the interactions that are targets; a user always keeps at least the first one."""
    starts = log.starts()
    first = np.zeros(len(log), bool)
    first[starts[:-1]] = True
    if hold_out == "items":
        return (log.positions_from_end() < 5) & ~first
    last = np.repeat(log.timestamps[starts[1:] - 1], np.diff(starts))
    opening = np.repeat(log.timestamps[starts[:-1]], np.diff(starts))
    return (log.timestamps == last) & (opening < last)


def next_items(
    log: InteractionLog, held: np.ndarray, hold_out: HoldOut, limit: int
) -> Iterator[tuple[list[Seen], set[str]]]:
    """(history, targets) of the newest held-out items or baskets, at most `limit`, users spread evenly."""
    rows = np.flatnonzero(held)
    if hold_out == "baskets":
        rows = rows[np.concatenate(([True], log.users[rows][1:] != log.users[rows][:-1]))] if len(rows) else rows
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(int))] if len(rows) else rows
    starts = log.starts()
    for row in rows:
        first, stop = starts[np.searchsorted(starts, row, "right") - 1 : np.searchsorted(starts, row, "right") + 1]
        history = seen_before(log, slice(int(first), int(row)), float(log.timestamps[row]))
        past = {seen.key for seen in history}
        last = stop if hold_out == "baskets" else row + 1
        targets = {log.item_keys[item] for item in log.items[row:last]} - past
        if targets:
            yield history, targets


def seen_before(log: InteractionLog, part: slice, now: float) -> list[Seen]:
    """One user's interactions as the recommender takes them."""
    return [
        Seen(log.item_keys[item], max(now - time, 0.0), KINDS[kind], None if np.isnan(value) else float(value))
        for item, time, kind, value in zip(
            log.items[part].tolist(),
            log.timestamps[part].tolist(),
            log.kinds[part].tolist(),
            log.values[part].tolist(),
            strict=True,
        )
    ]


def fit(examples: Examples) -> Blend:
    """The weights that make the targets most likely."""
    scales = typical(examples.features)
    x = np.log1p(examples.features / scales)
    sizes = np.diff([*examples.starts, len(x)])
    share = np.repeat(examples.history / (examples.history + HALF_WAY), sizes).astype(np.float32)[:, None]
    rows = np.concatenate([x * (1 - share), x * share], axis=1)
    prior = np.concatenate([PRIOR.short, PRIOR.long])
    wanted = rows.T @ examples.positive

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = rows @ weights.astype(np.float32)
        scores -= np.repeat(np.maximum.reduceat(scores, examples.starts), sizes)
        odds = np.exp(scores)
        sums = np.add.reduceat(odds, examples.starts)
        log_sums = np.log(sums).sum(dtype=np.float64)
        value = log_sums - float(examples.positive @ scores) + PULL * float(((weights - prior) ** 2).sum())
        return value, rows.T @ (odds / np.repeat(sums, sizes)) - wanted + 2 * PULL * (weights - prior)

    found = minimize(
        loss, prior, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(prior), options={"maxiter": 200}
    )
    short, long = np.split(found.x.astype(np.float32), 2)
    return Blend(scales, short, long)


def typical(features: np.ndarray) -> np.ndarray:
    """float32 (features,): a scale a feature, the median of what is not zero; the prior's where all is zero."""
    scales = PRIOR.scales.copy()
    for column, values in enumerate(features.T):
        positive = values[values > 0]
        if len(positive):
            scales[column] = np.median(positive)
    return scales
