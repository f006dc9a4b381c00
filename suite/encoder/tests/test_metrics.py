from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from suite.encoder import metrics


def two_classes(confidence: list[float]) -> np.ndarray:
    """Probabilities whose top class is 0, this sure."""
    return np.array([[value, 1 - value] for value in confidence])


def test_ece_is_the_gap_between_confidence_and_accuracy():
    probabilities = two_classes([0.6, 0.6, 0.9, 0.9])
    labels = np.array([0, 1, 0, 1])  # right half of the time in both bins
    assert metrics.ece(probabilities, labels, bins=2) == pytest.approx((2 * 0.1 + 2 * 0.4) / 4)


def test_ece_bins_hold_equal_numbers():
    probabilities = two_classes([0.6, 0.7, 0.8, 0.9])
    labels = np.zeros(4, dtype=int)
    assert metrics.ece(probabilities, labels, bins=4) == pytest.approx(np.mean([0.4, 0.3, 0.2, 0.1]))


def test_macro_f1_counts_every_class_alike():
    probabilities = np.eye(3)[[0, 0, 0, 1, 0]]
    labels = np.array([0, 0, 0, 1, 2])
    assert metrics.macro_f1(probabilities, labels) == pytest.approx((6 / 7 + 1 + 0) / 3)
    assert metrics.accuracy(probabilities, labels) == pytest.approx(0.8)


def test_macro_f1_leaves_out_classes_that_are_nowhere():
    probabilities, labels = np.eye(8)[[0, 1, 2, 2]], np.array([0, 1, 2, 1])
    assert metrics.macro_f1(probabilities, labels) == pytest.approx(f1_score(labels, [0, 1, 2, 2], average="macro"))


def test_auroc_of_two_classes_is_the_last_ones():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    assert metrics.auroc(probabilities, np.array([0, 0, 1, 1])) == pytest.approx(0.75)


def test_a_metric_that_is_not_defined_is_left_out():
    found = metrics.evaluate(two_classes([0.6, 0.7]), np.array([0, 0]))
    assert "auroc" not in found
    assert found["accuracy"] == 1


def test_the_area_under_the_curve_is_the_librarys_ties_included():
    rng = np.random.default_rng(0)
    for count in (3, 40, 500):
        scores, is_right = rng.integers(0, 12, count) / 12, rng.random(count) < 0.3
        is_right[:2] = True, False
        assert metrics.area_under_curve(scores, is_right) == pytest.approx(roc_auc_score(is_right, scores))
