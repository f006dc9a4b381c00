"""The body in torch without padding: the tokens of all texts of a batch stand one after another.

Everything but attention is the same for every token, so it runs on the (tokens, d) matrix as it is. Attention runs by
stretches of texts of one length on the CPU, and by one variable-length kernel on a GPU; neither needs a mask.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import torch
from torch.nn import functional

from suite.encoder.checkpoint import CLS, MEAN
from suite.encoder.engines.body import Body, Layer, Linear, Norm

FLOAT32, BFLOAT16, INT8 = "fp32", "bf16", "int8"
FEW_TOKENS, FINE, COARSE = 256, 16, 64  # up to so many tokens, and the steps in which a batch grows below and above it
LEAST = 0.17  # how far GELU falls below 0, nearly
STEPS, TINY = 255, 1e-8  # of 8 bits; the least scale
Multiply = Callable[[torch.Tensor], torch.Tensor]


class PackedEngine:
    """A body in one precision on one device; safe to use from several threads."""

    def __init__(self, body: Body, pooling: str, precision: str, device: torch.device) -> None:
        dtype = torch.bfloat16 if precision == BFLOAT16 else torch.float32
        self.pooling, self.device = pooling, device
        has_kernel = device.type == "cuda" and dtype == torch.bfloat16
        self.attend_by = attend_by_kernel if has_kernel else attend_by_stretches
        self.ask_by = ask_by_kernel if has_kernel else ask_by_stretches
        is_compiled = is_compiled_int8() if precision == INT8 else is_reordered_faster(dtype)
        self.is_stepped = device.type == "cpu" and is_compiled
        self.heads, self.dimensions, self.epsilon = body.heads, body.dimensions, body.epsilon
        self.words = body.words.to(device, dtype)
        self.positions = body.positions.to(device, dtype)
        self.norm = moved(body.embedding_norm, device, dtype)
        lower = body.layers if pooling == MEAN else body.layers[:-1]
        self.layers = [PackedLayer(layer, body.approximation, precision, device) for layer in lower]
        self.last = None
        if pooling != MEAN:
            self.last = PackedLayer(body.layers[-1], body.approximation, precision, device, is_asked_once=True)

    @torch.inference_mode()
    def vectors(self, ids: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors, float32 (b, d), of b texts given as token ids, best in order of their length."""
        count = len(ids)
        if self.is_stepped:
            ids = stepped(ids)
        batch = Batch([len(one) for one in ids], self.device)
        tokens = torch.from_numpy(np.concatenate(ids).astype(np.int32)).to(self.device)  # (t,)
        states = functional.embedding(tokens, self.words) + functional.embedding(batch.places, self.positions)
        states = self.normalise(states, self.norm)  # (t, d)
        for layer in self.layers:
            states = self.through(layer, states, self.attend_by(layer.qkv(states), self.heads, batch))
        pooled = batch.first(states) if self.pooling == CLS else batch.mean(states)  # (b, d)
        if self.last:
            pooled = self.asked(self.last, pooled.to(states.dtype), states, batch)
        return functional.normalize(pooled[:count].float(), dim=1).cpu().numpy()

    def asked(self, layer: PackedLayer, asking: torch.Tensor, states: torch.Tensor, batch: Batch) -> torch.Tensor:
        """What the layer makes of one state of each text, (b, d), that asks all states of that text, (t, d)."""

        def rounded(rows: torch.Tensor) -> torch.Tensor:  # up, as `stepped` does
            return functional.pad(rows, (0, 0, 0, -len(rows) % FINE)) if self.is_stepped else rows

        query = layer.query(rounded(asking))[: len(asking)]
        mixed = self.ask_by(query, layer.keys_values(states), self.heads, batch)
        return self.through(layer, rounded(asking), rounded(mixed))[: len(asking)]

    def through(self, layer: PackedLayer, states: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        """The layer's states of those before it and what attention made of them, each (t, d)."""
        states = self.normalise(layer.mix(mixed).add_(states), layer.attention_norm)
        return self.normalise(layer.down(layer.up(states)).add_(states), layer.norm)

    def normalise(self, states: torch.Tensor, norm: Norm) -> torch.Tensor:
        return functional.layer_norm(states, (self.dimensions,), norm.weight, norm.bias, self.epsilon)


def stepped(ids: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """The texts and one of padding that rounds their tokens up: oneDNN compiles its products for every number of rows
    that it meets, which takes as long as the product itself, and keeps them."""
    tokens = sum(len(one) for one in ids)
    missing = -tokens % (FINE if tokens <= FEW_TOKENS else COARSE)
    return [*ids, np.zeros(missing, dtype=np.int32)] if missing else ids


class Batch:
    """Where the texts of a batch lie among its tokens."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        ends = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)
        self.longest = max(lengths)
        self.places = torch.from_numpy(places.astype(np.int32)).to(device)  # (t,) of each token in its text
        self.ends = torch.from_numpy(ends.astype(np.int32)).to(device)  # (b + 1,) first token of each, then the end
        self.stretches: list[tuple[int, int, int]] = []  # (first token, texts, length of each)
        start = 0
        for length, texts in groupby(lengths):
            count = len(list(texts))
            self.stretches.append((start, count, length))
            start += count * length

    def first(self, states: torch.Tensor) -> torch.Tensor:
        """(t, d) -> float32 (b, d)."""
        return states[self.ends[:-1]].float()

    def mean(self, states: torch.Tensor) -> torch.Tensor:
        """(t, d) -> float32 (b, d)."""
        return torch.segment_reduce(states.float(), "mean", offsets=self.ends.long())


def attend_by_stretches(qkv: torch.Tensor, heads: int, batch: Batch) -> torch.Tensor:
    """Every token's mixture of the values of its own text, (t, 3d) -> (t, d), for texts of one length at a time."""
    tokens, size = len(qkv), qkv.shape[1] // 3 // heads
    out = qkv.new_empty(tokens, heads * size)
    for start, count, length in batch.stretches:
        part = slice(start, start + count * length)
        query, key, value = qkv[part].view(count, length, 3, heads, size).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)  # (count, heads, length, size)
        out[part].view(count, length, heads, size).copy_(mixed.transpose(1, 2))
    return out


def attend_by_kernel(qkv: torch.Tensor, heads: int, batch: Batch) -> torch.Tensor:
    """The same by one kernel for texts of any lengths, on a GPU."""
    from torch.nn.attention.varlen import varlen_attn  # in torch since 2.10

    query, key, value = qkv.view(len(qkv), 3, heads, -1).unbind(1)  # each (t, heads, size)
    mixed = varlen_attn(query, key, value, batch.ends, batch.ends, batch.longest, batch.longest)
    assert isinstance(mixed, torch.Tensor)  # a pair only where more is asked for
    return mixed.reshape(len(qkv), -1)


def ask_by_stretches(query: torch.Tensor, keys_values: torch.Tensor, heads: int, batch: Batch) -> torch.Tensor:
    """The mixture of the values of its text's tokens, (t, 2d), for one query of each text, (b, d) -> (b, d)."""
    size = query.shape[1] // heads
    out = torch.empty_like(query)
    first = 0
    for start, count, length in batch.stretches:
        part, asking = slice(start, start + count * length), slice(first, first + count)
        key, value = keys_values[part].view(count, length, 2, heads, size).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query[asking].view(count, heads, 1, size), key, value)
        out[asking].view(count, heads, 1, size).copy_(mixed)
        first += count
    return out


