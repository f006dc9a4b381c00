"""Metrics of class probabilities. Every function takes probabilities (n, k) and true class indices (n,)."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

ECE_BINS = 15


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def macro_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean F1 over all k classes; a class that neither occurs nor is predicted counts 0."""
    classes = range(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    return float(f1_score(labels, predicted, labels=list(classes), average="macro", zero_division=0))


def weighted_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(f1_score(labels, probabilities.argmax(axis=1), average="weighted", zero_division=0))


def auroc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: of the last class where k = 2, else the mean of one class against the rest.

    NaN where no class has both an example and a counter-example.
    """
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [
        roc_auc_score(labels == index, probabilities[:, index])
        for index in classes
        if 0 < np.count_nonzero(labels == index) < len(labels)
    ]
    return float(np.mean(areas)) if areas else float("nan")


def ece(probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> float:
    """Expected calibration error of the top class, over `bins` bins of equal mass (Nguyen and O'Connor, 2015).

    Mean over bins, weighted by their size, of |accuracy - mean confidence|.
    """
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    gaps = [
        len(members) * abs(is_right[members].mean() - confidence[members].mean())
        for members in np.array_split(order, min(bins, len(order)))
    ]
    return float(sum(gaps) / len(labels))


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.mean(np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, None))))


METRICS = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
    "auroc": auroc,
    "ece": ece,
}


def evaluate(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Every metric that can be computed, by name; those that are undefined here are left out."""
    values = {name: metric(probabilities, labels) for name, metric in METRICS.items()}
    return {name: value for name, value in values.items() if np.isfinite(value)}
