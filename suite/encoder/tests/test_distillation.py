from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from suite.encoder.model import Encoder
from suite.encoder.sample import sample_texts
from suite.encoder.tests.models import write_tiny
from suite.encoder.training import distillation
from suite.encoder.training.distillation import distil, pruned
from suite.encoder.training.tasks import TrainingError


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
    texts = sample_texts(teacher.tokenizer, 300)
    unseen = sample_texts(teacher.tokenizer, 50, seed=1)
    untaught = distil(teacher, 2, texts, minutes=1e-9, say=print)
    taught = distil(teacher, 2, texts, minutes=5, epochs=8, say=print)
    assert taught.settings["num_hidden_layers"] == 2
    assert cosine(taught, teacher, unseen) > cosine(untaught, teacher, unseen) + 0.02
    taught.save(tmp_path / "small")
    loaded = Encoder.load(str(tmp_path / "small"), threads=1)
    np.testing.assert_allclose(loaded.embed(unseen), taught.embed(unseen), atol=1e-6)
    assert taught.fingerprint != untaught.fingerprint != teacher.fingerprint


def test_the_first_and_the_last_layer_are_kept_and_the_teacher_is_not_touched(teacher):
    before = {name: tensor.clone() for name, tensor in teacher.model.state_dict().items()}
    student: Any = pruned(teacher, 2)
    for own, place in zip(student.encoder.layer, (0, 3), strict=True):
        torch.testing.assert_close(own.state_dict(), teacher.model.encoder.layer[place].state_dict())
    distil(teacher, 1, ["a tent", "a boat"], minutes=1, epochs=1, say=print)
    torch.testing.assert_close(teacher.model.state_dict(), before)


def test_progress_is_told(teacher, monkeypatch):
    monkeypatch.setattr(distillation, "TELL_SECONDS", 0)
    said: list[str] = []
    distil(teacher, 1, ["a tent", "a boat"], minutes=1, epochs=2, say=said.append)
    assert [line.split(",")[0] for line in said] == ["Teaching 1 layers: 0%", "Teaching 1 layers: 50%"]


@pytest.mark.parametrize(
    ("layers", "texts", "message"),
    [
        (4, ["a tent"], "layers must be 1 at least and fewer than the body's 4, not 4"),
        (0, ["a tent"], "fewer than the body's 4, not 0"),
        (2, [], "there are no texts to learn from"),
    ],
)
def test_what_cannot_be_is_said(teacher, layers, texts, message):
    with pytest.raises(TrainingError, match=message):
        distil(teacher, layers, texts, minutes=1, say=print)
