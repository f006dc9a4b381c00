"""The reference: the transformers implementation of any body, in float32 and padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from suite.encoder.checkpoint import CLS, FUNNEL, MEAN


class PaddedEngine:
    """A loaded transformers model on the device where it lies."""

    def __init__(self, model: Any, pooling: str, pad_id: int) -> None:
        self.model, self.pooling, self.pad_id = model, pooling, pad_id
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def vectors(self, ids: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors, float32 (b, d), of b texts given as token ids."""
        padded, is_token = pad(ids, self.pad_id)
        mask = torch.from_numpy(is_token).to(self.device)
        needs_mask = not is_token.all()  # without padding attention takes its fastest path
        states = self.model(
            torch.from_numpy(padded).to(self.device), attention_mask=mask.long() if needs_mask else None
        ).last_hidden_state  # (b, t, d)
        return functional.normalize(pool(states, mask, self.pooling), dim=1).cpu().numpy()


def pad(ids: Sequence[np.ndarray], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """(token ids, int64 (b, t), filled up with `pad_id`; whether each is a token, bool (b, t))."""
    lengths = np.array([len(one) for one in ids])
    is_token = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(is_token.shape, pad_id)
    padded[is_token] = np.concatenate(ids)
    return padded, is_token


def pool(states: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """One vector of each text's token vectors, float32: (b, t, d) and (b, t) -> (b, d). Padding has no part in it."""
    if mode in {CLS, FUNNEL}:  # of the latter nothing but the first is there
        return states[:, 0].float()
    weights = mask[:, :, None].float()
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class FunnelLayer(torch.nn.Module):
    """A last layer that gives one state of each text: the mean of its tokens' states asks, all of them answer. Most of
    a layer's work is then done once a text and not once a token.

    Pool-query-only attention after Dai et al., Funnel-Transformer, 2020. It has the parameters of the layer of BERT's
    family that it is made of, under their names.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output

    def resize(self, width: int) -> None:
        """Make room for a feed-forward part so wide; what it is filled with is read afterwards."""
        dimensions = self.output.dense.out_features
        self.intermediate.dense = torch.nn.Linear(dimensions, width)
        self.output.dense = torch.nn.Linear(width, dimensions)

    def forward(
        self, states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        """(b, t, d) -> (b, 1, d); the mask is that of transformers: bool (b, 1, t, t), None where all are tokens."""
        is_token = None if attention_mask is None else attention_mask[:, 0, 0]  # alike for all that ask
        key, value = (multiply(states) for multiply in self.keys_values)
        return self.answered(states, key, value, is_token)

    @property
    def keys_values(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        return self.attention.self.key, self.attention.self.value

    def answered(
        self, states: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_token: torch.Tensor | None
    ) -> torch.Tensor:
        """(b, 1, d), of states, keys and values, each (b, t, d); `is_token`, bool (b, t), None where all are tokens."""
        own = self.attention.self
        asking = pool(states, torch.ones_like(states[:, :, 0]) if is_token is None else is_token, MEAN)
        asking = asking[:, None].to(states.dtype)  # (b, 1, d)
        mask = None if is_token is None else is_token[:, None, None]

        def by_head(given: torch.Tensor) -> torch.Tensor:
            return given.unflatten(2, (own.num_attention_heads, -1)).transpose(1, 2)  # (b, heads, t or 1, size)

        query = by_head(own.query(asking))
        mixed = functional.scaled_dot_product_attention(query, by_head(key), by_head(value), attn_mask=mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        mixed = self.attention.output(mixed, asking)
        return self.output(self.intermediate(mixed), mixed)


def pooled_by(mode: str, model: Any) -> Any:
    """The model, made ready for that way of pooling."""
    if mode == FUNNEL and not isinstance(model.encoder.layer[-1], FunnelLayer):
        model.encoder.layer[-1] = FunnelLayer(model.encoder.layer[-1])
    return model
