"""The whole way from a question to suggestions, on one page: candidates of two pools -> what was decided before ->
confidence -> each pool's best, merged, without doubles -> nothing, where the best is not good enough.

It needs no encoder: the question's vector is given, and those of the candidates stand in rows. So a worker and a web
process go the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from rapidfuzz.fuzz import ratio

from domains.support.documents import ANSWERS
from domains.support.models import Ranker
from domains.support.suggesting.features import ANSWER
from domains.support.suggesting.past import added, near_decisions, with_acceptance
from domains.support.suggesting.ranker import Ranked, RelevanceHead, Weights, rank
from domains.support.suggesting.retrieve import IndexPools
from suite.index.selectors import NO_RELEASE, active_generation

MOST = 5  # suggestions
CONSIDERED = 10  # answers that are remembered beside them, should an agent find one by hand
LEAST = 0.15  # confidence of one that is shown beside a good one
SAME = 90.0  # of 100: texts that are so alike are one
NO_RANKER = "no_ranker"  # none was made for this release yet: the next moment brings one
NO_HEAD = "no_relevance_head"  # the release was trained without


@dataclass(frozen=True, slots=True)
class Loaded:
    """A ranker's row, unpacked."""

    id: int
    fingerprint: str
    weights: Weights
    head: RelevanceHead | None


@dataclass(frozen=True, slots=True)
class Answered:
    """What was found for one question, best first; empty where nothing is good enough."""

    ranked: list[Ranked]
    considered: list[Ranked] = field(default_factory=list)  # the next best answers, which are not offered
    best_confidence: float = 0.0
    threshold: float = 0.0
    release: str = ""
    ranker: int | None = None
    degraded: list[str] = field(default_factory=list)


def active_fingerprint() -> str:
    """The release under which answers are found now; empty where there is none."""
    generation = active_generation(ANSWERS)
    return generation.fingerprint if generation else ""


def active_ranker(fingerprint: str) -> Loaded | None:
    """The ranker that serves under a release; None until a worker has made one."""
    row = Ranker.objects.filter(fingerprint=fingerprint, is_active=True).first()
    return loaded(row) if row else None


def loaded(row: Ranker) -> Loaded:
    return Loaded(row.pk, row.fingerprint, Weights.from_json(row.weights), RelevanceHead.unpack(row.head))


def suggest(question: str, vector: np.ndarray | None, ranker: Loaded | None, k: int = MOST) -> Answered:
    """`vector` is the masked question's under the ranker's release, None where it could not be had in time."""
    if ranker is None:
        release = active_fingerprint()
        return Answered([], release=release, degraded=[NO_RANKER if release else NO_RELEASE])
    past = near_decisions(vector, ranker.fingerprint)
    found = IndexPools(ranker.fingerprint).find(question, vector, added(past))
    degraded = list(found.degraded)
    if ranker.head is None:
        degraded.append(NO_HEAD)
    past = with_acceptance(past, [candidate.name for candidate in found.candidates])
    ranked = rank(ranker.weights, ranker.head, question, vector, found.candidates, past)
    best = ranked[0].confidence if ranked else 0.0
    threshold = ranker.weights.threshold
    offered = merged(ranked, k) if best >= threshold else []
    names = {row.candidate.name for row in offered}
    others = [row for row in ranked if row.candidate.pool == ANSWER and row.candidate.name not in names]
    return Answered(
        offered,
        others[:CONSIDERED],
        best,
        threshold,
        ranker.fingerprint,
        ranker.id,
        list(dict.fromkeys(degraded)),
    )


def merged(ranked: Sequence[Ranked], k: int) -> list[Ranked]:
    """The best of both pools by confidence; of texts that say the same, the first."""
    kept: list[Ranked] = []
    for row in (row for row in ranked if row.confidence >= LEAST):
        if all(ratio(row.candidate.text, other.candidate.text, score_cutoff=SAME) < SAME for other in kept):
            kept.append(row)
        if len(kept) == k:
            break
    return kept
