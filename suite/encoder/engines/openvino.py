"""The body compiled by OpenVINO, in padded batches; the package is optional. CPU only."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from suite.encoder.checkpoint import CLS, FUNNEL, MEAN
from suite.encoder.engines.body import Body, Linear, Norm
from suite.encoder.engines.packed import BFLOAT16, FLOAT32, INT8
from suite.encoder.engines.padded import pad, pool

HINTS = {FLOAT32: "f32", BFLOAT16: "bf16", INT8: "f32"}
GROUP = 128  # activations that share a scale where weights are int8


class OpenVINOEngine:
    """A compiled body; safe to use from several threads, each with a request of its own."""

    def __init__(self, body: Body, pooling: str, precision: str, threads: int) -> None:
        import openvino

        example = (torch.ones(2, 4, dtype=torch.long), torch.tensor([[True] * 4, [True] * 3 + [False]]))
        with torch.inference_mode():
            graph = openvino.convert_model(PaddedBody(body, pooling, precision), example_input=example)
        graph.reshape({number: [-1, -1] for number in range(2)})
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
        }
        if precision == INT8:
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = GROUP
        self.compiled = openvino.Core().compile_model(graph, "CPU", settings)
        self.local = threading.local()

    def vectors(self, ids: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors, float32 (b, d), of b texts given as token ids."""
        if not hasattr(self.local, "request"):
            self.local.request = self.compiled.create_infer_request()
        padded, is_token = pad(ids, 0)
        return np.array(self.local.request.infer([padded, is_token])[0])


class PaddedBody(nn.Module):
    """The body as a graph to convert: (b, t) token ids and whether each is a token -> unit vectors (b, d)."""

    def __init__(self, body: Body, pooling: str, precision: str) -> None:
        super().__init__()
        self.body, self.pooling = body, pooling
        self.is_int8 = precision == INT8

    def forward(self, ids: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        body = self.body
        texts, length = ids.shape
        states = functional.embedding(ids, body.words) + body.positions[:length]
        states = self.normalise(states, body.embedding_norm)  # (b, t, d)
        bias = (~is_token)[:, None, None, :].float() * -1e9  # (b, 1, 1, t)
        for number, layer in enumerate(body.layers, start=1):
            if number < len(body.layers) or self.pooling == MEAN:
                asking, parts = states, self.multiply(states, layer.qkv).chunk(3, dim=2)
            else:  # one state of each text is all that is wanted of the last layer
                asking = pool(states, is_token, MEAN if self.pooling == FUNNEL else CLS)[:, None]  # (b, 1, d)
                ask, answer = layer.qkv.divided(body.dimensions)
                parts = (self.multiply(asking, ask), *self.multiply(states, answer).chunk(2, dim=2))
            query, key, value = (self.by_head(part) for part in parts)
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
            mixed = mixed.transpose(1, 2).reshape(texts, -1, body.dimensions)
            states = self.normalise(asking + self.multiply(mixed, layer.mix), layer.attention_norm)
            inner = functional.gelu(self.multiply(states, layer.up), approximate=body.approximation)
            states = self.normalise(states + self.multiply(inner, layer.down), layer.norm)
        return functional.normalize(pool(states, is_token, self.pooling), dim=1)

    def by_head(self, states: torch.Tensor) -> torch.Tensor:
        """(b, t, d) -> (b, heads, t, d / heads)."""
        return states.unflatten(2, (self.body.heads, -1)).transpose(1, 2)

    def multiply(self, states: torch.Tensor, linear: Linear) -> torch.Tensor:
        states = states if linear.by is None else states * linear.by
        if not self.is_int8:
            return functional.linear(states, linear.weight, linear.bias)
        scales = linear.weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127  # (out, 1)
        weight = (linear.weight / scales).round().to(torch.int8)
        return functional.linear(states, weight.to(torch.float32) * scales, linear.bias)

    def normalise(self, states: torch.Tensor, norm: Norm) -> torch.Tensor:
        return functional.layer_norm(states, (self.body.dimensions,), norm.weight, norm.bias, self.body.epsilon)
