from __future__ import annotations

import numpy as np
import pytest

from suite.encoder.heads import HeadSpec
from suite.releases.baselines import bm25, ease, incidence, of_head, of_task
from suite.releases.heads import Examples
from suite.releases.measures import ends, intervals, lead_over, of_cases
from suite.releases.training_data import TaskExamples


def test_rare_words_and_short_texts_count_for_more():
    weights, asked = bm25(["the tent", "the lamp", "the the lamp on the shelf"], ["tent", "the lamp", "lamp lamp"])
    scores = (asked @ weights.T).toarray()
    assert scores[0].argmax() == 0 and scores[0, 1:].tolist() == [0.0, 0.0]
    assert scores[1, 1] > scores[1, 0] > 0 and scores[2, 1] > scores[2, 2] > 0
    frequency, count, length, average = 2, 3, 2, 10 / 3
    rarity = np.log(1 + (count - frequency + 0.5) / (frequency + 0.5))
    expected = rarity * 2.2 / (1 + 1.2 * (0.25 + 0.75 * length / average))
    assert scores[2, 1] == pytest.approx(expected)


def test_words_tell_classes_apart_and_the_commonest_class_does_not():
    spec = HeadSpec("mood", "classification", ("bad", "fine", "good"), "macro_f1")
    train = [(f"{word} {number}", mood) for number in range(9)
             for word, mood in (("awful", "bad"), ("nice", "good"), ("great", "good"), ("so", "fine"))]  # fmt: skip
    found = of_head(spec, Examples(train), ["awful thing", "great thing", "so what"])
    assert found["tfidf_linear"].argmax(axis=1).tolist() == [0, 2, 1]
    assert found["majority"].argmax(axis=1).tolist() == [2, 2, 2]
    two = HeadSpec("mood", "classification", ("bad", "good"), "macro_f1")
    rest = [example for example in train if example[1] != "fine"]
    assert of_head(two, Examples(rest), ["awful", "great"])["tfidf_linear"].argmax(axis=1).tolist() == [0, 1]


def test_pairs_are_told_by_the_words_they_share():
    spec = HeadSpec("relevance", "pair", ("no", "yes"), "auroc")
    found = of_head(spec, Examples([(("a", "b"), "no")]), [("red tent", "a red tent"), ("red tent", "lamp")])
    assert found["bm25"][0, 1] > found["bm25"][1, 1] == 0
    assert found["bm25"].sum(axis=1) == pytest.approx([1, 1])


def test_what_goes_together_is_found_for_a_history():
    train = [(("tent",), "rope")] * 30 + [(("lamp",), "bulb")] * 40 + [(("lamp",), "rope")]
    task = TaskExamples("shop.walks", "next-item", train=train)
    found = of_task(task, [("tent", "gone"), ("lamp",)], ["rope", "bulb", "new"])
    assert found["popularity"].tolist() == [[31, 40, 0]] * 2
    assert found["cooccurrence"].tolist() == [[30, 0, 0], [1, 40, 0]]
    assert found["ease_last_10"].argmax(axis=1).tolist() == [0, 1]


def test_ease_is_the_ridge_regression_of_each_item_on_the_others():
    sets = incidence([("a", "b"), ("a", "b", "c"), ("c",), ("a",)], {"a": 0, "b": 1, "c": 2})
    x, weights = sets.toarray(), ease(sets)
    for item in range(3):
        others = [other for other in range(3) if other != item]
        gram = x[:, others].T @ x[:, others] + 100 * np.eye(2)
        assert weights[others, item] == pytest.approx(np.linalg.solve(gram, x[:, others].T @ x[:, item]))
        assert weights[item, item] == 0


def test_intervals_hold_the_mean_and_leads_go_the_right_way():
    dice = np.random.default_rng(1)
    ours = dice.normal(0.7, 0.1, 500)
    own, leads = intervals(of_cases({"release": {"mrr": ours}, "bm25": {"mrr": ours - 0.2}}), 500)
    low, high = own["release"]["mrr"]
    assert low < ours.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(500), rel=0.15)
    assert leads["bm25"]["mrr"] == pytest.approx([0.2, 0.2])  # paired: every case leads by as much
    assert lead_over("ece", np.array([0.1]), np.array([0.3])) == pytest.approx([0.2])
    assert ends(np.array([np.nan])) == [0.0, 0.0]
