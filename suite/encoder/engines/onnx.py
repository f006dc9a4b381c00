"""The body as an ONNX graph, run by ONNX Runtime in padded batches; the packages are optional. CPU only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from suite.encoder.checkpoint import CLS, MEAN
from suite.encoder.engines.body import Body, Layer, Linear
from suite.encoder.engines.packed import INT8, has_vnni
from suite.encoder.engines.padded import pad

OPSET, MICROSOFT_OPSET, IR_VERSION = 17, 1, 9
CONTRIBUTED = "com.microsoft"  # operators of ONNX Runtime alone: whole attention, residual with norm


class ONNXEngine:
    """A session on one graph; safe to use from several threads, each call runs in its caller's."""

    def __init__(self, body: Body, pooling: str, precision: str) -> None:
        import onnxruntime

        graph = Graph(body, pooling).model()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        content = quantised(graph) if precision == INT8 else graph.SerializeToString()
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def vectors(self, ids: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors, float32 (b, d), of b texts given as token ids."""
        padded, is_token = pad(ids, 0)
        return self.session.run(None, {"ids": padded.astype(np.int32), "is_token": is_token.astype(np.int32)})[0]


def quantised(graph: Any) -> bytes:
    """The same graph with weights in int8; activations are quantised as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        options = {"DefaultTensorType": 1}  # float: types are not inferred through contributed operators
        quantize_dynamic(graph, path, per_channel=True, reduce_range=not has_vnni(), weight_type=QuantType.QInt8,
                         extra_options=options)  # fmt: skip
        return path.read_bytes()


class Graph:
    """Builds the graph: ids and is_token, both int32 (b, t), -> vectors, float32 (b, d)."""

    def __init__(self, body: Body, pooling: str) -> None:
        self.body, self.pooling = body, pooling
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def model(self) -> Any:
        from onnx import TensorProto, helper

        vectors = self.unit(self.pool(self.states()))
        both = [helper.make_tensor_value_info(name, TensorProto.INT32, ["b", "t"]) for name in ("ids", "is_token")]
        self.nodes.append(helper.make_node("Identity", [vectors], ["vectors"]))
        out = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["b", self.body.dimensions])
        graph = helper.make_graph(self.nodes, "body", both, [out], self.tensors)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIBUTED, MICROSOFT_OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def states(self) -> str:
        """(b, t, d) after the last layer; (b, 1, d) where one is all that is wanted of it."""
        body = self.body
        length = self.add("Gather", self.add("Shape", "ids"), self.whole([1]))
        positions = self.add("Slice", self.tensor(body.positions), self.whole([0]), length, self.whole([0]))
        words = self.add("Gather", self.tensor(body.words), "ids")
        states = self.add(
            "LayerNormalization",
            self.add("Add", words, positions),
            self.tensor(body.embedding_norm.weight),
            self.tensor(body.embedding_norm.bias),
            epsilon=body.epsilon,
        )
        for number, layer in enumerate(body.layers, start=1):
            mix, up, down = layer.mix, layer.up, layer.down
            if number < len(body.layers) or self.pooling == MEAN:
                asking = states
                mixed = self.add(
                    "Attention", self.scaled(states, layer.qkv), self.tensor(layer.qkv.weight.T),
                    self.tensor(layer.qkv.bias), "is_token", domain=CONTRIBUTED, num_heads=body.heads,
                )  # fmt: skip
            else:  # one state of each text is all that is wanted of the last layer
                asking = self.add("Unsqueeze", self.first(states) if self.pooling == CLS else self.mean(states),
                                  self.whole([1]))  # (b, 1, d)  # fmt: skip
                mixed = self.asked(asking, states, layer)
            states = self.residual(self.multiply(mixed, mix), asking, layer.attention_norm, mix.bias)
            inner = self.multiply(states, up)
            gelu = "BiasGelu" if body.approximation == "none" else "FastGelu"
            inner = self.add(gelu, inner, self.tensor(up.bias), domain=CONTRIBUTED)
            states = self.residual(self.multiply(inner, down), states, layer.norm, down.bias)
        return states

    def multiply(self, states: str, linear: Linear) -> str:
        """The product without its bias."""
        return self.add("MatMul", self.scaled(states, linear), self.tensor(linear.weight.T))

    def scaled(self, states: str, linear: Linear) -> str:
        return states if linear.by is None else self.add("Mul", states, self.tensor(linear.by))

    def residual(self, new: str, states: str, norm: Any, bias: torch.Tensor) -> str:
        parts = (self.tensor(norm.weight), self.tensor(norm.bias), self.tensor(bias))
        return self.add("SkipLayerNormalization", new, states, *parts, domain=CONTRIBUTED, epsilon=self.body.epsilon)

    def pool(self, states: str) -> str:
        """(b, t or 1, d) -> (b, d)."""
        return self.mean(states) if self.pooling == MEAN else self.first(states)

    def first(self, states: str) -> str:
        return self.add("Gather", states, self.tensor(np.array(0)), axis=1)

    def mean(self, states: str) -> str:
        weights = self.add("Unsqueeze", self.add("Cast", "is_token", to=1), self.whole([2]))  # (b, t, 1); 1: float
        total = self.add("ReduceSum", self.add("Mul", states, weights), self.whole([1]), keepdims=0)
        return self.add("Div", total, self.add("ReduceSum", weights, self.whole([1]), keepdims=0))

    def asked(self, asking: str, states: str, layer: Layer) -> str:
        """What attention gives to the one state of each text that asks, (b, 1, d)."""
        query, answers = layer.qkv.divided(self.body.dimensions)
        parts = [(asking, query), *((states, one) for one in answers.divided(self.body.dimensions))]
        given = [self.multiply(which, linear) for which, linear in parts]
        return self.add("MultiHeadAttention", *given, self.tensor(layer.qkv.bias), "is_token",
                        domain=CONTRIBUTED, num_heads=self.body.heads)  # fmt: skip

    def unit(self, vectors: str) -> str:
        return self.add("LpNormalization", vectors, axis=1, p=2)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One more node; returns the name of what it gives."""
        from onnx import helper

        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def tensor(self, values: torch.Tensor | np.ndarray) -> str:
        from onnx import numpy_helper

        array = np.asarray(values.numpy() if isinstance(values, torch.Tensor) else values, order="C")
        name = f"t{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def whole(self, numbers: list[int]) -> str:
        return self.tensor(np.array(numbers, dtype=np.int64))
