from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from suite.encoder.heads import PSEUDO_WEIGHT, HeadSpec, fit_head
from suite.encoder.model import Encoder
from suite.encoder.tests.test_heads import moods
from suite.encoder.training import loop, states
from suite.encoder.training.config import LEAST_BATCHES, MANY_OF_A_CLASS, ConfigError, TrainingConfig, read_config
from suite.encoder.training.loop import Run, fine_tune
from suite.encoder.training.losses import Heads, history, loss_of, softmax_over_texts
from suite.encoder.training.mining import with_hard_negatives
from suite.encoder.training.progress import Progress
from suite.encoder.training.replicas import Replicas, together
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tasks import (
    PLAIN,
    TEXT,
    Example,
    Plan,
    Task,
    Texts,
    TrainingError,
    plain_texts,
    read_tasks,
    with_right,
)
from suite.encoder.training.validation import measure, reciprocal_rank
from suite.marking import mark_entity

LABELS = ("bad", "fine", "good")
THINGS = ["tent", "lamp", "stove", "rope", "boot", "knife", "map", "compass", "flask", "torch", "blanket", "saw"]
QUICK = TrainingConfig(epochs=6, minutes=0, batch_size=16, learning_rate=3e-3, head_rate=1e-2, evaluations=3)


@dataclass(frozen=True)
class Given:
    name: str
    kind: str
    labels: tuple[str, ...]
    train: list[Any]
    validation: list[Any]
    pseudo_labelled: list[Any] = field(default_factory=list)
    prefix: str = ""


def mood_task(count: int = 120) -> Given:
    return Given("shop.moods", "classification", LABELS, moods(count), moods(60, seed=1))


def pair_task() -> Given:
    """What belongs together shares no word, so only training can tell."""
    uses = ["dry", "light", "bind", "burn", "walk", "cut", "show", "turn", "drink", "see", "warm", "wood"]
    answers = dict(zip(THINGS, uses, strict=True))
    pairs = [((f"a {one}", answers[other]), "yes" if one == other else "no")
             for one in THINGS for other in (one, THINGS[(THINGS.index(one) + 3) % len(THINGS)])]  # fmt: skip
    return Given("shop.pairs", "pair", ("no", "yes"), pairs * 3, pairs)


def contrastive_task() -> Given:
    anchors = [(f"where is the {one}", f"{one} stands here", ()) for one in THINGS]
    return Given("shop.answers", "contrastive", (), anchors, anchors)


def next_task() -> Given:
    walks = [((THINGS[place], THINGS[place - 1]), THINGS[(place + 1) % len(THINGS)]) for place in range(len(THINGS))]
    return Given("shop.walks", "next-item", (), walks, walks)


def every_task() -> list[Given]:
    return [mood_task(), pair_task(), contrastive_task(), next_task()]


def silent(progress: Progress) -> None:
    pass


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for name, one in model.named_parameters()}


# Configuration ------------------------------------------------------------------------------------------------
def test_a_configuration_is_read_from_json_and_toml(tmp_path):
    (tmp_path / "a.json").write_text('{"epochs": 2, "batch_size": 8}')
    (tmp_path / "a.toml").write_text("epochs = 2\nbatch_size = 8\n")
    assert read_config(tmp_path / "a.json") == read_config(tmp_path / "a.toml")
    assert read_config(tmp_path / "a.json") == TrainingConfig(epochs=2, batch_size=8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"epoch": 2}', "a.json: epoch is not a field; the fields are body, epochs, minutes"),
        ('{"batch_size": 1}', "batch_size must be from 2 to 4096, not 1"),
        ('{"batch_size": 8.5}', "batch_size must be a whole number"),
        ('{"learning_rate": "fast"}', "learning_rate must be a number"),
        ('{"learning_rate": true}', "learning_rate must be a number"),
        ('{"learning_rate": NaN}', "learning_rate must be from 0 to 1, not nan"),
        ('{"precision": "int8"}', "precision must be one of auto, bfloat16, float32"),
        ('{"body": 3}', "body must be a text: a folder or a name"),
        ('{"is_embedding_trained": 1}', "is_embedding_trained must be true or false"),
        ('{"pseudo_labels": 95}', "pseudo_labels must be from 0 to 1, not 95"),
        ("[]", "must hold an object"),
        ("{", "is not JSON"),
    ],
)
def test_a_bad_configuration_names_the_field(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path / "a.json")


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"a\.json: cannot be read \(No such file"):
        read_config(tmp_path / "a.json")
    with pytest.raises(ConfigError, match=r"must end in \.json or \.toml"):
        read_config(tmp_path / "a.yaml")


