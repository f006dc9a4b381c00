"""The body without padding, in training: the tokens of all texts of a pass stand one after another.

All but attention is the same for every token, so the body's own modules run on the (t, d) matrix of them. Attention
runs by blocks of texts of about one length on the CPU, and by one variable-length kernel on GPUs that know bfloat16;
other GPUs train with padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from suite.encoder import engines
from suite.encoder.engines.padded import FunnelLayer

# oneDNN compiles its products in bfloat16 for every shape that it meets, which takes longer than most of them: with
# sizes rounded up there are few shapes, and they are kept.
TOKENS, TEXTS, LENGTH = 128, 8, 16  # steps of a pass's tokens, and of a block's texts and their length
FEW = 4  # texts of a block whose number is not rounded
NEAR = 0.6  # a text shorter than this share of its block's length begins another


class PackedBody:
    """A body of a known family, by its own modules, with its own parameters."""

    def __init__(self, model: Any, config: Mapping[str, Any], is_narrow: bool) -> None:
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model  # adapters stand in it
        self.first_position = engines.body.first_position(config)
        self.is_narrow = is_narrow

    def states(self, states: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """The last layer's states, (b, w, d), zeros where no token is, or (b, 1, d), of the embeddings or lower layers'
        states (b, w, d) of texts so long, the longest first."""
        shape, device = states.shape, states.device
        packing = Packing(lengths, shape[1], device, TOKENS if self.is_narrow and device.type == "cpu" else 1)
        places = packing.places + self.first_position
        states = self.model.embeddings(inputs_embeds=packing.packed(states)[None], position_ids=places[None])[0]
        if self.is_narrow:  # and so through all layers, which else widen and narrow them again and again
            states = states.bfloat16()
        for layer in self.model.encoder.layer:
            if isinstance(layer, FunnelLayer):
                key, value = (packing.padded(multiply(states), shape) for multiply in layer.keys_values)
                return layer.answered(packing.padded(states, shape), key, value, packing.is_token(shape[1]))
            own = layer.attention.self
            query, key, value = own.query(states), own.key(states), own.value(states)
            mixed = attend(query, key, value, own.num_attention_heads, packing)
            asked = layer.attention.output(mixed, states)
            states = layer.output(layer.intermediate(asked), asked)
        return packing.padded(states, shape)


class Packing:
    """Where the tokens of b texts lie: padded to (b, w), packed to (t,), and in attention's blocks."""

    def __init__(self, lengths: Sequence[int], width: int, device: torch.device, step: int) -> None:
        ends = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(ends[-1]) - np.repeat(ends[:-1], lengths)
        self.longest = max(lengths)
        self.missing = -int(ends[-1]) % step  # packed after the tokens, and looked at by none
        self.places = indices(np.pad(places, (0, self.missing)), device)  # (t,) of each token in its text
        self.slots = indices(np.repeat(np.arange(len(lengths)) * width, lengths) + places, device)  # in (b * w,)
        self.ends = torch.from_numpy(ends.astype(np.int32)).to(device)  # (b + 1,) first token of each, then the end
        self.lengths, self.device = lengths, device

    @cached_property
    def blocks(self) -> list[Block]:
        """Of all texts; made where they are wanted, as the kernel wants none."""
        ends = np.concatenate([[0], np.cumsum(self.lengths)])
        return [Block(np.diff(ends[first : end + 1]), int(ends[first]), self.device)
                for first, end in alike(self.lengths)]  # fmt: skip

    def is_token(self, width: int) -> torch.Tensor:
        """bool (b, w)."""
        return torch.arange(width, device=self.device) < self.ends.diff()[:, None]

    def packed(self, states: torch.Tensor) -> torch.Tensor:
        """(b, w, d) -> (t, d)."""
        return functional.pad(states.flatten(0, 1).index_select(0, self.slots), (0, 0, 0, self.missing))

    def padded(self, states: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """(t, d) -> `shape`, (b, w, d), zeros where no token is."""
        empty = states.new_zeros(shape).flatten(0, 1)
        return empty.index_copy(0, self.slots, states[: len(self.slots)]).view(shape)


class Block:
    """Texts of about one length whose tokens, the packed ones from `first` on, attention sees as (n, l)."""

    def __init__(self, lengths: np.ndarray, first: int, device: torch.device) -> None:
        count = len(lengths)
        self.texts = count if count <= FEW else count + -count % TEXTS
        self.length = int(lengths.max()) + -int(lengths.max()) % LENGTH
        self.tokens = slice(first, first + int(lengths.sum()))
        ends = np.pad(lengths, (0, self.texts - count))[:, None]
        is_token = np.arange(self.length) < ends  # (n, l)
        slots = np.zeros(is_token.shape, dtype=int)
        slots[is_token] = np.arange(lengths.sum())
        self.slots = indices(slots.ravel(), device)  # (n * l,) the token that stands there, or the first for none
        self.of_token = indices(np.flatnonzero(is_token), device)  # (tokens,) where each stands
        self.is_full = bool(is_token.all())
        self.is_token = torch.from_numpy(is_token).to(device)
        hidden = ~is_token & (ends > 0)  # of texts that only fill up nothing is: softmax would have nothing to share
        self.is_hidden = torch.from_numpy(hidden).to(device)

    def by_head(self, given: torch.Tensor, heads: int) -> torch.Tensor:
        """(t, d) -> (n * heads, l, size)."""
        rows = given[self.tokens].index_select(0, self.slots)
        return rows.view(self.texts, self.length, heads, given.shape[1] // heads).transpose(1, 2).flatten(0, 1)

    def by_token(self, given: torch.Tensor, heads: int) -> torch.Tensor:
        """(n * heads, l, size) -> (tokens, d)."""
        rows = given.unflatten(0, (self.texts, heads)).transpose(1, 2).flatten(0, 1).flatten(1)
        return rows.index_select(0, self.of_token)

    def shares(self, scores: torch.Tensor, heads: int) -> torch.Tensor:
        """What each token takes of each, (n * heads, l, l)."""
        if not self.is_full:
            scores.unflatten(0, (self.texts, heads)).masked_fill_(self.is_hidden[:, None, None], -torch.inf)
        return torch.softmax(scores, dim=2)

    def without_fill(self, given: torch.Tensor, heads: int) -> torch.Tensor:
        """(n * heads, l, size), zeros where no token is."""
        if self.is_full:
            return given
        return given.unflatten(0, (self.texts, heads)).mul_(self.is_token[:, None, :, None]).flatten(0, 1)


def alike(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, end) of texts that go into one block, of lengths that fall."""
    first = 0
    for place, length in enumerate(lengths):
        if length < NEAR * lengths[first]:
            yield first, place
            first = place
    yield first, len(lengths)


def indices(given: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(given.astype(np.int64)).to(device)


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, packing: Packing) -> torch.Tensor:
    """Every token's mixture of the values of its own text: queries, keys and values, each (t, d) -> (t, d)."""
    has_kernel = query.device.type == "cuda" and query.dtype == torch.bfloat16
    attention = attend_by_kernel if has_kernel else BlockAttention.apply
    return attention(query, key, value, heads, packing)


def attend_by_kernel(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, packing: Packing
) -> torch.Tensor:
    """The same by one kernel for texts of any lengths, on a GPU."""
    from torch.nn.attention.varlen import varlen_attn  # in torch since 2.10

    query, key, value = (one.unflatten(1, (heads, -1)) for one in (query, key, value))  # each (t, heads, size)
    mixed = varlen_attn(query, key, value, packing.ends, packing.ends, packing.longest, packing.longest)
    assert isinstance(mixed, torch.Tensor)  # a pair only where more is asked for
    return mixed.flatten(1)


class BlockAttention(torch.autograd.Function):
    """`attend` by blocks, with a way back that brings each of its tensors into place once."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, packing: Packing
    ) -> torch.Tensor:
        ctx.heads, ctx.packing, ctx.scale = heads, packing, (query.shape[1] // heads) ** -0.5
        out, kept = torch.zeros_like(query), []
        for block in packing.blocks:
            asking, asked, worth = (block.by_head(one, heads) for one in (query, key, value))
            shares = block.shares(torch.bmm(asking, asked.transpose(1, 2)).mul_(ctx.scale), heads)
            out[block.tokens] = block.by_token(torch.bmm(shares, worth), heads)
            kept += [asking, asked, worth, shares]
        ctx.save_for_backward(*kept)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        [gradient] = gradients
        found = [torch.zeros_like(gradient) for _ in range(3)]
        kept = iter(ctx.saved_tensors)
        for block, asking, asked, worth, shares in zip(ctx.packing.blocks, kept, kept, kept, kept, strict=True):
            mixed = block.without_fill(block.by_head(gradient, ctx.heads), ctx.heads)
            of_shares = torch.bmm(mixed, worth.transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_shares, shares, 2, shares.dtype).mul_(ctx.scale)
            parts = (
                torch.bmm(of_scores, asked),
                torch.bmm(of_scores.transpose(1, 2), asking),
                torch.bmm(shares.transpose(1, 2), mixed),
            )
            for whole, part in zip(found, parts, strict=True):
                whole[block.tokens] = block.by_token(part, ctx.heads)
        return *found, None, None
