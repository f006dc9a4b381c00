"""Heads: from unit vectors to calibrated probabilities. No torch in here.

A head is a linear layer on features of the vectors, and a temperature that may fall or rise with how far the logits of
the classes are apart. It is fitted by regularised logistic regression on the vectors as they are; the strength of the
regularisation and the calibration are chosen on one half of the validation examples, which the head is then fitted on,
too. The other half is for measuring, and nothing else: a hash of the text says which half it belongs to, so what one
release is measured on no other has seen.

A few dozen examples choose a calibration by chance, and measure calibration hardly at all: 15 bins of three examples
each are off by .2 whatever the head says. So where examples are few and say what they tell of, both are done by
cross-validation. Where they do not, the examples that are trained on make up for what the half lacks, each judged by a
head that did not see it; a body that was tuned on them did, so they have no more weight than that.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, Protocol

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from suite.encoder.metrics import METRICS, evaluate
from suite.marking import without_mark

CLASSIFICATION, PAIR = "classification", "pair"
STRENGTHS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # inverse of the L2 penalty, on standardised features
TOLERANCE = 1e-3  # of the gradient: ten times finer takes three times as long and moves no metric
LEAST_SPREAD = 1e-3  # of a feature, against that of all: what differs less is taken as it is
RARE = 0.5  # for macro F1: a class with a quarter of the examples of another gets twice the weight an example
TEMPERATURES = (0.05, 20.0)
SPREADS = (-0.5, 2.0)  # at -1 all would be equally sure
SPREAD_PULL = 2.0  # on the square of a head's spread, in nats of all the examples that it is chosen on
PSEUDO_WEIGHT = 0.3  # of a training example that a release labelled, where one that a person labelled has 1
FOLDS = 5
FEW, MANY = 60, 5_000  # examples to choose on; examples that are trained on, of which no more help is sought

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
    """What a head decides.

    `labels` is the class order for ever; a pair head has two, the right one last. `prefix` stands before every text
    that is classified, see `suite.marking.prefix_of`.
    """

    name: str
    kind: str  # CLASSIFICATION or PAIR
    labels: tuple[str, ...]
    primary_metric: str
    prefix: str = ""

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
    spread: float = 0.0  # 0: one temperature for all; above: who is sure is surer, who is in doubt more in doubt

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
        return softmax(self.scaled(self.logits(features)), axis=1).astype(np.float32)

    def scaled(self, logits: np.ndarray) -> np.ndarray:
        """Logits (n, k) as they are calibrated; the order of the classes stays."""
        scaled = (logits - logits.mean(axis=1, keepdims=True)) / self.temperature
        return scaled * size_of(scaled) ** self.spread if self.spread else scaled

    def before_scaling(self, probabilities: np.ndarray) -> np.ndarray:
        """The probabilities (n, k) that calibrated ones were before."""
        scaled = np.log(np.clip(probabilities, 1e-30, None))
        scaled = scaled - scaled.mean(axis=1, keepdims=True)
        return softmax(self.temperature * scaled * size_of(scaled) ** -(self.spread / (1 + self.spread)), axis=1)


def size_of(logits: np.ndarray) -> np.ndarray:
    """How far the logits of each row are apart: (n, k) with mean 0 -> (n, 1), never 0."""
    return np.sqrt(np.square(logits).mean(axis=1, keepdims=True)).clip(min=1e-6)


class Embedder(Protocol):
    """What a head is fitted on: anything that turns texts into unit vectors, float32 (n, d)."""

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...


def features_of(embedder: Embedder, spec: HeadSpec, inputs: Sequence[str | Pair]) -> np.ndarray:
    """Features of texts, (n, d): their vectors; or of pairs, (n, 2d + 1): u*v, |u-v| and their cosine."""
    if spec.kind == CLASSIFICATION:
        return embedder.embed([spec.prefix + text for text in inputs if isinstance(text, str)])
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
    pseudo_labelled: Sequence[Example] = (),
) -> tuple[Head, dict[str, float]]:
    """The head that fits `train`, calibrated, and its metrics on held-out examples. Raises `HeadError`.

    What is `pseudo_labelled` it fits, too, with less weight; no class is there by it alone.
    `origins` gives what each example of `train`, then of `validation`, tells of: then all but the measured half are
    cross-validated, and the metrics are of all examples, each judged by a head that saw none of its origin. It is for
    few examples, without pseudo-labelled ones.
    """
    y_train = class_indices(spec, train, "training")
    y_held = class_indices(spec, validation, "validation")
    absent = [label for index, label in enumerate(spec.labels) if index not in y_train]
    if absent:
        raise HeadError(f"head {spec.name}: no training example is labelled {', '.join(absent)}")
    if len(validation) < 2:
        raise HeadError(f"head {spec.name}: needs at least 2 validation examples, got {len(validation)}")
    y_train = np.concatenate([y_train, class_indices(spec, pseudo_labelled, "pseudo-labelled")])
    x_train = features_of(embedder, spec, [inputs for inputs, _ in (*train, *pseudo_labelled)])
    x_held = features_of(embedder, spec, [inputs for inputs, _ in validation])
    chosen, measured = halves([inputs for inputs, _ in validation])
    weights = np.repeat([1.0, PSEUDO_WEIGHT], [len(train), len(pseudo_labelled)])
    x_known, y_known = np.vstack([x_train, x_held[chosen]]), np.concatenate([y_train, y_held[chosen]])
    all_weights = np.concatenate([weights, np.ones(len(chosen))])
    has_origins = bool(origins) and not pseudo_labelled
    folds = folds_of(np.array(origins)[[*range(len(train)), *(len(train) + chosen)]]) if has_origins else np.array([])
    if can_fold(folds, y_known, len(spec.labels)):
        strength, scale, judged = cross_validate(spec, x_known, y_known, folds)
        final = calibrated_as(next(path(spec, x_known, y_known, all_weights, [strength]))[1], scale)
        probabilities = np.vstack([judged, final.probabilities(x_held[measured])])
        metrics = evaluate(probabilities, np.concatenate([y_known, y_held[measured]]))
        return final, metrics | {"train": float(len(y_known)), "validation": float(len(probabilities))}
    x_own, y_own = x_train[: len(train)], y_train[: len(train)]
    known = np.array(origins[: len(train)]) if origins else numbered([about(inputs) for inputs, _ in train])
    folds = folds_of(known)
    share = min(1.0, max(0.0, (FEW - len(chosen)) / len(train)))
    is_helped = share > 0 and len(train) <= MANY and can_fold(folds, y_own, len(spec.labels))
    others = apart(spec, x_own, y_own, folds) if is_helped else repeat(np.empty((0, len(spec.labels))))
    y_choice = np.concatenate([y_held[chosen], y_own if is_helped else y_own[:0]])
    choice_weights = np.repeat([1.0, share], [len(chosen), len(y_choice) - len(chosen)])
    head, strength, least = None, STRENGTHS[0], np.inf
    for (tried, candidate), other in zip(path(spec, x_train, y_train, weights, STRENGTHS), others, strict=False):
        logits = np.vstack([candidate.logits(x_held[chosen]), other])
        candidate, loss = calibrate(candidate, logits, y_choice, choice_weights)
        if head is not None and loss >= least:
            break  # from here on they only fit the training examples better
        head, strength, least = candidate, tried, loss
    assert head is not None
    _, final = next(path(spec, x_known, y_known, all_weights, [strength]))
    final = calibrated_as(final, head)
    metrics = evaluate(final.probabilities(x_held[measured]), y_held[measured])
    return final, metrics | {"train": float(len(y_known)), "validation": float(len(measured))}


def cross_validate(spec: HeadSpec, x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> tuple[float, Head, np.ndarray]:
    """(strength, a head calibrated so, probabilities (n, k)): each example is judged by what was fitted without its
    fold."""
    as_it_is = Head(spec, np.eye(len(spec.labels), dtype=np.float32), np.zeros(len(spec.labels), dtype=np.float32))
    logits: np.ndarray = np.empty(0)
    head, strength, least = as_it_is, STRENGTHS[0], np.inf
    for tried, found in zip(STRENGTHS, apart(spec, x, y, folds), strict=True):
        candidate, loss = calibrate(as_it_is, found, y)
        if loss >= least:
            break
        head, logits, strength, least = candidate, found, tried, loss
    judged = np.empty_like(logits)
    for fold in range(FOLDS):
        is_in = folds == fold
        judged[is_in] = calibrate(as_it_is, logits[~is_in], y[~is_in])[0].probabilities(logits[is_in])
    return strength, head, judged


def apart(spec: HeadSpec, x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> Iterator[np.ndarray]:
    """For each of `STRENGTHS` logits of all examples, float32 (n, k), each by a head that saw none of its fold."""
    others = [folds != fold for fold in range(FOLDS)]
    paths = [path(spec, x[kept], y[kept], np.ones(kept.sum()), STRENGTHS) for kept in others]
    for _ in STRENGTHS:
        found = np.empty((len(y), len(spec.labels)), dtype=np.float32)
        for kept, fits in zip(others, paths, strict=True):
            found[~kept] = next(fits)[1].logits(x[~kept])
        yield found


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


def about(inputs: str | Pair) -> str:
    """The text that an input is about, whichever of its names is marked in it; of a pair the question."""
    return without_mark(inputs) if isinstance(inputs, str) else inputs[0]


def numbered(texts: Sequence[str]) -> np.ndarray:
    """(n,): the same number for the same text, in order of their coming."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts])