# Batches --------------------------------------------------------------------------------------------------------
def planned(config: TrainingConfig, *counts: int) -> Plan:
    texts = Texts.__new__(Texts)
    texts.ids = [[0] * (1 + number % 17) for number in range(sum(counts))]
    tasks, first = [], 0
    for number, count in enumerate(counts):
        tasks.append(Task(str(number), "classification", 2, [Example((first + n,), 0) for n in range(count)], []))
        first += count
    return Plan(tasks, texts, config)


def test_a_pseudo_labelled_example_weighs_less(tiny):
    texts = Texts(tiny.tokenizer, 8)
    given = replace(mood_task(6), pseudo_labelled=[("a lamp", "good")])
    [task] = read_tasks([given], texts)
    assert [one.weight for one in task.train] == [1.0] * 6 + [PSEUDO_WEIGHT]
    heads, vectors = Heads([task], 4, 20.0), torch.nn.functional.normalize(torch.randn(2, 4), dim=1)

    def loss(*weights: float) -> float:
        batch = [Example((number,), number, weight) for number, weight in enumerate(weights)]
        return float(loss_of(0, task, batch, vectors, lambda text: text, heads, QUICK).detach())

    assert loss(1, 1) == pytest.approx(loss(1, 0) + loss(0, 1), rel=1e-5)
    assert loss(1, 0.3) == pytest.approx(loss(1, 0) + 0.3 * loss(0, 1), rel=1e-5)


def test_a_round_goes_through_every_example_once_and_the_next_in_another_order():
    plan = planned(TrainingConfig(epochs=2, batch_size=8), 100)
    assert len(plan) == 25
    first, second = [plan[n][1] for n in range(13)], [plan[n][1] for n in range(13, 25)]
    assert sorted(np.concatenate(first)) == list(range(100))
    assert len(set(np.concatenate(second))) == len(np.concatenate(second))
    assert not np.array_equal(first[0], second[0])


def test_few_examples_are_gone_through_more_often_unless_the_number_is_said():
    assert len(planned(TrainingConfig(batch_size=8), 100)) == LEAST_BATCHES
    assert len(planned(TrainingConfig(batch_size=8), 2 * MANY_OF_A_CLASS // 3)) == LEAST_BATCHES / 3
    assert len(planned(TrainingConfig(batch_size=8), 14)) == round(3 * 14 / 8), "seven of a class"
    assert len(planned(TrainingConfig(batch_size=8), 6_000, 3_000)) == 3 * 9_000 / 8
    assert len(planned(TrainingConfig(batch_size=8, epochs=2), 100)) == 25


def test_what_is_compared_is_not_gone_through_more_often_beside_few_texts_of_classes():
    texts = Texts.__new__(Texts)
    texts.ids = [[0]] * 400
    moods, plain = (Task(name, kind, 2, [Example((n,), 0) for n in range(200)], [])
                    for name, kind in (("moods", "classification"), (PLAIN, TEXT)))  # fmt: skip
    pairs = Task("pairs", "contrastive", 0, [Example((n, n + 1)) for n in range(200)], [])
    config = TrainingConfig(batch_size=8, plain_texts=0.2)
    plan, thrice = (Plan([moods, pairs, plain], texts, one) for one in (config, replace(config, epochs=3)))
    assert plan.tasks.count(0) == LEAST_BATCHES
    assert plan.tasks.count(1) == thrice.tasks.count(1) < 100
    assert abs(plan.tasks.count(2) / len(plan) - 0.2) < 0.03
    assert 0.3 < plan.tasks[: len(plan) // 2].count(1) / plan.tasks.count(1) < 0.7, "spread over the run"


def test_a_batch_is_known_without_the_ones_before_it():
    config = TrainingConfig(epochs=3, batch_size=4, seed=5)
    whole, late = planned(config, 40, 60), planned(config, 40, 60)
    for number in (len(whole) - 1, 3, 17):
        task, positions = late[number]
        assert task == whole[number][0]
        np.testing.assert_array_equal(positions, whole[number][1])
    other = planned(replace(config, seed=6), 40, 60)
    assert any(not np.array_equal(whole[n][1], other[n][1]) for n in range(5))


def test_texts_of_about_the_same_length_share_a_batch():
    plan = planned(TrainingConfig(epochs=1, batch_size=8), 400)
    spread = [np.ptp([plan.lengths[0][position] for position in plan[n][1]]) for n in range(len(plan))]
    assert np.mean(spread) < 2  # of lengths from 1 to 17


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.9), (2.0, 0.75), (100.0, 0.5)])
def test_tasks_are_drawn_by_temperature(temperature, share):
    plan = planned(TrainingConfig(epochs=20, batch_size=4, task_temperature=temperature), 900, 100)
    assert abs(plan.tasks.count(0) / len(plan) - share) < 0.02


