from __future__ import annotations

import shutil
import threading
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from suite.encoder import batching, engines, model
from suite.encoder.batching import Lanes
from suite.encoder.engines import packed
from suite.encoder.engines.body import MissingWeights, UnknownBody, is_known, read
from suite.encoder.engines.packed import PackedEngine
from suite.encoder.engines.padded import PaddedEngine, pooled_by
from suite.encoder.engines.smoothing import smoothed
from suite.encoder.model import Encoder
from suite.encoder.tests.test_model import TEXTS

CPU = torch.device("cpu")
EXACT = ["torch-fp32", "openvino-fp32", "onnx-fp32"]
NARROW = {"torch-bf16": 0.999, "torch-int8": 0.995, "openvino-bf16": 0.999, "openvino-int8": 0.99, "onnx-int8": 0.985}
BERT = {"model_type": "bert"}


def with_engine(encoder: Encoder, name: str) -> Encoder:
    if name not in encoder.engine_names:
        pytest.skip(f"{name} is not to be had on this machine")
    return encoder.with_engine(name)


@pytest.mark.encoder
@pytest.mark.parametrize("name", EXACT)
def test_an_exact_engine_equals_the_reference(encoder, name):
    expected = encoder.with_engine(engines.REFERENCE).embed(TEXTS)
    np.testing.assert_allclose(with_engine(encoder, name).embed(TEXTS), expected, atol=1e-4)


@pytest.mark.encoder
@pytest.mark.parametrize("name", NARROW)
def test_a_narrow_engine_is_near_the_reference(encoder, name):
    texts = [text for text in TEXTS if text]
    found, expected = with_engine(encoder, name).embed(texts), encoder.embed(texts)
    assert NARROW[name] < np.einsum("nd,nd->n", found, expected).mean() < 1.0001
    assert np.abs(found - expected).max() > 1e-4  # it is another engine


@pytest.mark.encoder
@pytest.mark.parametrize("has_vnni", [False, True])
def test_eight_bits_will_do_with_either_operator(encoder, has_vnni, monkeypatch):
    if has_vnni and not packed.has_vnni():
        pytest.skip("the machine has no VNNI")
    monkeypatch.setattr(packed, "has_vnni", lambda: has_vnni)
    found = encoder.with_engine("torch-int8").embed(TEXTS)
    assert 0.995 < np.einsum("nd,nd->n", found, encoder.embed(TEXTS)).mean() < 1.0001


@pytest.mark.encoder
@pytest.mark.parametrize("mode", ["mean", "funnel"])
def test_smoothing_leaves_the_vectors_and_brings_eight_bits_nearer_to_them(encoder, mode):
    body, ids = read(encoder.settings, encoder.model.state_dict()), encoder.ids_of([text for text in TEXTS if text])
    even = smoothed(body, mode)
    exact = PackedEngine(body, mode, "fp32", CPU).vectors(ids)
    np.testing.assert_allclose(PackedEngine(even, mode, "fp32", CPU).vectors(ids), exact, atol=1e-4)
    rough, near = (PackedEngine(one, mode, packed.INT8, CPU).vectors(ids) for one in (body, even))
    lost = [1 - np.einsum("nd,nd->n", found, exact).mean() for found in (rough, near)]
    assert lost[1] < (0.5 if packed.has_vnni() else 0.8) * lost[0]  # it is a third, and two thirds


def test_a_body_reads_no_more_tokens_than_it_has_positions_for(tiny_folder, tmp_path):
    from transformers import RobertaConfig, RobertaModel

    folder = Path(shutil.copytree(tiny_folder, tmp_path / "roberta"))
    size = Encoder.load(str(tiny_folder), threads=1, device="cpu").tokenizer.get_vocab_size()
    config = RobertaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=64, num_attention_heads=4, num_hidden_layers=1,
        max_position_embeddings=26, pad_token_id=1,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    encoder = Encoder.load(str(folder), threads=1, device="cpu")
    assert encoder.pooling.max_length == 24  # its first two positions are no token's
    for name in encoder.engine_names:
        assert np.isfinite(encoder.with_engine(name).embed(["a very long text " * 50])).all()


