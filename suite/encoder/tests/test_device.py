"""What a GPU would be given. Torch's meta device stands in for one: it holds no values, but what is computed with
tensors of two devices fails there, too."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from suite.encoder import engines
from suite.encoder.engines.packed import ask_by_kernel, attend_by_kernel
from suite.encoder.model import Encoder
from suite.encoder.tests.models import write_tiny
from suite.encoder.tests.test_training import QUICK, contrastive_task, mood_task, next_task, pair_task
from suite.encoder.training.loop import Run
from suite.encoder.training.packing import PackedBody, Packing
from suite.encoder.training.packing import attend_by_kernel as packed_attention
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tasks import plain_texts

ELSEWHERE = torch.device("meta")
IDS = [np.arange(1, 6), np.arange(1, 4), np.arange(1, 4)]
AdamW = torch.optim.AdamW


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Encoder:
    return Encoder.load(str(write_tiny(tmp_path_factory.mktemp("small") / "body", layers=3)), threads=1, device="cpu")


@pytest.fixture
def fetched() -> Iterator[list[torch.Tensor]]:
    """What is brought back from the device; values that are asked for on the way are made up."""
    found: list[torch.Tensor] = []

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        found.append(tensor)
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    def tolist(tensor: torch.Tensor) -> Any:
        return cpu(tensor).detach().numpy().tolist()

    def unfused(groups: Any, weight_decay: float, fused: bool) -> torch.optim.Optimizer:
        return AdamW(groups, weight_decay=weight_decay, foreach=False)

    with ExitStack() as stack:
        for name, value in {"cpu": cpu, "tolist": tolist, "__bool__": lambda one: True, "__float__": lambda one: 1.0,
                            "item": lambda one: 1.0}.items():  # fmt: skip
            stack.enter_context(mock.patch.object(torch.Tensor, name, value))
        stack.enter_context(mock.patch.object(torch, "autocast", lambda *given, **named: nullcontext()))
        stack.enter_context(mock.patch.object(torch.optim, "AdamW", unfused))
        yield found


@pytest.mark.parametrize("pooling", ["mean", "cls", "funnel"])
@pytest.mark.parametrize("name", ["torch-fp32", "torch-bf16"])
def test_an_engine_computes_where_its_weights_are(small, fetched, pooling, name):
    engine: Any = engines.build(name, small.settings, small.model.state_dict(), pooling, ELSEWHERE, 1)
    if name == engines.NARROW:  # as on a GPU
        engine.attend_by, engine.ask_by = attend_by_kernel, ask_by_kernel
    engine.vectors(IDS)
    [vectors] = fetched
    assert (vectors.device, vectors.dtype, vectors.shape) == (ELSEWHERE, torch.float32, (3, 32))


@pytest.mark.parametrize("task", [mood_task(), pair_task(), contrastive_task(), next_task()], ids=lambda one: one.kind)
@pytest.mark.parametrize(
    "change",
    [{}, {"layers": 2, "feed_forward": 32}, {"adversarial": 0.1}, {"item_residual": 0.1}],
    ids=["all", "student", "adversarial", "residual"],
)
@pytest.mark.parametrize("is_packed", [True, False])
def test_a_run_trains_where_its_body_is(small, fetched, tmp_path, task, change, is_packed):
    body = copy.deepcopy(small.model).to(ELSEWHERE)
    there = Encoder(body, small.tokenizer, small.pooling, {}, body="small", weights=None, device=ELSEWHERE,
                    config=small.config_with(weights=""), threads=1)  # fmt: skip
    config = replace(QUICK, precision="float32", plain_texts=0.3, **change)
    run = Run(there, [task, *plain_texts([task], ["a tent", "a lamp"])], config, RunFolder(tmp_path, "d"))
    if is_packed:  # as on a GPU that knows bfloat16
        run.body.packed = PackedBody(run.body.above, run.body.settings, False)
    for _ in range(4):
        run.one_batch()
    assert run.measured().keys() == {run.tasks[0].name}
    assert {one.device.type for one in run.trained().values()} == {"meta"}


def test_attention_has_its_way_back_on_a_gpu():
    """Under the signature of the kernel, which is of bfloat16 alone."""
    packing = Packing([5, 3, 3], 5, ELSEWHERE, 1)
    given = [torch.empty(11, 32, device=ELSEWHERE, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    query, key, value = given
    packed_attention(query, key, value, 4, packing).sum().backward()
    assert [one.grad.shape for one in given if one.grad is not None] == [(11, 32)] * 3
