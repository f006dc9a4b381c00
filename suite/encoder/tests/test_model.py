from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from suite.encoder import checkpoint, engines, model
from suite.encoder.batching import batches
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.model import Encoder
from suite.encoder.tests.conftest import write_pooling
from suite.encoder.tests.models import DEFAULT

TEXTS = [
    "A lightweight tent for two",
    "",
    "Where is my parcel? " * 40,
    "双人轻便帐篷，防风防雨",
    "Shares fell 3.2% after the bank cut its outlook; analysts had hoped for more.",
    "tent",
    "naïve café — £12 🙂",
]


def reference(folder, texts, *, pooling="mean", max_length) -> np.ndarray:
    """Unit vectors by transformers alone: eager attention, one padded batch."""
    model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.locate(DEFAULT))
    batch = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None]
    pooled = states[:, 0] if pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(pooled, dim=1).numpy()


@pytest.mark.encoder
def test_embeddings_equal_the_transformers_reference(encoder):
    expected = reference(checkpoint.locate(DEFAULT), TEXTS, max_length=256)
    np.testing.assert_allclose(encoder.embed(TEXTS), expected, atol=1e-4)


@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_pooling_is_read_from_the_folder(tiny_copy, mode):
    write_pooling(tiny_copy, pooling_mode_cls_token=mode == "cls", pooling_mode_mean_tokens=mode == "mean")
    expected = reference(tiny_copy, TEXTS, pooling=mode, max_length=64)
    np.testing.assert_allclose(Encoder.load(str(tiny_copy), threads=1).embed(TEXTS), expected, atol=1e-4)


def test_other_pooling_is_refused(tiny_copy):
    write_pooling(tiny_copy, pooling_mode_max_tokens=True)
    with pytest.raises(CheckpointError, match=r"max_tokens.*use mean or cls"):
        Encoder.load(str(tiny_copy))


def test_a_module_that_would_change_the_vector_is_refused(tiny_copy):
    (tiny_copy / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(CheckpointError, match="Dense"):
        Encoder.load(str(tiny_copy))


def test_vectors_come_in_the_order_of_the_texts_whatever_the_batches(tiny, monkeypatch):
    one_by_one = np.vstack([tiny.embed([text]) for text in TEXTS])
    monkeypatch.setitem(engines.TOKENS_A_BATCH, tiny.engine_name, 20)
    monkeypatch.setitem(model.WINDOW, "cpu", 3)
    np.testing.assert_allclose(tiny.embed(TEXTS), one_by_one, atol=1e-5)


def test_vectors_have_unit_length_and_right_type(tiny):
    vectors = tiny.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), tiny.dimensions)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_vectors(tiny):
    assert tiny.embed([]).shape == (0, tiny.dimensions)


def test_a_text_given_twice_is_encoded_once(tiny, monkeypatch):
    encoded: list[np.ndarray] = []
    vectors_of = tiny.engine.vectors

    def counted(ids):
        encoded.extend(ids)
        return vectors_of(ids)

    monkeypatch.setattr(tiny.engine, "vectors", counted)
    vectors = tiny.embed(["tent", "boat", "tent", "tent"])
    assert len(encoded) == 2
    assert (vectors[[2, 3]] == vectors[0]).all()
    assert (vectors[1] != vectors[0]).any()