def test_a_task_of_half_the_weight_is_drawn_half_as_often():
    even = TrainingConfig(epochs=40, batch_size=4, task_temperature=1)
    assert abs(planned(replace(even, task_weights={"0": 0.5}), 500, 500).tasks.count(0) / 10_000 - 1 / 3) < 0.02


def test_a_weight_of_a_task_that_is_not_there_is_named():
    with pytest.raises(TrainingError, match=r"there is no task 'support\.pair'; the tasks are 0, 1"):
        planned(TrainingConfig(task_weights={"support.pair": 2.0}), 40, 60)


def test_texts_are_tokenised_once_and_cut(tiny):
    texts = Texts(tiny.tokenizer, 6)
    (task,) = read_tasks([Given("a", "classification", ("x", "y"), [("tent", "x"), ("tent", "y")], [])], texts)
    assert [one.texts for one in task.train] == [(0,), (0,)]
    texts.number("a very long text about a tent and a lamp")
    texts.tokenise()
    full = tiny.tokenizer.encode("a very long text about a tent and a lamp").ids
    assert texts.ids[1] == [*full[:5], full[-1]]


def test_a_task_says_what_stands_before_its_texts(tiny):
    texts = Texts(tiny.tokenizer, 32)
    mood = Given("a", "classification", ("x", "y"), [("tent", "x")], [("lamp", "y")], prefix="classify: ")
    read_tasks([mood, Given("b", "contrastive", (), [("tent", "lamp", ())], [])], texts)
    assert list(texts.numbers) == ["classify: tent", "classify: lamp", "tent", "lamp"]


def test_nothing_to_train_on_is_said(tiny):
    with pytest.raises(TrainingError, match="nothing to train on"):
        read_tasks([Given("a", "classification", ("x", "y"), [], [])], Texts(tiny.tokenizer, 6))


# Losses -----------------------------------------------------------------------------------------------------------
def test_the_softmax_is_over_the_different_texts_of_the_batch():
    vectors = torch.eye(4)
    anchors = vectors[[0, 0, 1]]
    wanted = [(0, 2), (0,), (1,)]  # two anchors want text 0, which is no negative of either; 2 is a hard negative
    loss = softmax_over_texts(anchors, wanted, vectors, lambda text: text, scale=2.0)
    expected = -np.log(np.exp(2) / (np.exp(2) + 2))  # columns 0, 2, 1
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_no_right_answer_is_a_negative():
    vectors = torch.eye(3)
    wanted = [(0,), (1,), (2,)]  # 0 and 1 are both right for the first two anchors
    right = [{0, 1}, {0, 1}, {2}]
    loss = softmax_over_texts(vectors, wanted, vectors, lambda text: text, 2.0, right)
    two, three = -np.log(np.exp(2) / (np.exp(2) + 1)), -np.log(np.exp(2) / (np.exp(2) + 2))
    assert float(loss) == pytest.approx((two + two + three) / 3, abs=1e-6)


def test_an_anchor_knows_all_its_right_answers(tiny):
    anchors = [("how", "so", ()), ("how", "thus", ()), ("why", "because", ())]
    texts = Texts(tiny.tokenizer, 32)
    (task,) = read_tasks([Given("shop.answers", "contrastive", (), anchors, anchors[:1])], texts)
    assert [len(one.right) for one in task.train] == [2, 2, 1]
    assert [len(one.right) for one in task.validation] == [1]


def test_validation_takes_the_best_of_several_right_answers():
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.5], [1.0, 2.0]]), dim=1)
    row = {text: text for text in range(4)}
    anchors = vectors[[0, 0, 0]]
    right = [{1, 3}, {2, 3}, {3}]  # nearest first: 1, 2, 3
    ranks = [reciprocal_rank(anchors[[n]], right[n : n + 1], [1, 2, 3, 2], vectors, row) for n in range(3)]
    assert ranks == pytest.approx([1, 1 / 2, 1 / 3])
    together = reciprocal_rank(anchors, right, [1, 2, 3], vectors, row)
    assert together == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert reciprocal_rank(torch.zeros(1, 2), [{1}], [1, 2, 3], vectors, row) == pytest.approx(1 / 3)  # ties count


