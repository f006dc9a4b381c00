"""`manage.py evaluate finance.sentiment` and `finance.topics`: the heads on held-out texts, beside simple rivals."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_fscore_support

from domains.finance.news.scoring import SENTIMENT, TOPIC
from domains.finance.training_data import label_of, sentiment_example, text_of
from suite.encoder.heads import Head
from suite.encoder.metrics import accuracy, ece, macro_f1, weighted_f1
from suite.formats import Problem, read_records
from suite.releases.baselines import words_of
from suite.releases.evaluation import Evaluation, EvaluationError, Report, Request, unknown_labels
from suite.releases.measures import RELEASE, of_head, of_predictions

FOLDS = 5
METRICS = {"accuracy": accuracy, "macro_f1": macro_f1, "weighted_f1": weighted_f1, "ece": ece}
PROTOCOL = (
    "every record of the file is classified by the release, which must not have seen it; ece over 15 bins of equal mass"
)
RIVALS = "; rivals are fitted on the file itself, 5-fold by a hash of the text"
Read = Callable[[Mapping[str, Any]], tuple[str, tuple[str, str]]]  # a record: its text, (input of the head, label)


def evaluate_sentiment(request: Request) -> Report:
    return evaluate(request, SENTIMENT, sentiment_example)


def evaluate_topics(request: Request) -> Report:
    return evaluate(request, TOPIC, lambda record: (text_of(record), (text_of(record), label_of(record))))


def evaluate(request: Request, head: str, read: Read) -> Report:
    """Raises `EvaluationError` where the file holds nothing that the head can be asked."""
    bad: list[Problem] = []
    texts, inputs, labels = [], [], []
    for found in read_records(request.data):
        if isinstance(found, Problem):
            bad.append(found)
            continue
        try:
            text, (given, label) = read(found[1])
        except KeyError as error:
            bad.append(Problem(found[0], f"field {error.args[0]} is required"))
            continue
        except ValueError as error:
            bad.append(Problem(found[0], str(error)))
            continue
        texts.append(text)
        inputs.append(given)
        labels.append(label)
    if not inputs:
        reason = f"; line {bad[0].line}: {bad[0].reason}" if bad else ""
        raise EvaluationError(f"{request.data}: no record with a text and a label{reason}")
    probabilities = request.encoder().classify(head, inputs)
    fitted: Head = request.encoder().heads[head]  # type: ignore[attr-defined]
    order = fitted.spec.labels
    unknown = sorted(set(labels) - set(order))
    if unknown and not set(labels) & set(order):
        raise EvaluationError(
            f"{request.data}: {len(unknown)} labels are not among those of the head, such as {unknown[0]!r}; "
            f"the head knows {', '.join(order)}"
        )
    order = (*order, *unknown)  # which it never gives: their records count as wrong
    probabilities = np.pad(probabilities, ((0, 0), (0, len(unknown))))
    truth = np.array([order.index(label) for label in labels])
    answers = {RELEASE: probabilities}
    if request.has_baselines:
        answers |= rivals(texts, inputs, truth, len(order))
    measure = of_predictions(answers, truth, METRICS)
    baselines = measure(np.arange(len(truth)))
    known = np.flatnonzero(truth < len(fitted.spec.labels))
    details = {"classes": class_table(probabilities, truth, order), "bad_lines": len(bad)}
    details |= {"unknown_labels": unknown} if unknown else {}
    return Report(
        len(inputs),
        baselines.pop(RELEASE),
        PROTOCOL + (RIVALS if baselines else ""),
        baselines,
        details | of_head(fitted, probabilities[known, : len(fitted.spec.labels)], truth[known]),
        measure,
        bad,
        unknown_labels(labels, unknown),
    )


def class_table(probabilities: np.ndarray, truth: np.ndarray, order: Sequence[str]) -> dict[str, dict[str, float]]:
    predicted = probabilities.argmax(axis=1)
    columns = precision_recall_fscore_support(truth, predicted, labels=list(range(len(order))), zero_division=0)
    counts = Counter(predicted.tolist())
    return {
        label: {
            "precision": round(float(columns[0][i]), 4),
            "recall": round(float(columns[1][i]), 4),
            "f1": round(float(columns[2][i]), 4),
            "records": int(columns[3][i]),
            "predicted": counts[i],
        }
        for i, label in enumerate(order)
    }


def rivals(texts: Sequence[str], inputs: Sequence[str], truth: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Probabilities (n, k) by TF-IDF of words with a linear model, and the commonest class; on folds of the file."""
    fold = np.array([zlib.crc32(text.encode("utf-8", "replace")) % FOLDS for text in texts])
    words = np.full((len(texts), classes), 1e-9)
    commonest = np.full((len(texts), classes), 1e-9)
    for number in range(FOLDS):
        known, held = fold != number, fold == number
        if not held.any() or not known.any():
            continue
        commonest[held] = np.bincount(truth[known], minlength=classes) / known.sum()
        features = words_of(*(list(compress(inputs, side)) for side in (known, held)))
        if features is None or len(set(truth[known])) < 2:
            words[held] = commonest[held]
            continue
        model = LogisticRegression(C=10, max_iter=1_000).fit(features[0], truth[known])
        words[np.ix_(held, model.classes_)] = model.predict_proba(features[1])
    return {"tfidf_linear": words, "majority": commonest}


EVALUATIONS = {
    "finance.sentiment": Evaluation(
        evaluate_sentiment, "how texts lean; with an entity column, how each named one does"
    ),
    "finance.topics": Evaluation(evaluate_topics, "what texts are about"),
}
