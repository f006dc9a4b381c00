"""Retrieve, rerank, keep the best."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from suite import ranking
from suite.index import selectors
from suite.index.engine import Candidate, Query
from suite.index.selectors import Hits


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tuple(Candidate(key, 1.0, None, 1.0 / rank) for rank, key in enumerate("abcd", start=1))
    hits = Hits(found, "0123456789abcdef", (selectors.QUERY_VECTOR_PENDING,))
    monkeypatch.setattr(selectors, "search", lambda collection, query, weights: hits)


def keys(hits: Hits) -> list[str]:
    return [each.key for each in hits.candidates]


def test_the_first_stage_alone(candidates: None) -> None:
    hits = ranking.rank("shop.things", Query("x"), k=2)
    assert keys(hits) == ["a", "b"]
    assert hits.degraded == (selectors.QUERY_VECTOR_PENDING,)


def test_the_second_stage_decides_over_all_candidates(candidates: None) -> None:
    seen: list[str] = []

    def rerank(found: Sequence[Candidate]) -> dict[str, float]:
        seen.extend(each.key for each in found)
        return {"c": 0.5, "d": 0.9, "b": 0.5}

    hits = ranking.rank("shop.things", Query("x"), k=2, rerank=rerank)
    assert keys(hits) == ["d", "b"]
    assert hits.candidates[0].score == 0.9
    assert seen == ["a", "b", "c", "d"]