def rows_of(vectors: torch.Tensor, texts: Sequence[int]) -> torch.Tensor:
    return vectors[list(texts)]


@pytest.mark.parametrize(
    ("kind", "wanted", "learned"),
    [
        ("contrastive", ("red tent", "tent", ()), ("blue", "red tent", ())),
        ("next-item", (("red tent",), "tent"), (("blue",), "red tent")),
    ],
)
def test_validation_finds_among_what_was_learned_too(tiny, kind, wanted, learned):
    place = {"red tent": [1.0, 0.0], "tent": [1.0, 0.1], "blue": [0.0, 1.0]}
    found: list[float] = []
    for train in ([learned], [wanted]):
        texts = Texts(tiny.tokenizer, 32)
        tasks = read_tasks([Given("shop.answers", kind, (), train, [wanted])], texts)
        vectors = torch.nn.functional.normalize(torch.tensor([place[text] for text in texts.numbers]), dim=1)
        found += measure(tasks, Heads(tasks, 2, 20.0), partial(rows_of, vectors)).values()
    assert found == [0.5, 1.0]


def test_a_history_leans_to_the_newest():
    vectors = torch.eye(3)
    found = history(vectors, [0, 1])
    torch.testing.assert_close(found, torch.tensor([2.0, 1.0, 0.0]) / 5**0.5)


def test_items_learn_beside_their_texts_what_makes_them_wanted(tiny, tmp_path):
    config = replace(QUICK, item_residual=0.1, dropout=0.0, learning_rate=0.0, head_rate=0.05, epochs=30)
    run = Run(tiny, [next_task()], config, RunFolder(tmp_path / "with", "d"))
    first = run.backward(0, range(len(THINGS)))
    run.train(silent)
    assert run.backward(0, range(len(THINGS))) < first - 0.5  # though the body stays as it is
    sizes = run.heads.layers["0"].vectors.norm(dim=1)
    assert len(sizes) == len(THINGS) and (sizes > 0).all()

    firm = Run(tiny, [next_task()], replace(config, item_residual=100.0), RunFolder(tmp_path / "firm", "d"))
    firm.train(silent)
    assert firm.heads.layers["0"].vectors.norm(dim=1).max() < sizes.min() / 5
    assert not Run(tiny, [next_task()], QUICK, RunFolder(tmp_path / "none", "d")).heads.layers


def test_texts_that_are_compared_stay_where_they_were_and_others_may_move(tiny, tmp_path):
    far = {}
    for retention in (0.0, 30.0):
        config = replace(QUICK, epochs=12, learning_rate=1e-2, is_embedding_trained=True, retention=retention)
        tuned, _ = fine_tune(tiny, every_task(), config, RunFolder(tmp_path / f"{retention}", "d"), silent)
        for kind, texts in (("compared", [one[0] for one in contrastive_task().train]),
                            ("classified", [one[0] for one in mood_task().train])):  # fmt: skip
            cosines = (tuned.embed(texts) * tiny.embed(texts)).sum(axis=1)
            far[kind, retention] = 1 - cosines.mean()
    assert far["compared", 30.0] < far["compared", 0.0] / 3
    assert far["classified", 30.0] > 2 * far["compared", 30.0]


def test_mined_negatives_are_near_but_no_answers():
    angles = torch.tensor([0.0, 0.1, 0.2, 0.45, 1.0, 3.0])  # texts on a circle
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    examples = [Example((0, 2)), Example((0, 3))]  # text 0 is answered by 2 and by 3
    others = [Example((5, 1)), Example((5, 4))]  # 1 and 4 answer another one
    task = Task("a", "contrastive", 0, with_right([*examples, *others]), [])
    (mined,) = with_hard_negatives([task], lambda texts: vectors[list(texts)], 2)
    assert mined.train[0].texts == (0, 2, 4)  # 1 is nearer than the answer: perhaps right, too; 3 is right
    assert mined.train[1].texts == (0, 3, 4)


