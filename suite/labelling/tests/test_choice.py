"""What is chosen by doubt and difference teaches more than what is drawn: with the default body, on texts of the kind
that newswires carry: many copies, and few of what is hard."""

from __future__ import annotations

import numpy as np
import pytest

from suite.encoder.heads import HeadSpec, fit_head
from suite.encoder.metrics import METRICS
from suite.encoder.model import Encoder
from suite.encoder.tests.models import DEFAULT
from suite.labelling.choice import choose, uncertainties

NAMES = ["Halden", "Corvane", "Northwind", "Tessaly", "Brightfield", "Okoro", "Lindqvist", "Marlow"]
SAID = {
    "earnings": ["{} posts quarterly profit above forecasts", "{} swings to a loss on weak sales",
                 "{} lifts its outlook for the year", "Margins at {} shrink as costs climb"],
    "legal": ["Court fines {} over price fixing", "{} settles lawsuit with former suppliers",
              "Prosecutors open a probe into {}", "Judge rejects {}'s appeal in patent case"],
    "people": ["{} names new chief executive", "Workers at {} go on strike", "Finance chief leaves {}",
               "{} to cut hundreds of jobs"],
    "deals": ["{} agrees to buy smaller rival", "{} sells its shipping arm", "Bidders circle {} as talks begin",
              "{} and partner form a joint venture"],
}  # fmt: skip
RARE = {"earnings": 1.0, "legal": 0.06, "people": 0.06, "deals": 0.06}  # share of texts kept


def pool(rng: np.random.Generator) -> list[tuple[str, str]]:
    """Texts with their labels: mostly earnings, and of those mostly one headline again and again."""
    found = []
    for label, phrases in SAID.items():
        for number in range(300):
            if rng.random() < RARE[label]:
                phrase = phrases[0] if label == "earnings" and number % 10 else phrases[number % 4]
                found.append(
                    (phrase.format(NAMES[rng.integers(8)]) + (" - update" if rng.random() < 0.3 else ""), label)
                )
    return found


@pytest.mark.encoder
def test_labels_chosen_by_doubt_and_difference_teach_more_than_drawn_ones() -> None:
    encoder, spec = (
        Encoder.load(DEFAULT, threads=1),
        HeadSpec("topic", "classification", tuple(sorted(SAID)), "macro_f1"),
    )
    held = [(phrase.format(name), label) for label, some in SAID.items() for phrase in some for name in NAMES]
    vectors_held = encoder.embed([text for text, _ in held])
    right = np.array([spec.labels.index(label) for _, label in held])
    gains = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        texts = pool(rng)
        vectors = encoder.embed([text for text, _ in texts])
        first = [next(n for n, (_, label) in enumerate(texts) if label == wanted) for wanted in spec.labels]
        start = [texts[n] for n in first]

        def quality(more: list[int], texts=texts, start=start) -> float:
            examples = [*start, *(texts[n] for n in more)]
            head, _ = fit_head(encoder, spec, examples, examples)
            return METRICS["macro_f1"](head.probabilities(vectors_held), right)

        head, _ = fit_head(encoder, spec, start, start * 2)
        doubts = uncertainties(head.probabilities(vectors))
        chosen = choose(doubts, vectors, vectors[first], 12)
        drawn = np.mean([quality(rng.choice(len(texts), 12, replace=False).tolist()) for _ in range(3)])
        gains.append(quality(chosen) - drawn)
    assert min(gains) > 0 and np.mean(gains) > 0.1, gains


def test_of_copies_one_is_chosen_and_what_is_labelled_already_none() -> None:
    rng = np.random.default_rng(0)
    kinds = np.eye(8, dtype=np.float32)[[0] * 10 + [1] * 10 + [2, 3, 4]]
    vectors = kinds + rng.normal(scale=0.005, size=kinds.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    doubts = np.linspace(1, 0.1, len(vectors))
    chosen = choose(doubts, vectors, np.zeros((0, 8), dtype=np.float32), 20)
    assert [int(kinds[n].argmax()) for n in chosen] == [0, 1, 2, 3, 4]
    assert chosen[0] == 0  # of the first kind, the one in most doubt
    assert [int(kinds[n].argmax()) for n in choose(doubts, vectors, vectors[[3]], 20)] == [1, 2, 3, 4]
    assert choose(doubts, vectors, vectors[:0], 2) == chosen[:2]


def test_doubt_is_the_lead_of_the_likeliest_label() -> None:
    found = uncertainties(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.1, 0.3, 0.6]]))
    np.testing.assert_allclose(found, [1, 0, 0.7])
