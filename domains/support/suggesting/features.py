"""What is known of a candidate for a question: one row of numbers each, the same in serving, learning and evaluation.

Scales that differ between engines or collections are left out: a BM25 score counts as a share of the best one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from suite.index.text import HAN, tokens

FEATURES = (
    "relevance",  # log odds of the release's relevance head that the text answers the question
    "cosine",  # of question and candidate
    "behind",  # the cosine less the best one of the pool
    "lexical",  # BM25 as a share of the pool's best one
    "coverage",  # share of the question's words that stand in the candidate, rare ones counting more
    "title",  # the same of the title alone
    "fused",  # 1 for the first of both legs together, 1/2 for the second, ...
    "reply",  # 1 for an agent's earlier reply, 0 for an answer
    "language",  # 1 where question and candidate are both Chinese or both not
    "acceptance",  # log odds that agents take it, of the times it was looked at; 0 where nothing is known
    "accepted_near",  # cosine of the nearest earlier question for which it was taken; 0 where there is none
    "rejected_near",  # the same for which it was not
)
ANSWER, REPLY = "answer", "reply"
Name = tuple[str, str]  # (pool, key) of a candidate


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that may answer the question. `vector` is its unit vector, float32 (d,), None where there is none yet."""

    pool: str
    key: str
    title: str
    text: str
    bm25: float | None
    fused_rank: int  # from 0, within its pool
    vector: np.ndarray | None = None

    @property
    def name(self) -> Name:
        return self.pool, self.key


@dataclass(frozen=True, slots=True)
class Past:
    """What agents decided before, of the candidates of one question."""

    accepted_near: Mapping[Name, float] = field(default_factory=dict)
    rejected_near: Mapping[Name, float] = field(default_factory=dict)
    acceptance: Mapping[Name, float] = field(default_factory=dict)


NO_PAST = Past()


def features_of(
    question: str,
    vector: np.ndarray | None,
    candidates: Sequence[Candidate],
    relevance: np.ndarray,
    past: Past = NO_PAST,
) -> np.ndarray:
    """float64 (n, f): a row a candidate, all of one question. `relevance` holds the head's log odds, (n,)."""
    found = np.zeros((len(candidates), len(FEATURES)))
    cosines = cosines_of(vector, candidates)
    coverage, title = coverages(question, candidates)
    is_chinese = bool(HAN.search(question))
    best_cosine, best_bm25 = best_by_pool(candidates, cosines)
    for row, candidate in enumerate(candidates):
        bm25 = candidate.bm25 or 0.0
        found[row] = (
            relevance[row],
            cosines[row],
            cosines[row] - best_cosine[candidate.pool],
            bm25 / best_bm25[candidate.pool] if bm25 else 0.0,
            coverage[row],
            title[row],
            1.0 / (1 + candidate.fused_rank),
            float(candidate.pool == REPLY),
            float(bool(HAN.search(candidate.text)) == is_chinese),
            past.acceptance.get(candidate.name, 0.0),
            past.accepted_near.get(candidate.name, 0.0),
            past.rejected_near.get(candidate.name, 0.0),
        )
    return found


def cosines_of(vector: np.ndarray | None, candidates: Sequence[Candidate]) -> np.ndarray:
    """(n,), 0 where either vector is missing."""
    if vector is None:
        return np.zeros(len(candidates))
    return np.array([float(vector @ one.vector) if one.vector is not None else 0.0 for one in candidates])


def best_by_pool(candidates: Sequence[Candidate], cosines: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    cosine: dict[str, float] = {}
    bm25: dict[str, float] = {}
    for candidate, value in zip(candidates, cosines, strict=True):
        cosine[candidate.pool] = max(cosine.get(candidate.pool, -1.0), value)
        bm25[candidate.pool] = max(bm25.get(candidate.pool, 0.0), candidate.bm25 or 0.0)
    return cosine, bm25


def coverages(question: str, candidates: Sequence[Candidate]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) and (n,): the share of the question's words in title and text, and in the title, weighted by how rare a
    word is among the candidates."""
    asked = set(tokens(question))
    titles = [set(tokens(candidate.title)) for candidate in candidates]
    texts = [title | set(tokens(one.text)) for title, one in zip(titles, candidates, strict=True)]
    holding = Counter(word for words in texts for word in words & asked)
    rarity = {word: math.log(1 + (len(candidates) + 1) / (holding[word] + 0.5)) for word in asked}
    total = sum(rarity.values()) or 1.0

    def share(words: set[str]) -> float:
        return sum(rarity[word] for word in words & asked) / total

    return np.array([share(words) for words in texts]), np.array([share(words) for words in titles])