def test_token_ids_are_taken_in_a_texts_place(tiny, monkeypatch):
    ids = tiny.tokenise(TEXTS)
    np.testing.assert_array_equal(tiny.embed([TEXTS[0], list(ids[1]), *ids[2:], ids[2]])[:-1], tiny.embed(TEXTS))
    monkeypatch.setattr(tiny, "tokenise", lambda texts: [] if not texts else pytest.fail("tokenised again"))
    np.testing.assert_array_equal(tiny.embed(ids), tiny.embed(ids[::-1])[::-1])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "text 1: token ids must be 1 to 64 whole numbers in one row, not float64 (0,)"),
        ([1.5], "not float64 (1,)"),
        ([[1], [2]], "not int64 (2, 1)"),
        ([1] * 65, "must be 1 to 64 whole numbers in one row, not int64 (65,)"),
        ([30_522], "text 1: token ids must be from 0 to 30521"),
        ([-1], "must be from 0 to 30521"),
    ],
)
def test_token_ids_that_are_not_this_models_are_named(tiny, ids, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tiny.embed(["tent", ids])


def test_an_engine_that_is_not_there_is_named(tiny, tiny_folder):
    with pytest.raises(CheckpointError, match="no engine 'steam' here; there are: reference, torch-fp32"):
        tiny.with_engine("steam")
    with pytest.raises(CheckpointError, match="no engine 'steam'"):
        Encoder.load(str(tiny_folder), engine="steam")


def test_a_long_text_is_cut_at_the_models_length(tiny):
    words = "tent " * 20_000
    np.testing.assert_allclose(tiny.embed([words]), tiny.embed(["tent " * 100]), atol=1e-5)


def test_lone_surrogates_and_control_characters_do_no_harm(tiny):
    broken = tiny.embed(["a \ud800 b", "a \x00 b"])
    assert np.isfinite(broken).all()
    np.testing.assert_allclose(broken[0], tiny.embed(["a \ufffd b"])[0], atol=1e-5)


def test_what_is_not_a_text_is_named(tiny):
    with pytest.raises(TypeError, match="text 1 must be a str, not NoneType"):
        tiny.embed(["tent", None])


def test_loading_names_what_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        Encoder.load(str(tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        Encoder.load(str(tmp_path))


def test_weights_that_are_not_all_there_are_refused(tiny_copy):
    weights = load_file(tiny_copy / checkpoint.WEIGHTS)
    del weights["encoder.layer.0.attention.self.query.weight"]
    save_file(weights, tiny_copy / checkpoint.WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lack tensors, such as encoder\.layer\.0\.attention\.self\.query"):
        Encoder.load(str(tiny_copy))


@pytest.mark.parametrize("name", [checkpoint.TOKENIZER, checkpoint.CONFIG, checkpoint.WEIGHTS])
def test_a_plain_model_with_a_broken_file_is_named(tiny_copy, name):
    (tiny_copy / name).write_text("{]")
    with pytest.raises(CheckpointError, match=str(tiny_copy)):
        Encoder.load(str(tiny_copy))


@given(st.lists(st.integers(1, 300), max_size=50), st.integers(1, 600))
def test_batches_hold_every_text_once_within_the_budget(lengths, budget):
    found = list(batches(lengths, budget))
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    for batch in found:
        padded = max(lengths[index] for index in batch) * len(batch)
        assert padded <= budget or len(batch) == 1
    ordered = [lengths[index] for batch in found for index in batch]
    assert ordered == sorted(lengths, reverse=True)


def test_the_quickest_encoder_keeps_the_vectors(tiny, monkeypatch):
    monkeypatch.setattr(tiny, "engine_names", [engines.EXACT, engines.NARROW])
    before = tiny.embed(TEXTS)
    quick = tiny.quickest(TEXTS)
    assert quick.engine_name == engines.NARROW
    assert np.einsum("nd,nd->n", before, quick.embed(TEXTS)).min() > 0.999
    np.testing.assert_array_equal(tiny.embed(TEXTS), before)  # the one it was made of stays as it is
    monkeypatch.setattr(model, "FAITHFUL", 1.1)
    assert tiny.quickest(TEXTS) is tiny
    assert tiny.quickest([]) is tiny


def test_what_is_taught_or_measured_is_never_of_eight_bits(tiny, monkeypatch):
    if "torch-int8" not in tiny.engine_names:
        pytest.skip("no engine of eight bits here")
    serving = tiny.with_engine("torch-int8")
    assert serving.exactly().engine_name == tiny.engine_name and tiny.exactly() is tiny
    monkeypatch.setattr(serving, "engine_names", [engines.EXACT, "torch-int8"])
    np.testing.assert_array_equal(serving.quickest(TEXTS).embed(TEXTS), tiny.embed(TEXTS))
    monkeypatch.setattr(serving, "engine_names", [engines.EXACT, engines.NARROW, "torch-int8"])
    assert serving.quickest(TEXTS).engine_name == engines.NARROW  # near to the exact ones
    monkeypatch.setattr(model, "FAITHFUL", 1.1)
    assert serving.quickest(TEXTS).engine_name == engines.EXACT