@pytest.mark.parametrize("mode", ["mean", "cls", "funnel"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_every_kind_of_body_equals_its_transformers_model(family, mode, activation):
    from transformers import AutoModel, BertConfig, RobertaConfig

    torch.manual_seed(0)
    kind = BertConfig if family == "bert" else RobertaConfig
    config = kind(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=40,
        hidden_act=activation,
        initializer_range=0.5,
        pad_token_id=1,
    )
    model = pooled_by(mode, AutoModel.from_config(config).eval())
    ids = [np.random.default_rng(length).integers(2, 100, length) for length in (20, 20, 7, 3, 3, 1)]
    reference = PaddedEngine(model, mode, 1).vectors(ids)
    alone = np.concatenate([PaddedEngine(model, mode, 1).vectors([one]) for one in ids])  # without padding
    np.testing.assert_allclose(alone, reference, atol=1e-5)
    tensors = {f"{family}.{name}": tensor for name, tensor in model.state_dict().items()}
    for name in engines.available(config.to_dict(), CPU)[1:]:
        found = engines.build(name, config.to_dict(), tensors, mode, CPU, 1).vectors(ids)
        if name in EXACT:
            is_near = name == "onnx-fp32" and activation == "gelu_new"  # its operator has another approximation
            np.testing.assert_allclose(found, reference, atol=1e-3 if is_near else 1e-5)
        else:
            assert np.einsum("nd,nd->n", found, reference).mean() > 0.98


def test_eight_bits_without_vnni_multiply_no_more_rows_than_there_are_tokens(tiny, monkeypatch):
    monkeypatch.setattr(packed, "is_compiled_int8", lambda: False)
    rows = []

    def noted(multiply):
        def noting(states):
            rows.append(len(states))
            return multiply(states)

        return noting

    for pooling, part, expected in (("mean", "qkv", 7), ("cls", "query", 2)):  # of two texts with seven tokens
        engine = PackedEngine(read(tiny.settings, tiny.model.state_dict()), pooling, packed.INT8, CPU)
        layer = engine.last or engine.layers[0]
        setattr(layer, part, noted(getattr(layer, part)))
        engine.vectors([np.array([101, 2000, 2001, 2002, 102]), np.array([101, 102])])
        assert rows.pop() == expected


@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_the_kernel_of_a_gpu_is_asked_for_each_text_alone(monkeypatch, tiny, mode):
    """The variable-length kernel runs on GPUs only; here stands a plain one, which reads the same arguments."""

    def varlen_attn(query, key, value, starts, key_starts, longest, longest_key):
        assert (starts.dtype, query.dtype) == (torch.int32, torch.bfloat16)
        assert (longest, longest_key) == (int(starts.diff().max()), int(key_starts.diff().max()))
        asked.append(longest)
        out = torch.empty_like(query)
        texts, keys = (list(pairwise(one.tolist())) for one in (starts, key_starts))
        for (start, end), (first, last) in zip(texts, keys, strict=True):
            parts = [query[start:end], key[first:last], value[first:last]]
            mixed = torch.nn.functional.scaled_dot_product_attention(*(one.transpose(0, 1) for one in parts))
            out[start:end] = mixed.transpose(0, 1)
        return out

    asked: list[int] = []
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    ids = tiny.tokenise(TEXTS)
    body = read(tiny.settings, tiny.model.state_dict())
    on_cpu, on_gpu = (PackedEngine(body, mode, packed.BFLOAT16, CPU) for _ in range(2))
    on_gpu.attend_by, on_gpu.ask_by = packed.attend_by_kernel, packed.ask_by_kernel
    found = on_gpu.vectors(ids)
    assert (asked[-1] == 1) == (mode == "cls")  # the last layer asks once a text
    np.testing.assert_allclose(found, on_cpu.vectors(ids), atol=5e-3)
    np.testing.assert_allclose(found, PackedEngine(body, mode, "fp32", CPU).vectors(ids), atol=2e-2)


def test_the_order_of_a_batch_does_not_matter(tiny):
    ids = tiny.tokenise([*TEXTS, *TEXTS[::-1]])
    body = read(tiny.settings, tiny.model.state_dict())
    found = PackedEngine(body, "mean", "fp32", CPU).vectors(ids)
    np.testing.assert_allclose(found, found[::-1], atol=1e-6)


def test_what_is_no_such_body_is_said(tiny):
    assert not is_known({"model_type": "mpnet"})
    assert not is_known(BERT | {"hidden_act": "silu"})
    assert not is_known(BERT | {"position_embedding_type": "relative_key"})
    assert engines.available({"model_type": "mpnet"}, CPU) == [engines.REFERENCE]
    with pytest.raises(UnknownBody, match="mpnet"):
        read({"model_type": "mpnet"}, {})
    tensors = tiny.model.state_dict()
    del tensors["encoder.layer.0.output.dense.bias"]
    with pytest.raises(MissingWeights, match=r"encoder\.layer\.0\.output\.dense\.bias"):
        read(tiny.settings, tensors)


def test_a_machine_is_described_by_what_decides(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    with_amx = engines.capability(CPU)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert with_amx.split() == ["cpu", *with_amx.split()[1:]]
    assert "amx" in with_amx.split()
    assert "amx" not in engines.capability(CPU).split()


# Lanes -------------------------------------------------------------------------------------------------------
def test_lanes_answer_in_order_and_keep_few_waiting():
    begun: list[int] = []

    def slow(number: int) -> int:
        begun.append(number)
        time.sleep(0.02 * (number % 3))
        return number

    answers = Lanes(2, 0).map(slow, iter(range(20)))
    assert next(answers) == 0
    assert len(begun) <= 1 + batching.AHEAD * 2
    assert list(answers) == list(range(1, 20))


def test_two_callers_share_the_lanes():
    done: list[str] = []
    shared = Lanes(1, 0)

    def work(name: str) -> None:
        time.sleep(0.01)
        done.append(name)

    flood = threading.Thread(target=lambda: list(shared.map(work, ["flood"] * 40)))
    flood.start()
    time.sleep(0.02)
    list(shared.map(work, ["small"] * 2))
    assert done.count("flood") < 20  # not at the end of the queue
    flood.join()


def test_a_lane_has_one_core_and_gives_way(monkeypatch):
    niceness = []
    monkeypatch.setattr(batching.os, "getpriority", lambda *_: 2)
    monkeypatch.setattr(batching.os, "setpriority", lambda *arguments: niceness.append(arguments[-1]))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threads = set(Lanes(3, 5).map(lambda _: (torch.get_num_threads(), threading.get_native_id()), range(30)))
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert {count for count, _ in threads} == {1}
    assert niceness == [7] * 3
    assert later == [2]  # what is no lane keeps its threads


def test_a_lone_request_goes_before_a_flood(tiny, monkeypatch):
    asked = []

    def lanes(count: int, niceness: int) -> Lanes:
        asked.append(niceness)
        return batching.lanes(count, niceness)

    monkeypatch.setattr(model, "lanes", lanes)
    tiny.embed(["tent"])
    tiny.embed([f"tent {number}" for number in range(400)])
    assert asked == [batching.PROMPT, batching.YIELDING]


def test_an_error_in_a_lane_reaches_the_caller(tiny, monkeypatch):
    monkeypatch.setitem(engines.TOKENS_A_BATCH, tiny.engine_name, 8)
    failing = SimpleNamespace(vectors=lambda ids: 1 / 0)
    monkeypatch.setitem(tiny.__dict__, "engine", failing)
    with pytest.raises(ZeroDivisionError):
        tiny.embed(TEXTS)