def ask_by_kernel(query: torch.Tensor, keys_values: torch.Tensor, heads: int, batch: Batch) -> torch.Tensor:
    """The same by one kernel, on a GPU."""
    from torch.nn.attention.varlen import varlen_attn

    key, value = keys_values.view(len(keys_values), 2, heads, -1).unbind(1)  # each (t, heads, size)
    each = torch.arange(len(query) + 1, dtype=torch.int32, device=query.device)
    mixed = varlen_attn(query.view(len(query), heads, -1), key, value, each, batch.ends, 1, batch.longest)
    assert isinstance(mixed, torch.Tensor)
    return mixed.reshape(len(query), -1)


class PackedLayer:
    """One layer's products, each a function of (t, in) -> (t, out). Where one state of each text is all that is wanted
    of it, all but `keys_values` is done once a text."""

    def __init__(
        self, layer: Layer, approximation: str, precision: str, device: torch.device, *, is_asked_once: bool = False
    ) -> None:
        def multiply(linear: Linear, *, gelu: bool = False) -> Multiply:
            return multiplication(linear, approximation if gelu else None, precision, device)

        dtype = torch.bfloat16 if precision == BFLOAT16 else torch.float32
        if is_asked_once:
            self.query, self.keys_values = map(multiply, layer.qkv.divided(len(layer.mix.bias)))
        else:
            self.qkv = multiply(layer.qkv)
        self.mix = multiply(layer.mix)
        self.up = multiply(layer.up, gelu=True)
        self.down = row_by_row(layer.down) if precision == INT8 else multiply(layer.down)
        self.attention_norm = moved(layer.attention_norm, device, dtype)
        self.norm = moved(layer.norm, device, dtype)


def moved(norm: Norm, device: torch.device, dtype: torch.dtype) -> Norm:
    return Norm(norm.weight.to(device, dtype), norm.bias.to(device, dtype))


def multiplication(linear: Linear, approximation: str | None, precision: str, device: torch.device) -> Multiply:
    """x -> (x * by) @ weight.T + bias, with GELU after it where an `approximation` of it is named."""
    multiply, by = product(linear, approximation, precision, device), linear.by
    return multiply if by is None else lambda x: multiply(x * by)