# The loop ---------------------------------------------------------------------------------------------------------
def test_training_on_all_tasks_makes_each_better(tiny, tmp_path):
    before = weights(tiny.model)
    config = replace(QUICK, epochs=12, learning_rate=1e-2, is_embedding_trained=True)
    seen = []
    for seed in range(3):  # one alone may lose a few of the twelve questions
        folder = RunFolder(tmp_path / str(seed), "d")
        tuned, progress = fine_tune(tiny, every_task(), replace(config, seed=seed), folder, silent)
        seen.append(progress.evaluations[-1]["metrics"])
    first = progress.evaluations[0]["metrics"]
    last = {name: np.mean([one[name] for one in seen]) for name in first}
    assert first.keys() == {"shop.moods", "shop.pairs", "shop.answers contrastive", "shop.walks next-item"}
    assert last["shop.moods"] > 0.9 and last["shop.answers contrastive"] > 0.9
    assert last["shop.pairs"] > first["shop.pairs"]
    assert last["shop.walks next-item"] > first["shop.walks next-item"]
    assert all(torch.equal(one, before[name]) for name, one in tiny.model.named_parameters())
    assert tuned.fingerprint != tiny.fingerprint
    spec = HeadSpec("mood", "classification", LABELS, "macro_f1")
    _, frozen_metrics = fit_head(tiny, spec, moods(60), moods(90, seed=2))
    _, tuned_metrics = fit_head(tuned, spec, moods(60), moods(90, seed=2))
    assert tuned_metrics["macro_f1"] > frozen_metrics["macro_f1"]


def test_a_tuned_body_is_saved_and_loaded(tiny, tmp_path):
    tuned, _ = fine_tune(tiny, [mood_task()], QUICK, RunFolder(tmp_path / "run", "d"), silent)
    tuned.save(tmp_path / "out")
    words = tiny.model.get_input_embeddings().weight
    assert torch.equal(tuned.model.get_input_embeddings().weight, words)  # not trained by default
    again = type(tiny).load(str(tmp_path / "out"), threads=1, device="cpu")
    assert again.fingerprint == tuned.fingerprint
    np.testing.assert_allclose(again.embed(["a tent"]), tuned.embed(["a tent"]), atol=1e-6)


class Killed(Exception):
    pass


@pytest.mark.parametrize("more", [{"item_residual": 1.0}, {"accumulate": 2}, {"retention": 1.0, "plain_texts": 0.5}])
def test_a_run_that_was_broken_off_ends_where_it_would_have(tiny, tmp_path, more):
    config = replace(QUICK, checkpoint_seconds=0.0, precision="float32", **more)
    texts = [text for text, _ in moods(40, seed=2)]
    whole, progress = fine_tune(tiny, every_task(), config, RunFolder(tmp_path / "whole", "d"), silent, texts)
    assert "plain texts" in progress.losses

    folder = RunFolder(tmp_path / "broken", "d")
    seen = []
    for life in range(3):

        def report(progress: Progress, life: int = life) -> None:
            seen.append((life, progress.batch))
            if life < 2 and progress.batch == (7, 21)[life]:
                raise Killed

        try:
            tuned, _ = fine_tune(tiny, every_task(), config, folder, report, texts)
        except Killed:
            continue
    assert next(batch for life, batch in seen if life == 1) > 5  # it went on, it did not begin again
    for name, one in whole.model.named_parameters():
        torch.testing.assert_close(dict(tuned.model.named_parameters())[name], one, rtol=1e-4, atol=1e-6)


def test_the_state_of_another_run_is_not_resumed_from(tiny, tmp_path):
    fine_tune(tiny, [mood_task()], QUICK, RunFolder(tmp_path, "one"), silent)
    assert RunFolder(tmp_path, "one").read_state() is not None
    assert RunFolder(tmp_path, "another").read_state() is None
    (tmp_path / states.STATE).write_bytes(b"half a state")
    assert RunFolder(tmp_path, "one").read_state() is None


def test_bodies_are_averaged_only_where_that_is_better(tiny, tmp_path, monkeypatch):
    means = iter([0.1, 0.5, 0.6, 0.7, 0.65])  # of the first body, three evaluations, and the average
    monkeypatch.setattr(loop, "measure", lambda *_: {"shop.moods": next(means)})
    tuned, progress = fine_tune(tiny, [mood_task()], QUICK, RunFolder(tmp_path, "d"), silent)
    best = RunFolder(tmp_path, "d").read_body(progress.evaluations[-1]["batch"])
    name, one = next((name, one) for name, one in tuned.model.named_parameters() if f"body.{name}" in best)
    torch.testing.assert_close(one, best[f"body.{name}"])
    assert "averaged" not in progress.evaluations[-1]

    means = iter([0.1, 0.5, 0.6, 0.7, 0.75])
    _, progress = fine_tune(tiny, [mood_task()], QUICK, RunFolder(tmp_path / "b", "d"), silent)
    assert len(progress.evaluations[-1]["averaged"]) == 3


