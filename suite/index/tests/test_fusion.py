"""Two lists into one, with either leg allowed to win alone."""

from __future__ import annotations

import pytest

from suite.index.engine import Legs
from suite.index.fusion import RANK_OFFSET, Weights, fuse, tune

LEGS = Legs(text=[("a", 9.0), ("b", 5.0)], vector=[("b", 0.9), ("c", 0.8)])


def test_ranks_are_added_with_their_weights() -> None:
    found = fuse(LEGS, Weights(text=1, vector=2), k=10)
    assert [(each.key, each.bm25, each.similarity) for each in found] == [
        ("b", 5.0, 0.9),
        ("c", None, 0.8),
        ("a", 9.0, None),
    ]
    assert [each.score for each in found] == pytest.approx(
        [1 / (RANK_OFFSET + 2) + 2 / (RANK_OFFSET + 1), 2 / (RANK_OFFSET + 2), 1 / (RANK_OFFSET + 1)]
    )


@pytest.mark.parametrize(
    ("weights", "expected"), [(Weights(text=1, vector=0), ["a", "b"]), (Weights(text=0, vector=1), ["b", "c"])]
)
def test_one_leg_alone(weights: Weights, expected: list[str]) -> None:
    assert [each.key for each in fuse(LEGS, weights, k=10)] == expected


def test_no_more_than_k_and_ties_by_key() -> None:
    even = Legs(text=[("z", 1.0)], vector=[("y", 1.0)])
    assert [each.key for each in fuse(even, Weights(), k=10)] == ["y", "z"]
    assert [each.key for each in fuse(even, Weights(), k=1)] == ["y"]
    assert fuse(Legs(), Weights(), k=10) == []


def test_tuning_finds_the_leg_that_is_right() -> None:
    right_by_text = [(Legs(text=[("good", 1.0)], vector=[("bad", 1.0), ("worse", 0.9)]), {"good": 1.0})] * 3
    right_by_vector = [(Legs(text=[("bad", 1.0)], vector=[("good", 1.0)]), {"good": 1.0})] * 3
    assert tune(right_by_text).text > tune(right_by_text).vector
    assert tune(right_by_vector).vector > tune(right_by_vector).text
    assert tune([(LEGS, {"b": 1.0})]) == Weights(text=0.5, vector=0.5)
