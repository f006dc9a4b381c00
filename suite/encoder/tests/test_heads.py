from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.encoder import heads
from suite.encoder.fake import FakeEncoder
from suite.encoder.heads import Head, HeadError, HeadMissing, HeadSpec, calibrate, fit_head, halves, spread
from suite.encoder.metrics import ece, negative_log_likelihood
from suite.marking import mark_entity

SPEC = HeadSpec("mood", "classification", ("bad", "fine", "good"), "macro_f1")
WORDS = {"bad": "awful broken late", "fine": "okay average usual", "good": "lovely splendid great"}


def moods(count: int, seed: int = 0, noise: float = 0.0) -> list[tuple[str, str]]:
    """Short texts with a word of their mood among neutral ones; a share of the labels is wrong."""
    rng = np.random.default_rng(seed)
    examples = []
    for number in range(count):
        label = SPEC.labels[number % 3]
        words = [rng.choice(WORDS[label].split()), *rng.choice([f"w{i}" for i in range(30)], 4)]
        shown = str(rng.choice(SPEC.labels)) if rng.random() < noise else label
        examples.append((" ".join(rng.permutation(words)), shown))
    return examples


def test_a_head_learns_what_its_examples_show():
    head, metrics = fit_head(FakeEncoder(), SPEC, moods(300), moods(120, seed=1))
    assert metrics["macro_f1"] > 0.95
    encoder = FakeEncoder(heads={"mood": head})
    probabilities = encoder.classify("mood", ["a splendid thing", "it came late and broken"])
    assert probabilities.shape == (2, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [SPEC.labels[index] for index in probabilities.argmax(axis=1)] == ["good", "bad"]


def test_a_feature_that_hardly_differs_decides_nothing():
    """As one of MiniLM's 384, which training or an engine may make a little larger."""

    class WithNextToNothing(FakeEncoder):
        size = 1e-33

        def embed(self, texts):
            vectors = super().embed(texts)
            nothing = np.random.default_rng(0).normal(size=(len(vectors), 1)) * self.size
            return np.hstack([vectors, nothing]).astype(np.float32)

    encoder = WithNextToNothing()
    head, metrics = fit_head(encoder, SPEC, moods(300), moods(120, seed=1))
    assert metrics["macro_f1"] > 0.95 and "ece" in metrics
    texts = [text for text, _ in moods(60, seed=2)]
    as_fitted = head.probabilities(encoder.embed(texts))
    encoder.size = 1e-9
    np.testing.assert_allclose(head.probabilities(encoder.embed(texts)), as_fitted, atol=1e-4)


def test_the_class_order_is_the_specs_and_not_the_alphabets():
    turned = HeadSpec("mood", "classification", ("good", "bad", "fine"), "macro_f1")
    head, _ = fit_head(FakeEncoder(), turned, moods(300), moods(120, seed=1))
    assert FakeEncoder(heads={"mood": head}).classify("mood", ["splendid lovely"]).argmax() == 0


def test_a_part_of_sorted_examples_or_of_turns_has_every_class():
    turns = [number % 5 == 0 for number in range(5_000)]
    for examples in (sorted(turns), turns):
        part = spread(examples, 500)
        assert len(part) == 500 and 60 < sum(part) < 140 and part == spread(examples, 500)
    assert spread([3, 1, 2], 5) == [3, 1, 2] and spread((), 5) == []


def test_fitting_is_the_same_every_time():
    first, _ = fit_head(FakeEncoder(), SPEC, moods(150), moods(60, seed=1))
    second, _ = fit_head(FakeEncoder(), SPEC, moods(150), moods(60, seed=1))
    assert (first.weight == second.weight).all() and first.temperature == second.temperature


def test_a_pair_head_tells_what_belongs_together():
    spec = HeadSpec("belongs", "pair", ("no", "yes"), "auroc")
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(40)]

    def pairs(count: int) -> list[tuple[tuple[str, str], str]]:
        found: list[tuple[tuple[str, str], str]] = []
        for number in range(count):
            shared = " ".join(rng.choice(words, 4))
            other = shared if number % 2 else " ".join(rng.choice(words, 4))
            found.append(((shared + " " + rng.choice(words), other), "yes" if number % 2 else "no"))
        return found

    head, metrics = fit_head(FakeEncoder(), spec, pairs(300), pairs(200))
    assert metrics["auroc"] > 0.95
    scores = FakeEncoder(heads={"belongs": head}).score_pairs([("w1 w2 w3", "w1 w2 w3"), ("w1 w2", "w8 w9")], "belongs")
    assert scores.shape == (2,)
    assert scores[0] > 0.5 > scores[1]


