"""Heads: from unit vectors to calibrated probabilities. No torch in here.

A head is a linear layer on features of the vectors, and a temperature. It is fitted by regularised logistic regression
on the vectors as they are; the strength of the regularisation and the temperature are chosen on one half of the
validation examples, which the head is then fitted on, too. The other half is for measuring, and nothing else: a hash of
the text says which half it belongs to, so what one release is measured on no other has seen.

A few dozen examples choose a temperature by chance, and measure calibration hardly at all: 15 bins of three examples
each are off by .2 whatever the head says. So where examples are few and say what they tell of, both are done by
cross-validation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from suite.encoder.metrics import METRICS, evaluate, negative_log_likelihood

CLASSIFICATION, PAIR = "classification", "pair"
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # inverse of the L2 penalty, on standardised features
TOLERANCE = 1e-3  # of the gradient: ten times finer takes three times as long and moves no metric
RARE = 0.5  # for macro F1: a class with a quarter of the examples of another gets twice the weight an example
TEMPERATURES = (0.05, 20.0)
FOLDS = 5

Pair = tuple[str, str]
Example = tuple[str | Pair, str]  # (text, label), or for a pair head ((text, other), label)


class HeadMissing(LookupError):
    """The encoder was made without this head; the message names those that it has."""

    def __init__(self, name: str, existing: Sequence[str]) -> None:
        super().__init__(f"this release has no head {name!r}; it has: {', '.join(sorted(existing)) or 'none'}")
        self.name = name


class HeadError(ValueError):
    """Examples that no head can be fitted on; the message names the head and what is wrong with them."""


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """What a head decides. `labels` is the class order for ever; a pair head has two, the right one last."""

    name: str
    kind: str  # CLASSIFICATION or PAIR
    labels: tuple[str, ...]
    primary_metric: str

    def __post_init__(self) -> None:
        if self.kind not in {CLASSIFICATION, PAIR}:
            raise HeadError(f"head {self.name}: kind must be {CLASSIFICATION} or {PAIR}, not {self.kind!r}")
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise HeadError(f"head {self.name}: labels must be two or more different names")
        if self.kind == PAIR and len(self.labels) != 2:
            raise HeadError(f"head {self.name}: a pair head has two labels, the right one last")
        if self.primary_metric not in METRICS:
            raise HeadError(f"head {self.name}: primary_metric must be one of {', '.join(METRICS)}")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A fitted head: k classes over f features."""

    spec: HeadSpec
    weight: np.ndarray  # (k, f) float32
    bias: np.ndarray  # (k,) float32
    temperature: float = 1.0

    def __post_init__(self) -> None:
        classes = len(self.spec.labels)
        if self.weight.ndim != 2 or len(self.weight) != classes or self.bias.shape != (classes,):
            raise HeadError(
                f"head {self.spec.name}: has {classes} labels, but its weight is {self.weight.shape} and its bias "
                f"{self.bias.shape}"
            )

    def logits(self, features: np.ndarray) -> np.ndarray:
        return features @ self.weight.T + self.bias  # (n, f) @ (f, k) -> (n, k)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float32 (n, k), of features (n, f)."""
        return softmax(self.logits(features) / self.temperature, axis=1).astype(np.float32)


class Embedder(Protocol):
    """What a head is fitted on: anything that turns texts into unit vectors, float32 (n, d)."""

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...


def features_of(embedder: Embedder, kind: str, inputs: Sequence[str | Pair]) -> np.ndarray:
    """Features of texts, (n, d): their vectors; or of pairs, (n, 2d + 1): u*v, |u-v| and their cosine."""
    if kind == CLASSIFICATION:
        return embedder.embed([text for text in inputs if isinstance(text, str)])
    pairs = [pair for pair in inputs if not isinstance(pair, str)]
    vectors = embedder.embed([text for pair in pairs for text in pair])  # (2n, d)
    u, v = vectors[0::2], vectors[1::2]
    product = u * v
    return np.hstack([product, np.abs(u - v), product.sum(axis=1, keepdims=True)])


