"""Bodies with some of the layers of another, or narrower ones, which teaches them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from suite.encoder.model import Encoder
from suite.encoder.sample import sample_texts
from suite.encoder.tests.models import write_tiny
from suite.encoder.tests.test_training import QUICK, Killed, every_task, mood_task, silent
from suite.encoder.training.body import body_of, pooling_of
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.loop import fine_tune
from suite.encoder.training.pretraining import pretrain
from suite.encoder.training.progress import Progress
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tasks import TextTask, TrainingError

TEACHING = TrainingConfig(layers=2, epochs=8, minutes=0, learning_rate=3e-3, layer_decay=1, retention=50, evaluations=1)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Encoder:
    folder = write_tiny(tmp_path_factory.mktemp("models") / "teacher", layers=4)
    encoder = Encoder.load(str(folder), threads=1, device="cpu")
    with torch.no_grad():  # as it comes, its layers hardly change what they are given
        for layer in encoder.model.encoder.layer:
            layer.output.dense.weight.mul_(20)
    return encoder.with_body(encoder.model)


def cosine(one: Encoder, other: Encoder, texts: list[str]) -> float:
    return float(np.einsum("nd,nd->n", one.embed(texts), other.embed(texts)).mean())


def test_fewer_layers_learn_the_vectors_of_all(teacher, tmp_path):
    lesson = TextTask("texts", sample_texts(teacher.tokenizer, 300))
    unseen = sample_texts(teacher.tokenizer, 50, seed=1)
    settings = teacher.config_with(num_hidden_layers=2)
    untaught = teacher.with_body(body_of(teacher, TEACHING), settings, pooling_of(teacher, TEACHING))
    taught, _ = fine_tune(teacher, [lesson], TEACHING, RunFolder(tmp_path / "run", "d"), silent)
    assert taught.settings["num_hidden_layers"] == 2
    assert (teacher.pooling.mode, taught.pooling.mode) == ("mean", "funnel")
    assert cosine(taught, teacher, unseen) > cosine(untaught, teacher, unseen) + 0.02
    for name, made in (("small", taught), ("int8", taught.in_int8())):
        made.save(tmp_path / name)
        for engine in ("reference", "torch-fp32"):
            loaded = Encoder.load(str(tmp_path / name), threads=1, engine=engine)
            np.testing.assert_allclose(loaded.embed(unseen), made.embed(unseen), atol=1e-5)
        assert json.loads((tmp_path / name / "encoder.json").read_text())["format"] == 2
    assert taught.fingerprint != untaught.fingerprint != teacher.fingerprint


def test_narrower_feed_forward_parts_keep_their_strongest_units_the_last_all_and_learn(teacher, tmp_path):
    config = replace(TEACHING, layers=0, feed_forward=24)
    student: Any = body_of(teacher, config)
    *narrowed, last = zip(student.encoder.layer, teacher.model.encoder.layer, strict=True)
    torch.testing.assert_close(last[0].state_dict(), last[1].state_dict())
    for own, layer in narrowed:
        up, down = layer.intermediate.dense.weight, layer.output.dense.weight
        kept = (up.norm(dim=1) * down.norm(dim=0)).argsort(descending=True)[:24].sort().values
        torch.testing.assert_close(own.intermediate.dense.weight, up[kept])
        torch.testing.assert_close(own.output.dense.weight, down[:, kept])
    unseen = sample_texts(teacher.tokenizer, 50, seed=1)
    untaught = teacher.with_body(student, teacher.config_with(intermediate_size=24), pooling_of(teacher, config))
    lesson = TextTask("texts", sample_texts(teacher.tokenizer, 300))
    taught, _ = fine_tune(teacher, [lesson], config, RunFolder(tmp_path / "run", "d"), silent)
    assert cosine(taught, teacher, unseen) > cosine(untaught, teacher, unseen)
    for name, made in (("narrow", taught), ("int8", taught.in_int8())):
        made.save(tmp_path / name)
        for engine in taught.engine_names:
            loaded = Encoder.load(str(tmp_path / name), threads=1, engine=engine)
            assert cosine(loaded, made, unseen) > (0.99 if "int8" in engine else 0.9999), engine


def test_a_student_stays_near_its_teacher_on_every_kind_of_task(teacher, tmp_path):
    texts = [text for text, _ in mood_task().validation]
    config = replace(QUICK, layers=2)
    found = {}
    for weight in (0, 50):
        student, progress = fine_tune(
            teacher, every_task(), replace(config, retention=weight), RunFolder(tmp_path / str(weight), "d"), silent
        )
        found[weight] = cosine(student, teacher, texts)
        assert set(progress.evaluations[-1]["metrics"]) == {
            "shop.moods", "shop.pairs", "shop.answers contrastive", "shop.walks next-item"
        }  # fmt: skip
    assert found[50] > found[0] + 0.02


def test_a_killed_lesson_goes_on(teacher, tmp_path):
    config = replace(TEACHING, dropout=0.1, checkpoint_seconds=0.0)
    lesson = [TextTask("texts", sample_texts(teacher.tokenizer, 64))]
    whole, _ = fine_tune(teacher, lesson, config, RunFolder(tmp_path / "whole", "d"), silent)
    folder, seen = RunFolder(tmp_path / "run", "d"), []

    def report(progress: Progress) -> None:
        seen.append(progress.batch)
        if len(seen) == 5:
            raise Killed

    with pytest.raises(Killed):
        fine_tune(teacher, lesson, config, folder, report)
    student, _ = fine_tune(teacher, lesson, config, folder, report)
    assert seen[5] >= 4  # it did not begin again
    texts = sample_texts(teacher.tokenizer, 20, seed=2)
    np.testing.assert_allclose(student.embed(texts), whole.embed(texts), atol=1e-4)


def test_the_first_and_the_last_layer_are_kept_and_the_teacher_is_not_touched(teacher, tmp_path):
    before = {name: tensor.clone() for name, tensor in teacher.model.state_dict().items()}
    student: Any = body_of(teacher, TEACHING)
    for own, place in zip(student.encoder.layer, (0, 3), strict=True):
        torch.testing.assert_close(own.state_dict(), teacher.model.encoder.layer[place].state_dict())
    lesson = TextTask("texts", ["a tent", "a boat"])
    fine_tune(teacher, [lesson], replace(TEACHING, layers=1, epochs=1), RunFolder(tmp_path, "d"), silent)
    torch.testing.assert_close(teacher.model.state_dict(), before)


def test_a_student_teaches_a_smaller_one_but_cannot_guess_masked_tokens(teacher, tmp_path):
    texts = sample_texts(teacher.tokenizer, 64)
    lesson = [TextTask("texts", texts)]
    first, _ = fine_tune(teacher, lesson, replace(TEACHING, layers=3, epochs=1), RunFolder(tmp_path / "3", "d"), silent)
    second, _ = fine_tune(first, lesson, TEACHING, RunFolder(tmp_path / "2", "d"), silent)
    assert (second.settings["num_hidden_layers"], second.pooling.mode) == (2, "funnel")
    untaught = first.with_body(body_of(first, TEACHING), first.config_with(num_hidden_layers=2))
    assert cosine(second, first, texts) > cosine(untaught, first, texts) + 0.02
    with pytest.raises(TrainingError, match="gives no states of tokens, as it was made smaller: pretrain the large"):
        pretrain(second, texts, TrainingConfig(epochs=1, hard_negatives=0, retention=0), RunFolder(tmp_path, "d"),
                 silent)  # fmt: skip


def test_what_cannot_be_is_said(teacher, tmp_path):
    with pytest.raises(TrainingError, match="layers must be fewer than the body's 4, not 4"):
        fine_tune(teacher, [mood_task()], replace(TEACHING, layers=4), RunFolder(tmp_path, "d"), silent)
    with pytest.raises(TrainingError, match="feed_forward must be less than the body's 64, not 64"):
        fine_tune(
            teacher, [mood_task()], replace(TEACHING, layers=0, feed_forward=64), RunFolder(tmp_path, "d"), silent
        )
    other = teacher.with_body(teacher.model, teacher.config_with(model_type="other"))
    with pytest.raises(TrainingError, match="a body of kind 'other' cannot be made smaller yet"):
        fine_tune(other, [mood_task()], TEACHING, RunFolder(tmp_path, "d"), silent)
