"""Simple rivals of a release on the examples of a head or a task: what it brings must be more than they do. No torch.

A rival of a head gives probabilities (n, k), one of a task scores (n, c) of candidates, which are texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import softmax
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.svm import LinearSVC

from suite.encoder.heads import PAIR, HeadSpec, class_indices
from suite.index.text import tokens
from suite.releases.heads import Examples
from suite.releases.training_data import CONTRASTIVE, TaskExamples

MOST = 20_000  # training examples of a head that the linear rival is fitted on, spread evenly
NEWEST = 10  # items of a history
LARGEST = 4_000  # items for which EASE's dense solve is done
RIDGE = 100.0
TERM_WEIGHT, LENGTH_WEIGHT = 1.2, 0.75  # k1 and b of BM25


# Heads -------------------------------------------------------------------------------------------------------
def of_head(spec: HeadSpec, examples: Examples, inputs: Sequence[Any]) -> dict[str, np.ndarray]:
    """{rival: probabilities (n, k)} of `inputs`; of a pair head BM25, of others a linear model on words, and for both
    the commonest class."""
    labels = class_indices(spec, examples.train, "training")
    shares = np.bincount(labels, minlength=len(spec.labels)) / len(labels)
    commonest = np.tile(shares, (len(inputs), 1))
    if spec.kind == PAIR:
        return {"bm25": pair_words(inputs), "majority": commonest}
    places = slice(None, None, -(-len(labels) // MOST))
    words = words_of([str(text) for text, _ in examples.train[places]], inputs)
    if words is None or len(set(labels[places])) < 2:
        return {"majority": commonest}
    model = LinearSVC().fit(words[0], labels[places])
    margins = model.decision_function(words[1])  # (n,) of two classes, else (n, k)
    if margins.ndim == 1:
        margins = np.column_stack([-margins, margins])
    found = np.zeros((len(inputs), len(spec.labels)))
    found[:, model.classes_] = softmax(margins, axis=1)
    return {"tfidf_linear": found, "majority": commonest}


def pair_words(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """(n, 2): how well the words of one text are found in the other, as if it were a probability."""
    weights, asked = bm25([other for _, other in pairs], [text for text, _ in pairs])
    scores = np.asarray(asked.multiply(weights).sum(axis=1)).ravel()
    probability = scores / (1 + scores)
    return np.column_stack([1 - probability, probability])


def words_of(known: Sequence[str], others: Sequence[str]) -> tuple[Any, Any] | None:
    """TF-IDF of the words, and pairs of words, that known texts have: (n, w) of these and (m, w) of others; None where
    none of them has any."""
    vectoriser = TfidfVectorizer(analyzer=pairs_of_words, sublinear_tf=True)
    if not any(map(tokens, known)):
        return None
    return vectoriser.fit_transform(known), vectoriser.transform(others)


def pairs_of_words(text: str) -> list[str]:
    words = tokens(text)
    return words + [" ".join(pair) for pair in pairwise(words)]


# Tasks -------------------------------------------------------------------------------------------------------
def of_task(task: TaskExamples, asked: Sequence[Any], candidates: Sequence[str]) -> dict[str, np.ndarray]:
    """{rival: scores (n, c) of the candidates} for anchors, or for histories of texts, newest first."""
    if task.kind == CONTRASTIVE:
        weights, words = bm25(candidates, asked)
        return {"bm25": (words @ weights.T).toarray()}
    baskets = [(*history[:NEWEST], target) for history, target in task.train]
    place = {text: column for column, text in enumerate(dict.fromkeys([*chain(*baskets), *candidates]))}
    sets, histories = (incidence(given, place) for given in (baskets, [one[:NEWEST] for one in asked]))
    columns = [place[text] for text in candidates]
    counts = Counter(target for _, target in task.train)
    popularity = np.array([float(counts[text]) for text in candidates])
    together = (sets.T @ sets).tolil()
    together.setdiag(0)
    found = {
        "popularity": np.tile(popularity, (len(asked), 1)),
        "cooccurrence": (histories @ together.tocsr())[:, columns].toarray(),
    }
    if len(place) <= LARGEST:
        found["ease_last_10"] = histories @ ease(sets)[:, columns]
    return found


def incidence(baskets: Sequence[Sequence[str]], place: Mapping[str, int]) -> Any:
    """Sparse 0/1 (baskets, items); what is not among the items is left out."""
    cells = {(row, place[text]) for row, basket in enumerate(baskets) for text in basket if text in place}
    rows, columns = zip(*cells, strict=True) if cells else ((), ())
    return sparse.csr_array((np.ones(len(cells)), (rows, columns)), shape=(len(baskets), len(place)))


def ease(sets: Any) -> np.ndarray:
    """(items, items): how much each item speaks for each other one. Steck, Embarrassingly Shallow Autoencoders for
    Sparse Data, 2019."""
    inverse = np.linalg.inv((sets.T @ sets).toarray() + RIDGE * np.eye(sets.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def bm25(documents: Sequence[str], queries: Sequence[str]) -> tuple[Any, Any]:
    """(weights of the words in each document, words of each query), sparse, (c, words) and (n, words); their products
    are the scores. Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009."""
    counter = CountVectorizer(analyzer=tokens, dtype=np.float64)
    counts = sparse.coo_array(counter.fit_transform([*documents, *queries])[: len(documents)])
    words = counter.transform(list(queries)).sign()
    lengths = np.asarray(counts.sum(axis=1)).ravel()
    relative = lengths / max(lengths.mean(), 1.0)
    frequency = np.bincount(counts.col, minlength=counts.shape[1])
    rarity = np.log1p((len(documents) - frequency + 0.5) / (frequency + 0.5))
    saturation = TERM_WEIGHT * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * relative[counts.row])
    weights = rarity[counts.col] * counts.data * (TERM_WEIGHT + 1) / (counts.data + saturation)
    return sparse.csr_array((weights, (counts.row, counts.col)), shape=counts.shape), sparse.csr_array(words)