def fit_head(
    embedder: Embedder,
    spec: HeadSpec,
    train: Sequence[Example],
    validation: Sequence[Example],
    origins: Sequence[int] = (),
) -> tuple[Head, dict[str, float]]:
    """The head that fits `train`, calibrated, and its metrics on held-out examples. Raises `HeadError`.

    `origins` gives what each example of `train`, then of `validation`, tells of: then all but the measured half are
    cross-validated, and the metrics are of all examples, each judged by a head that saw none of its origin.

    Temperature scaling after Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    y_train = class_indices(spec, train, "training")
    y_held = class_indices(spec, validation, "validation")
    absent = [label for index, label in enumerate(spec.labels) if index not in y_train]
    if absent:
        raise HeadError(f"head {spec.name}: no training example is labelled {', '.join(absent)}")
    if len(validation) < 2:
        raise HeadError(f"head {spec.name}: needs at least 2 validation examples, got {len(validation)}")
    x_train = features_of(embedder, spec.kind, [inputs for inputs, _ in train])
    x_held = features_of(embedder, spec.kind, [inputs for inputs, _ in validation])
    chosen, measured = halves([inputs for inputs, _ in validation])
    x_known, y_known = np.vstack([x_train, x_held[chosen]]), np.concatenate([y_train, y_held[chosen]])
    folds = folds_of(np.array(origins)[[*range(len(train)), *(len(train) + chosen)]]) if origins else np.array([])
    if can_fold(folds, y_known, len(spec.labels)):
        strength, temperature, judged = cross_validate(spec, x_known, y_known, folds)
        final = replace(next(path(spec, x_known, y_known, [strength]))[1], temperature=temperature)
        probabilities = np.vstack([judged, final.probabilities(x_held[measured])])
        metrics = evaluate(probabilities, np.concatenate([y_known, y_held[measured]]))
        return final, metrics | {"train": float(len(y_known)), "validation": float(len(probabilities))}
    head, strength, least = None, STRENGTHS[0], np.inf
    for tried, candidate in path(spec, x_train, y_train, STRENGTHS):
        candidate = calibrate(candidate, x_held[chosen], y_held[chosen])
        loss = negative_log_likelihood(candidate.probabilities(x_held[chosen]), y_held[chosen])
        if head is not None and loss >= least:
            break  # from here on they only fit the training examples better
        head, strength, least = candidate, tried, loss
    assert head is not None
    _, final = next(path(spec, x_known, y_known, [strength]))
    final = replace(final, temperature=head.temperature)
    metrics = evaluate(final.probabilities(x_held[measured]), y_held[measured])
    return final, metrics | {"train": float(len(y_known)), "validation": float(len(measured))}


def cross_validate(spec: HeadSpec, x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> tuple[float, float, np.ndarray]:
    """(strength, temperature, probabilities (n, k)): each example is judged by what was fitted without its fold."""
    as_it_is = Head(spec, np.eye(len(spec.labels), dtype=np.float32), np.zeros(len(spec.labels), dtype=np.float32))
    paths = [path(spec, x[folds != fold], y[folds != fold], STRENGTHS) for fold in range(FOLDS)]
    logits: np.ndarray = np.empty((len(y), len(spec.labels)), dtype=np.float32)
    strength, least = STRENGTHS[0], np.inf
    for tried in STRENGTHS:
        found = np.empty((len(y), len(spec.labels)), dtype=np.float32)
        for fold, fits in enumerate(paths):
            found[folds == fold] = next(fits)[1].logits(x[folds == fold])
        loss = negative_log_likelihood(calibrate(as_it_is, found, y).probabilities(found), y)
        if loss >= least:
            break
        logits, strength, least = found, tried, loss
    judged = np.empty_like(logits)
    for fold in range(FOLDS):
        others = folds != fold
        judged[~others] = calibrate(as_it_is, logits[others], y[others]).probabilities(logits[~others])
    return strength, calibrate(as_it_is, logits, y).temperature, judged


def folds_of(origins: np.ndarray) -> np.ndarray:
    """The fold of each example, (n,): those of one origin are in one, origins side by side in different ones."""
    return np.unique(origins, return_inverse=True)[1] % FOLDS


def can_fold(folds: np.ndarray, labels: np.ndarray, classes: int) -> bool:
    """Whether every fold holds something, and all the others together hold every class."""
    if set(folds) != set(range(FOLDS)):
        return False
    return all(len(np.unique(labels[folds != fold])) == classes for fold in range(FOLDS))


def labels_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The class order of a head whose classes come with the data."""
    return tuple(sorted({label for _, label in examples}))


def class_indices(spec: HeadSpec, examples: Sequence[Example], which: str) -> np.ndarray:
    """The class index of each example, int64 (n,). Raises `HeadError` where a label or an input does not fit."""
    order = {label: index for index, label in enumerate(spec.labels)}
    wanted = str if spec.kind == CLASSIFICATION else tuple
    for number, (inputs, label) in enumerate(examples):
        if label not in order:
            raise HeadError(f"head {spec.name}: {which} example {number} has a label that is not in its labels")
        if not isinstance(inputs, wanted) or (wanted is tuple and len(inputs) != 2):
            shape = "a text" if wanted is str else "a pair of texts"
            raise HeadError(f"head {spec.name}: {which} example {number} must be {shape}")
    return np.array([order[label] for _, label in examples], dtype=np.int64)


def halves(inputs: Sequence[str | Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Positions to choose on and positions to measure on, disjoint and both not empty, by a hash of each input."""
    digests = [hashlib.sha256(repr(one).encode("utf-8", "replace")).digest()[0] for one in inputs]
    is_chosen = np.array(digests) % 2 == 0
    if is_chosen.all() or not is_chosen.any():  # very few
        is_chosen = np.arange(len(inputs)) % 2 == 0
    return np.flatnonzero(is_chosen), np.flatnonzero(~is_chosen)


def path(
    spec: HeadSpec, features: np.ndarray, labels: np.ndarray, strengths: Sequence[float]
) -> Iterator[tuple[float, Head]]:
    """(strength, head) by logistic regression on standardised features, each going on from the one before; the scaling
    is folded into the weights."""
    scaler = StandardScaler().fit(features)
    scaled = scaler.transform(features)
    weights = class_weights(spec, labels)[labels]  # (n,)
    model = LogisticRegression(tol=TOLERANCE, max_iter=1_000, warm_start=True)
    for strength in strengths:
        model.set_params(C=strength).fit(scaled, labels, sample_weight=weights)
        weight, bias = model.coef_, model.intercept_
        if len(spec.labels) == 2:  # one row of log odds; the first class's logit is 0
            weight, bias = np.vstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
        weight = weight / scaler.scale_
        yield strength, Head(spec, weight.astype(np.float32), (bias - weight @ scaler.mean_).astype(np.float32))


def class_weights(spec: HeadSpec, labels: np.ndarray) -> np.ndarray:
    """The weight of an example of each class, (k,): rare classes count for more where every class counts the same."""
    counts = np.bincount(labels, minlength=len(spec.labels))
    return (counts / counts.mean()) ** -(RARE if spec.primary_metric == "macro_f1" else 0.0)


def calibrate(head: Head, features: np.ndarray, labels: np.ndarray) -> Head:
    """The same head with the temperature that makes `labels` most likely."""
    logits = head.logits(features)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    bounds = tuple(np.log(TEMPERATURES))
    temperature = float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
    return replace(head, temperature=round(temperature, 6))