def halves(inputs: Sequence[str | Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Positions to choose on and positions to measure on, disjoint and both not empty, by a hash of what each input
    is about: a text with each of its names, or a question with each of its answers, is on one side."""
    digests = [hashlib.sha256(repr(about(one)).encode("utf-8", "replace")).digest()[0] for one in inputs]
    is_chosen = np.array(digests) % 2 == 0
    if is_chosen.all() or not is_chosen.any():  # very few
        is_chosen = np.arange(len(inputs)) % 2 == 0
    return np.flatnonzero(is_chosen), np.flatnonzero(~is_chosen)


def spread(examples: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, in order, drawn the same way every time: files may be sorted by label or go in turns."""
    count = len(examples)
    return [examples[place] for place in sorted(random.Random(count).sample(range(count), min(most, count)))]


def path(
    spec: HeadSpec, features: np.ndarray, labels: np.ndarray, weights: np.ndarray, strengths: Sequence[float]
) -> Iterator[tuple[float, Head]]:
    """(strength, head) by logistic regression on standardised features, each going on from the one before; the scaling
    is folded into the weights. A feature that hardly differs is not blown up to the size of the others: MiniLM has one
    of 1e-33, which would be all of a logit where another engine, or a little training, makes 1e-9 of it."""
    scaler = StandardScaler().fit(features)
    scaler.scale_ = np.maximum(scaler.scale_, LEAST_SPREAD * np.sqrt(scaler.var_.mean()))
    scaled = scaler.transform(features)
    weights = weights * class_weights(spec, labels, weights)[labels]  # (n,)
    model = LogisticRegression(tol=TOLERANCE, max_iter=1_000, warm_start=True)
    for strength in strengths:
        model.set_params(C=strength).fit(scaled, labels, sample_weight=weights)
        weight, bias = model.coef_, model.intercept_
        if len(spec.labels) == 2:  # one row of log odds; the first class's logit is 0
            weight, bias = np.vstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
        weight = weight / scaler.scale_
        yield strength, Head(spec, weight.astype(np.float32), (bias - weight @ scaler.mean_).astype(np.float32))


def class_weights(spec: HeadSpec, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weight of an example of each class, (k,): rare classes count for more where every class counts the same."""
    counts = np.bincount(labels, weights, minlength=len(spec.labels))
    return (counts / counts.mean()) ** -(RARE if spec.primary_metric == "macro_f1" else 0.0)


def calibrate(
    head: Head, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> tuple[Head, float]:
    """The same head with the temperature, and for classes the spread, that make `labels` (n,) most likely of its logits
    (n, k), and the mean loss that is left.

    A few examples that are all judged right do not make it sure of everything: each bears its label with as much
    certainty as their number allows (Platt, Probabilistic Outputs for Support Vector Machines, 1999). Temperature
    scaling after Guo et al., On Calibration of Modern Neural Networks, 2017; one that depends on the logits
    after Tomani et al., Parameterized Temperature Scaling, 2022. A pair's odds stay linear in its features, since
    rankers take them as they are.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    count, classes = weights.sum(), logits.shape[1]
    certain = (count + 1) / (count + 2)
    targets = np.full(logits.shape, (1 - certain) / (classes - 1))  # (n, k)
    targets[np.arange(len(labels)), labels] = certain
    targets *= weights[:, None] / count

    def loss(log_temperature: float, spread: float = 0.0) -> float:
        tried = replace(head, temperature=float(np.exp(log_temperature)), spread=spread)
        return float(-(targets * log_softmax(tried.scaled(logits), axis=1)).sum())

    bounds = tuple(np.log(TEMPERATURES))
    best, spread = float(minimize_scalar(loss, bounds=bounds, method="bounded").x), 0.0
    if head.spec.kind == CLASSIFICATION:
        pull = SPREAD_PULL / count
        found = minimize(lambda both: loss(*both) + pull * both[1] ** 2, [best, 0.0], method="Nelder-Mead",
                         bounds=[bounds, SPREADS])  # fmt: skip
        best, spread = (float(value) for value in found.x)
    fitted = replace(head, temperature=round(float(np.exp(best)), 6), spread=round(spread, 6))
    return fitted, loss(best, spread)


def calibrated_as(head: Head, other: Head) -> Head:
    return replace(head, temperature=other.temperature, spread=other.spread)