def test_a_run_that_gets_no_better_ends_early(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "measure", lambda *_: {"shop.moods": 0.5})
    config = replace(QUICK, evaluations=20, patience=2)
    _, progress = fine_tune(tiny, [mood_task()], config, RunFolder(tmp_path, "d"), silent)
    assert progress.batch < progress.batches / 2


def test_a_short_run_never_reaches_the_full_rate():
    rates = [loop.schedule(step / 15, step, 0.1) for step in range(16)]
    assert 0 < max(rates) < 0.15 and rates[-1] == 0
    assert max(loop.schedule(step / 2_000, step, 0.1) for step in range(2_001)) == pytest.approx(1)
    assert loop.schedule(1 / 15, 1, 0) == pytest.approx(14 / 15)  # who wants no warm-up has none


def test_time_is_a_limit(tiny, tmp_path):
    config = replace(QUICK, epochs=1_000, minutes=0.02)
    _, progress = fine_tune(tiny, [mood_task()], config, RunFolder(tmp_path, "d"), silent)
    assert 0 < progress.batch < progress.batches
    assert progress.seconds < 5


def test_evaluations_leave_most_of_the_minutes_to_train(tiny, tmp_path, monkeypatch):
    look = Run.measured

    def slow(run):
        time.sleep(0.1)
        return look(run)

    monkeypatch.setattr(Run, "measured", slow)
    config = replace(QUICK, epochs=1_000, minutes=0.03, evaluations=8, average=1)
    _, progress = fine_tune(tiny, [mood_task()], config, RunFolder(tmp_path, "d"), silent)
    assert all(one["seconds"] >= 0.1 for one in progress.evaluations)
    assert 2 <= len(progress.evaluations) <= 4  # of the body as it came, and at most a fifth of 1.8 s


def test_time_that_was_over_before_the_first_batch_leaves_a_body(tiny, tmp_path):
    config = replace(QUICK, minutes=1e-6)
    tuned, progress = fine_tune(tiny, [mood_task()], config, RunFolder(tmp_path, "d"), silent)
    assert progress.batch == 1
    assert tuned.fingerprint == tiny.fingerprint  # the rate has fallen to 0 by then


@pytest.mark.parametrize("is_embedding_trained", [False, True])
def test_the_adversarial_step_makes_the_loss_larger(tiny, tmp_path, is_embedding_trained):
    config = replace(QUICK, adversarial=0.3, dropout=0.0, precision="float32",
                     is_embedding_trained=is_embedding_trained)  # fmt: skip
    run = Run(tiny, [mood_task()], config, RunFolder(tmp_path, "d"))
    seen: list[float] = []
    real = loop.loss_of

    def counted(*arguments: Any) -> torch.Tensor:
        loss = real(*arguments)
        seen.append(float(loss.detach()))
        return loss

    loop.loss_of, kept = counted, loop.loss_of  # type: ignore[assignment]
    try:
        run.backward(0, [0, 1, 2, 3, 4, 5])
    finally:
        loop.loss_of = kept
    assert len(seen) == 2 and seen[1] > seen[0]


def test_a_loss_that_is_not_a_number_ends_the_run_with_a_reason(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "loss_of", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match=r"loss of shop\.moods is not a number any more; use a lower learning_rate"):
        fine_tune(tiny, [mood_task()], QUICK, RunFolder(tmp_path, "d"), silent)


def test_gradients_that_are_not_numbers_end_the_run_with_a_reason(tiny, tmp_path, monkeypatch):
    """The loss may well be one."""
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(TrainingError, match="gradients are not numbers any more; use a lower learning_rate"):
        fine_tune(tiny, [mood_task()], QUICK, RunFolder(tmp_path, "d"), silent)