def product(linear: Linear, approximation: str | None, precision: str, device: torch.device) -> Multiply:
    if precision == INT8:
        return int8_product(linear.weight, linear.bias, approximation)
    dtype = torch.bfloat16 if precision == BFLOAT16 else torch.float32
    if device.type == "cpu" and is_reordered_faster(dtype):
        return reordered_product(linear, approximation, dtype)
    weight, bias = linear.weight.to(device, dtype), linear.bias.to(device, dtype)
    return with_gelu(lambda x: functional.linear(x, weight, bias), approximation)


def with_gelu(multiply: Multiply, approximation: str | None) -> Multiply:
    if approximation is None:
        return multiply
    return lambda x: torch.ops.aten.gelu_(multiply(x), approximate=approximation)  # in place: it is read once more


def is_reordered_faster(dtype: torch.dtype) -> bool:
    """Whether oneDNN's own kernels are the fastest for such products on this CPU. With AVX2 alone MKL is as fast."""
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


def reordered_product(linear: Linear, approximation: str | None, dtype: torch.dtype) -> Multiply:
    """oneDNN's product with weights that lie as its kernels read them, and GELU applied while a block is in the cache.

    The operator is what torch.compile uses; it takes a quarter off a product's time in bfloat16, an eighth in float32.
    """
    weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.to(dtype).contiguous(), None)
    bias = linear.bias.to(dtype)
    after, kind = after_product(approximation)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, weight, bias, after, [], kind)


def after_product(approximation: str | None) -> tuple[str, str]:
    """How oneDNN's operators name what is done to a block that was multiplied."""
    return ("none", "") if approximation is None else ("gelu", approximation)


# Eight bits ----------------------------------------------------------------------------------------------------
def has_vnni() -> bool:
    """Whether products of 8 bits are added up in 32. Elsewhere two are added in 16, which overflows unless the weights
    leave one bit."""
    return torch.cpu._is_vnni_supported()


def is_compiled_int8() -> bool:
    """Whether oneDNN does such products here, and so compiles them for every number of rows."""
    return has_vnni() or torch.backends.quantized.engine == "onednn"


def int8_product(weight: torch.Tensor, bias: torch.Tensor | None, approximation: str | None = None) -> Multiply:
    """Weights in int8 with a scale for each row; a batch's activations are quantised as they come."""
    scales = weight.abs().amax(dim=1).clamp(min=TINY) / (127 if has_vnni() else 63)  # (out,)
    zeros = torch.zeros(len(scales), dtype=torch.long)
    if has_vnni():
        return fused_int8_product(weight, bias, scales, zeros, approximation)
    with warnings.catch_warnings(action="ignore"):
        quantised = torch.quantize_per_channel(weight.contiguous(), scales, zeros, axis=0, dtype=torch.qint8)
    packed = torch.ops.quantized.linear_prepack(quantised, bias)
    return with_gelu(lambda x: torch.ops.quantized.linear_dynamic(x, packed, reduce_range=False), approximation)


def fused_int8_product(
    weight: torch.Tensor, bias: torch.Tensor | None, scales: torch.Tensor, zeros: torch.Tensor,
    approximation: str | None,
) -> Multiply:  # fmt: skip
    """The same by the operator that torch.compile uses, with GELU applied while a block is in the cache."""
    with warnings.catch_warnings(action="ignore"):  # said once: torch will drop these tensors one day
        torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.quint8)
    rounded = (weight / scales[:, None]).round().to(torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(rounded, None)
    after, kind = after_product(approximation)

    def multiply(x: torch.Tensor) -> torch.Tensor:
        low, high = (float(end) for end in torch.aminmax(x))
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / STEPS, TINY)
        zero = round(-low / scale)
        quantised = torch.quantize_per_tensor(x, scale, zero, torch.quint8)
        place = (quantised.untyped_storage(), 0, quantised.shape, quantised.stride())
        whole = torch.empty(0, dtype=torch.uint8).set_(*place)  # int_repr would copy
        return torch.ops.onednn.qlinear_pointwise(
            whole, scale, zero, packed, scales, zeros, bias, 1.0, 0, torch.float32, after, [], kind
        )

    return multiply


def row_by_row(linear: Linear) -> Multiply:
    """A product in int8 of what GELU gave, which is lost, with every row brought to one size before it, so that a few
    rows with large numbers do not coarsen the others."""
    assert linear.by is None  # what GELU gives is not smoothed
    multiply, bias = int8_product(linear.weight, None), linear.bias

    def scaled(x: torch.Tensor) -> torch.Tensor:
        sizes = x.amax(dim=1, keepdim=True).clamp_(min=LEAST)  # (t, 1)
        return torch.addcmul(bias, multiply(x.div_(sizes)), sizes)

    return scaled
