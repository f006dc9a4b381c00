"""The lowest layers of a body, where they stay as they are: what they make of a text is computed once and kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from suite.encoder.training.tasks import TrainingError

KEPT_BYTES = 2 * 2**30  # of states; those of further texts are computed each time


class FrozenLayers:
    """What the embeddings and the lowest layers make of texts, by their numbers."""

    def __init__(self, below: Any) -> None:
        self.below = below
        self.kept: dict[int, torch.Tensor] = {}  # (tokens, d) float16 of each text
        self.room = KEPT_BYTES

    @torch.no_grad()
    def states(self, texts: Sequence[int], ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """float32 (b, t, d), of texts with the token ids (b, t); zeros where the mask (b, t) says that no token is."""
        unknown = [row for row, text in enumerate(texts) if text not in self.kept]
        states = torch.zeros(*ids.shape, self.below.config.hidden_size, device=ids.device)
        for row, text in enumerate(texts):
            if text in self.kept:
                states[row, : len(self.kept[text])] = self.kept[text].float()
        if unknown:
            self.below.eval()  # nothing is dropped on the way: each text has one state
            found = self.below(input_ids=ids[unknown], attention_mask=mask[unknown].long())[0].half()  # as it is kept
            states[unknown] = found.float() * mask[unknown, :, None]
            for row, one in zip(unknown, found, strict=True):
                self.keep(texts[row], one[mask[row]])
        return states

    def keep(self, text: int, states: torch.Tensor) -> None:
        if text not in self.kept and states.nbytes <= self.room:
            self.kept[text] = states
            self.room -= states.nbytes


class Given(torch.nn.Module):
    """Stands where the embeddings were: the states come from below."""

    def forward(self, *, inputs_embeds: torch.Tensor, **_: Any) -> torch.Tensor:
        return inputs_embeds


def divided(model: Any, count: int) -> tuple[Any, Any]:
    """(the embeddings and the lowest `count` layers, the layers above them): views of the model, whose parameters they
    share. The upper one takes states as `inputs_embeds`. Raises `TrainingError` where it cannot be divided so."""
    layers = getattr(getattr(model, "encoder", None), "layer", None)
    if layers is None or not hasattr(model, "embeddings"):
        raise TrainingError("frozen_layers: a body of this kind cannot be divided; use 0")
    if count >= len(layers):
        raise TrainingError(f"frozen_layers must be fewer than the body's {len(layers)} layers, not {count}")
    below, above = with_layers(model, layers[:count]), with_layers(model, layers[count:])
    above.embeddings = Given()
    return below, above


def with_layers(model: Any, layers: Any) -> Any:
    """The model with these of its layers alone, and no pooler; it shares all parameters."""
    view, view_encoder = copy.copy(model), copy.copy(model.encoder)
    view._modules, view_encoder._modules = dict(model._modules), dict(model.encoder._modules)
    view_encoder.layer = layers
    view.encoder, view.pooler = view_encoder, None
    return view