def test_a_look_at_texts_keeps_nothing_of_the_adversary(tiny, tmp_path):
    run = loop.Run(tiny, [mood_task()], replace(QUICK, adversarial=0.3), RunFolder(tmp_path, "d"))
    embedded: list[torch.Tensor] = []
    with torch.no_grad():
        run.body.vectors([0, 1, 2], embedded)
    assert embedded == []
    run.body.vectors([0, 1, 2], embedded)
    assert embedded


def test_plain_texts_hold_texts_that_are_not_classified_where_they_were(tiny, tmp_path):
    """A text that something stands before is learned; as it stands it stays, though nothing else holds it."""
    task = replace(mood_task(), prefix="classify: ")
    texts = [text for text, _ in task.validation]
    found = {}
    for share in (0.0, 0.4):
        config = replace(QUICK, epochs=24, plain_texts=share)
        tuned, progress = fine_tune(tiny, [task], config, RunFolder(tmp_path / str(share), "d"), silent)
        assert progress.evaluations[-1]["metrics"].keys() == {"shop.moods"}
        assert progress.evaluations[-1]["mean"] > 0.9
        found[share] = float(np.einsum("nd,nd->n", tuned.embed(texts), tiny.embed(texts)).mean())
    assert found[0.4] > found[0.0] + 0.02


def test_plain_texts_come_without_marks_and_beside_the_rounds_of_the_others(tiny):
    task = replace(mood_task(), prefix="classify: ", train=[(mark_entity("a pen of Acme", "Acme"), "good")] * 640)
    [plain] = plain_texts([replace(task, pseudo_labelled=[("a rod", "bad")]), pair_task()])
    assert plain.train == ["a pen of Acme", "a rod"]
    assert plain_texts([pair_task()]) == []
    [plain] = plain_texts([replace(task, validation=[("A PEN of  acme", "bad")])], ["a mast"])
    assert plain.train == ["a mast"]  # nor any that stands for validation
    texts = Texts(tiny.tokenizer, 16)
    tasks = read_tasks([task, plain], texts)
    drawn = Plan(tasks, texts, replace(QUICK, epochs=6, batch_size=2, plain_texts=0.25)).tasks
    assert drawn.count(0) == pytest.approx(6 * 640 / 2, rel=0.05)
    assert drawn.count(1) / len(drawn) == pytest.approx(0.25, abs=0.02)


def test_a_task_that_the_body_unlearns_only_holds_its_texts_where_they_were(tiny, tmp_path):
    run = Run(tiny, [contrastive_task()], replace(QUICK, retention=10), RunFolder(tmp_path, "d"))
    task, which = run.tasks[0], 0
    texts = list(dict.fromkeys(text for one in task.train for text in one.texts))
    row = {text: place for place, text in enumerate(texts)}
    vectors = run.body.embed(texts).roll(1, dims=0)  # far from where they were
    held = 10 * run.retained.distance(texts, vectors)

    def loss(first: float, last: float) -> torch.Tensor:
        run.progress.evaluations = []
        for value in (first, last):
            run.progress.evaluated({task.name: value}, value)
        return run.loss(which, task.train, texts, vectors, row)

    assert held > 0.5
    assert loss(0.9, 0.8) == held
    assert loss(0.8, 0.9) == loss(0.8, 0.8) > held


def test_settings_that_would_teach_nothing_are_refused(tiny, tmp_path):
    with pytest.raises(TrainingError, match="accumulate is 64, of 2 batches in all: no step would be made"):
        fine_tune(tiny, [mood_task(32)], replace(QUICK, epochs=1, batch_size=16, accumulate=64),
                  RunFolder(tmp_path, "d"), silent)  # fmt: skip
    with pytest.raises(ConfigError, match="epochs must be above 0"):
        TrainingConfig(epochs=0, layers=3)


def test_nothing_is_dropped_where_vectors_are_held(tiny, tmp_path):
    run = Run(tiny, every_task(), QUICK, RunFolder(tmp_path, "d"))
    run.evaluate()
    seen = {}
    for _ in range(len(run.plan)):
        run.one_batch()
        seen[run.progress.task] = run.body.model.training
    assert seen == {
        "shop.moods": True, "shop.pairs": False, "shop.answers contrastive": False, "shop.walks next-item": False
    }  # fmt: skip


