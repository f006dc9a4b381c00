"""The reference: the transformers implementation of any body, in float32 and padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


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
        return torch.nn.functional.normalize(pool(states, mask, self.pooling), dim=1).cpu().numpy()


def pad(ids: Sequence[np.ndarray], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """(token ids, int64 (b, t), filled up with `pad_id`; whether each is a token, bool (b, t))."""
    lengths = np.array([len(one) for one in ids])
    is_token = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(is_token.shape, pad_id)
    padded[is_token] = np.concatenate(ids)
    return padded, is_token


def pool(states: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """One vector of each text's token vectors, float32: (b, t, d) and (b, t) -> (b, d). Padding has no part in it."""
    if mode == "cls":
        return states[:, 0].float()
    weights = mask[:, :, None].float()
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
