"""Ranking in two stages, on one page: retrieve candidates -> rerank -> top k.

The first stage is cheap and looks at everything; the second is dear and looks at what the first found. A page passes
no `rerank`, or one that reads rows; only a worker may pass one that runs the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from suite.index import selectors
from suite.index.engine import Candidate, Query
from suite.index.fusion import Weights
from suite.index.selectors import Hits

Rerank = Callable[[Sequence[Candidate]], Mapping[str, float]]  # candidates -> {key: its new score}; a key left out goes


def rank(
    collection: str,
    query: Query,
    k: int,
    *,
    rerank: Rerank | None = None,
    weights: Weights = Weights(),  # noqa: B008  frozen
) -> Hits:
    """The best `k` of the `query.k` candidates; their `score` is the reranker's where there is one."""
    hits = selectors.search(collection, query, weights=weights)
    ranked = hits.candidates
    if rerank and ranked:
        scores = rerank(ranked)
        kept = [replace(each, score=scores[each.key]) for each in ranked if each.key in scores]
        ranked = tuple(sorted(kept, key=lambda each: (-each.score, each.key)))
    return replace(hits, candidates=ranked[:k])
