"""What makes eight bits enough: a few channels of a body's states are ten times as large as the others, which are left
few of the 256 steps. Here they are made smaller, and the weights that they meet larger by as much.

After Xiao et al., SmoothQuant, 2023. What the channels come to is looked up on random tokens: so a body needs no data
to be run in eight bits, and its vectors are nearly as near to the exact ones as with the sizes of real texts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from suite.encoder.checkpoint import MEAN
from suite.encoder.engines.body import Body, Linear
from suite.encoder.engines.packed import FLOAT32, Multiply, PackedEngine

TEXTS, LENGTH = 8, 32  # of random tokens
STRENGTH = 0.5  # how much of a channel's size goes over to the weights, from 0 to 1
SMALLEST = 1e-5


def smoothed(body: Body, pooling: str) -> Body:
    """A body that gives the same vectors, by states that are easier to round."""
    sizes = channel_sizes(body, pooling)
    layers = (
        replace(layer, qkv=eased(layer.qkv, asked), up=eased(layer.up, fed))
        for layer, (asked, fed) in zip(body.layers, sizes, strict=True)
    )
    return replace(body, layers=tuple(layers))


def channel_sizes(body: Body, pooling: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each layer the largest numbers, (d,) each, that come to its attention and to its feed-forward part."""
    engine = PackedEngine(body, pooling, FLOAT32, torch.device("cpu"))
    seen: dict[tuple[int, str], torch.Tensor] = {}

    def watched(multiply: Multiply, place: tuple[int, str]) -> Multiply:
        def watch(states: torch.Tensor) -> torch.Tensor:
            seen[place] = states.abs().amax(dim=0)
            return multiply(states)

        return watch

    layers = [*engine.layers, engine.last] if engine.last else engine.layers
    for number, layer in enumerate(layers):
        asked = "qkv" if pooling == MEAN or number < len(layers) - 1 else "keys_values"
        for part in (asked, "up"):
            setattr(layer, part, watched(getattr(layer, part), (number, part.replace("keys_values", "qkv"))))
    length = min(LENGTH, len(body.positions))
    engine.vectors(list(np.random.default_rng(0).integers(len(body.words), size=(TEXTS, length))))
    return [(seen[number, "qkv"], seen[number, "up"]) for number in range(len(layers))]


def eased(linear: Linear, sizes: torch.Tensor) -> Linear:
    """The same product, of inputs whose channels come to `sizes`, (in,)."""
    weights = linear.weight.abs().amax(dim=0).clamp(min=SMALLEST)  # (in,)
    by = sizes.clamp(min=SMALLEST) ** STRENGTH / weights ** (1 - STRENGTH)
    return Linear(linear.weight * by, linear.bias, 1 / by)