def test_calibration_makes_the_labels_likelier():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3_000, 3)).astype(np.float32)
    labels = np.array([rng.choice(3, p=np.exp(row) / np.exp(row).sum()) for row in features])
    sure = Head(SPEC, 6 * np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32))  # six times too sure
    calm, _ = calibrate(sure, sure.logits(features), labels)
    assert 4 < calm.temperature < 9
    before, after = sure.probabilities(features), calm.probabilities(features)
    assert negative_log_likelihood(after, labels) < negative_log_likelihood(before, labels)
    assert ece(after, labels) < 0.05 < 0.2 < ece(before, labels)


def test_calibration_tells_those_who_are_sure_from_those_in_doubt():
    """Where the true odds grow faster than the logits, no single temperature fits both ends."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(4_000, 3)).astype(np.float32)
    features -= features.mean(axis=1, keepdims=True)
    odds = features * 2 * np.sqrt(np.square(features).mean(axis=1, keepdims=True))
    labels = np.array([rng.choice(3, p=np.exp(row) / np.exp(row).sum()) for row in odds])
    plain = Head(SPEC, np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32))
    fitted, _ = calibrate(plain, plain.logits(features), labels)
    assert 0.6 < fitted.spread < 1.4
    probabilities = fitted.probabilities(features)
    assert (probabilities.argmax(axis=1) == features.argmax(axis=1)).all()
    best_single = min(
        negative_log_likelihood(replace(plain, temperature=t).probabilities(features), labels)
        for t in np.geomspace(0.1, 4, 50)
    )
    assert negative_log_likelihood(probabilities, labels) < best_single - 0.005
    assert np.allclose(fitted.before_scaling(probabilities), plain.probabilities(features), atol=1e-4)


def test_a_few_that_are_judged_right_do_not_make_it_sure_of_everything():
    logits = 5 * np.eye(3)[np.arange(300) % 3]
    labels = np.arange(300) % 3
    plain = Head(SPEC, np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32))
    sure = [calibrate(plain, logits[:n], labels[:n])[0].probabilities(logits[:1]).max() for n in (3, 12, 300)]
    assert sure[0] < 0.85 < sure[1] < 0.95 < 0.98 < sure[2]
    counted = calibrate(plain, logits, labels, np.full(300, 0.01))[0].probabilities(logits[:1]).max()
    assert abs(counted - sure[0]) < 0.05, "three hundred of a hundredth each are three"


def test_those_that_are_trained_on_make_up_for_few_to_choose_on(monkeypatch):
    """Six validation examples with wrong labels would have it believe nothing."""
    wrong = [(text, SPEC.labels[(SPEC.labels.index(label) + 1) % 3]) for text, label in moods(6, seed=1)]
    clear = [text for text, _ in moods(90, seed=2)]

    def sureness() -> float:
        head, _ = fit_head(FakeEncoder(), SPEC, moods(150), wrong)
        return float(FakeEncoder(heads={"mood": head}).classify("mood", clear).max(axis=1).mean())

    assert sureness() > 0.7
    for limit, value in (("FEW", 0), ("MANY", 149)):
        with monkeypatch.context() as patched:
            patched.setattr(heads, limit, value)
            assert sureness() < 0.5


def test_they_weigh_no_more_than_what_is_lacking_and_a_class_that_is_there_once_does_no_harm():
    wrong = [(text, SPEC.labels[(SPEC.labels.index(label) + 1) % 3]) for text, label in moods(90, seed=1)]
    head, _ = fit_head(FakeEncoder(), SPEC, moods(600), wrong)
    assert FakeEncoder(heads={"mood": head}).classify("mood", [text for text, _ in moods(90, seed=2)]).max() < 0.6
    rare = [example for example in moods(60) if example[1] != "good"] + [("lovely w1", "good")]
    assert fit_head(FakeEncoder(), SPEC, rare, moods(9, seed=1))[0].weight.shape[0] == 3


def test_names_of_one_text_do_not_make_up_for_each_other():
    """Sixty texts with labels by chance, in each of which several names are marked."""
    rng = np.random.default_rng(5)
    told = [(text, str(rng.choice(SPEC.labels))) for text, _ in moods(60)]
    train = [(mark_entity(text, name), label) for text, label in told for name in ("", *text.split()[:3])]
    head, _ = fit_head(FakeEncoder(), SPEC, train, moods(4, seed=1))
    parted, _ = fit_head(FakeEncoder(), SPEC, train, moods(4, seed=1), range(len(train) + 4), [("w1", "good")])
    texts = [text for text, _ in train]
    sure, surer = (
        FakeEncoder(heads={"mood": one}).classify("mood", texts).max(axis=1).mean() for one in (head, parted)
    )
    assert sure < 0.7 < surer


def test_one_text_with_its_names_is_on_one_side():
    texts = [f"A and B report {number}" for number in range(200)]
    marked = [mark_entity(text, name) for text in texts for name in ("", "A", "B")]
    sides = [{place // 3 for place in half} for half in halves(marked)]
    assert len(sides[0]) + len(sides[1]) == 200 and not sides[0] & sides[1]
    pairs = [(f"question {number}", f"answer {place}") for number in range(100) for place in range(4)]
    sides = [{place // 4 for place in half} for half in halves(pairs)]
    assert len(sides[0]) + len(sides[1]) == 100


def test_what_is_measured_on_does_not_depend_on_what_else_there_is():
    texts = [f"text {number}" for number in range(400)]
    chosen, measured = halves(texts)
    assert sorted([*chosen, *measured]) == list(range(400))
    assert 150 < len(measured) < 250
    fewer, _ = halves(texts[100:])
    assert {texts[place] for place in chosen if place >= 100} == {texts[100 + place] for place in fewer}
    assert [len(half) for half in halves([("a", "b"), ("a", "b")])] == [1, 1]


def test_few_examples_are_cross_validated_without_their_like():
    """Thirty texts, four times each, with labels by chance: who parts the four says that all is known."""
    rng = np.random.default_rng(5)
    told = [(text, str(rng.choice(SPEC.labels))) for text, _ in moods(60)]
    examples = [(f"{text} w{number}", label) for text, label in told for number in range(4)]
    origins = [number // 4 for number in range(len(examples))]
    _, parted = fit_head(FakeEncoder(), SPEC, examples[:200], examples[200:], [*range(len(examples))])
    head, metrics = fit_head(FakeEncoder(), SPEC, examples[:200], examples[200:], origins)
    assert parted["accuracy"] > 0.8
    assert metrics["accuracy"] < 0.5 and metrics["validation"] == len(examples)
    assert FakeEncoder(heads={"mood": head}).classify("mood", [examples[0][0]]).max() < 0.7
    one = fit_head(FakeEncoder(), SPEC, examples[:200], examples[200:], [0] * len(examples))[1]
    assert one["validation"] < 40, "of one origin there are no folds"


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        ([], moods(9), "no training example is labelled bad, fine, good"),
        ([("x", "good")] * 5, moods(9), "no training example is labelled bad, fine"),
        (moods(30), [], "at least 2 validation examples, got 0"),
        ([("x", "superb"), *moods(9)], moods(9), "training example 0 has a label that is not in its labels"),
        ([(("x", "y"), "good"), *moods(9)], moods(9), "training example 0 must be a text"),
    ],
)
def test_unusable_examples_are_named(train, validation, message):
    with pytest.raises(HeadError, match=message):
        fit_head(FakeEncoder(), SPEC, train, validation)


@pytest.mark.parametrize(
    ("kind", "labels", "metric", "message"),
    [
        ("ranking", ("a", "b"), "ece", "kind must be"),
        ("classification", ("a",), "ece", "two or more"),
        ("classification", ("a", "a"), "ece", "two or more"),
        ("pair", ("a", "b", "c"), "ece", "a pair head has two labels"),
        ("classification", ("a", "b"), "loss", "primary_metric must be one of accuracy"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(kind, labels, metric, message):
    with pytest.raises(HeadError, match=message):
        HeadSpec("x", kind, labels, metric)


def test_an_unknown_head_says_which_there_are():
    head, _ = fit_head(FakeEncoder(), SPEC, moods(60), moods(30, seed=1))
    with pytest.raises(HeadMissing, match="no head 'topic'; it has: mood"):
        FakeEncoder(heads={"mood": head}).classify("topic", ["x"])


def test_weights_of_another_number_of_classes_are_refused():
    with pytest.raises(HeadError, match=r"head mood: has 3 labels, but its weight is \(2, 8\)"):
        Head(SPEC, np.zeros((2, 8), dtype=np.float32), np.zeros(2, dtype=np.float32))


def test_pseudo_labelled_examples_help_and_weigh_less():
    held, unseen = moods(12, seed=1), moods(300, seed=2)
    texts, right = [text for text, _ in unseen], np.array([SPEC.labels.index(label) for _, label in unseen])

    def accuracy(train, pseudo_labelled):
        head, _ = fit_head(FakeEncoder(), SPEC, train, held, pseudo_labelled=pseudo_labelled)
        return (FakeEncoder(heads={"mood": head}).classify("mood", texts).argmax(axis=1) == right).mean()

    assert accuracy(moods(9), moods(300, seed=3)) > accuracy(moods(9), []) + 0.05
    turned = [(text, SPEC.labels[(SPEC.labels.index(label) + 1) % 3]) for text, label in moods(300, seed=4)]
    assert accuracy(moods(200), turned) > accuracy([*moods(200), *turned], []) + 0.2


def test_no_class_is_there_by_pseudo_labels_alone():
    few = [example for example in moods(60) if example[1] != "good"]
    with pytest.raises(HeadError, match="no training example is labelled good"):
        fit_head(FakeEncoder(), SPEC, few, moods(60, seed=1), pseudo_labelled=moods(60))
