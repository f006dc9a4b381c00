"""Metrics of class probabilities. Every function takes probabilities (n, k) and true class indices (n,)."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

ECE_BINS = 15


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def f1_of_classes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """F1 of each class, (k,); 0 for one that neither occurs nor is predicted."""
    table = confusion(probabilities, labels)
    return 2 * np.diag(table) / np.maximum(table.sum(axis=0) + table.sum(axis=1), 1)


def macro_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean F1 over the classes that occur or are predicted, as scikit-learn has it: of three examples of a hundred
    classes the others say nothing."""
    classes = np.union1d(probabilities.argmax(axis=1), labels)
    return float(f1_of_classes(probabilities, labels)[classes].mean())


def weighted_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean F1 over the classes, weighted by how often they occur."""
    shares = np.bincount(labels, minlength=probabilities.shape[1]) / len(labels)
    return float(f1_of_classes(probabilities, labels) @ shares)


def auroc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: of the last class where k = 2, else the mean of one class against the rest.

    NaN where no class has both an example and a counter-example.
    """
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [
        area_under_curve(probabilities[:, index], labels == index)
        for index in classes
        if 0 < np.count_nonzero(labels == index) < len(labels)
    ]
    return float(np.mean(areas)) if areas else float("nan")


def area_under_curve(scores: np.ndarray, is_right: np.ndarray) -> float:
    """How often a right one has the higher score of a right and a wrong one, ties counting half: (n,), (n,) -> 0 to 1.

    By ranks (Mann and Whitney, 1947), since a bootstrap asks a thousand times.
    """
    right = np.count_nonzero(is_right)
    below = rankdata(scores)[is_right].sum() - right * (right + 1) / 2
    return float(below / (right * (len(scores) - right)))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> np.ndarray:
    """How sure the top class is, and how often it is right: rows of (mean confidence, accuracy, examples), the least
    sure first, in at most `bins` bins of equal mass (Nguyen and O'Connor, 2015)."""
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == labels
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(confidence)))
    return np.array([(confidence[part].mean(), is_right[part].mean(), len(part)) for part in parts])


def ece(probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> float:
    """Expected calibration error of the top class: mean over the bins of `reliability`, weighted by their size, of
    |accuracy - mean confidence|."""
    confidence, accuracies, sizes = reliability(probabilities, labels, bins).T
    return float((sizes * np.abs(accuracies - confidence)).sum() / len(labels))


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many examples of each class (row) are taken for each class (column); (k, k)."""
    classes = probabilities.shape[1]
    return np.bincount(labels * classes + probabilities.argmax(axis=1), minlength=classes**2).reshape(classes, classes)


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