def test_a_full_disk_ends_the_run_with_a_reason(tiny, tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(states.os, "fsync", full)
    with pytest.raises(TrainingError, match=r"checkpoint cannot be written \(No space left on device\)"):
        fine_tune(tiny, [mood_task()], QUICK, RunFolder(tmp_path, "d"), silent)
    assert not list(tmp_path.glob("*.new"))


def test_adapters_alone_are_trained_and_merged(tiny, tmp_path):
    pytest.importorskip("peft")
    config = replace(QUICK, lora_rank=4, epochs=20, learning_rate=2e-2)
    tuned, progress = fine_tune(tiny, [mood_task()], config, RunFolder(tmp_path / "run", "d"), silent)
    assert progress.evaluations[-1]["mean"] > progress.evaluations[0]["mean"]
    assert tuned.model.state_dict().keys() == tiny.model.state_dict().keys()
    tuned.save(tmp_path / "out")
    again = type(tiny).load(str(tmp_path / "out"), threads=1, device="cpu")
    np.testing.assert_allclose(again.embed(["a tent"]), tuned.embed(["a tent"]), atol=1e-6)


def test_adapters_without_their_package_are_a_clear_line(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(TrainingError, match="lora_rank needs the package peft"):
        Run(tiny, [mood_task()], replace(QUICK, lora_rank=4), RunFolder(tmp_path, "d"))


def test_layers_learn_slower_the_deeper_they_lie(tiny, tmp_path):
    config = replace(QUICK, learning_rate=0.01, layer_decay=0.5)
    groups = Run(tiny, [mood_task()], config, RunFolder(tmp_path, "d")).optimiser.param_groups
    assert [group["lr"] for group in groups] == [0.005, 0.01, config.head_rate]  # embeddings, the one layer, the heads


def test_a_snapshot_of_the_progress_is_plain_data(tiny, tmp_path):
    seen: list[str] = []
    fine_tune(tiny, every_task(), QUICK, RunFolder(tmp_path, "d"), lambda one: seen.append(json.dumps(one.as_dict())))
    last = json.loads(seen[-1])
    assert last["batch"] == last["batches"] == len(seen) and last["seconds_left"] == 0
    assert last["losses"].keys() == {"shop.moods", "shop.pairs", "shop.answers contrastive", "shop.walks next-item"}
    assert len(last["curve"]) <= 101 and last["examples_a_second"] > 0 and last["megabytes"] > 50


def test_heads_have_the_classes_of_their_tasks():
    heads = Heads([Task("a", "classification", 5, [], []), Task("b", "contrastive", 0, [], [])], 8, 20.0)
    assert heads.logits(0, torch.zeros(2, 8)).shape == (2, 5)
    assert list(heads.layers) == ["0"]


def test_the_folder_of_a_run_is_made(tmp_path: Path):
    RunFolder(tmp_path / "a" / "b", "d").write_state({"x": torch.ones(1)})
    assert (tmp_path / "a" / "b" / states.STATE).is_file()


# Several processes ------------------------------------------------------------------------------------------------
def test_two_processes_do_what_one_does_with_both_their_batches(tiny, tmp_path):
    """Broken off, too: it goes on from the last state, with both."""
    config = replace(QUICK, precision="float32", dropout=0.0, evaluations=1, average=1, checkpoint_seconds=0.0)
    alone = replace(config, accumulate=2)
    one, _ = fine_tune(tiny, [mood_task(128)], alone, RunFolder(tmp_path / "one", "d"), silent)

    folder = RunFolder(tmp_path / "both", "d")
    both, seen = replace(config, processes=2), []

    def report(progress: Progress) -> None:
        seen.append(progress.batch)
        if len(seen) == 10:
            raise Killed

    with pytest.raises(Killed):
        fine_tune(tiny, [mood_task(128)], both, folder, report)
    assert seen[-1] == 20
    tuned, progress = fine_tune(tiny, [mood_task(128)], both, folder, report)
    assert seen[10] > 10  # it did not begin again
    assert progress.batch == progress.batches == 48
    before = weights(tiny.model)
    for name, parameter in tuned.model.named_parameters():
        torch.testing.assert_close(parameter, dict(one.model.named_parameters())[name], rtol=1e-3, atol=1e-5)
    assert any(not torch.equal(before[name], parameter) for name, parameter in tuned.model.named_parameters())


def leave(encoder: Encoder, replicas: Replicas) -> None:
    raise SystemExit(3)


def test_a_process_that_breaks_off_ends_the_run_with_a_reason(tiny, tmp_path):
    with (
        pytest.raises(TrainingError, match="process 1 of 2 broke off"),
        together(2, tiny, tmp_path, leave) as replicas,
    ):
        while True:
            replicas.agreed(1.0)
