"""The weights of a BERT-like body, read once and named plainly; every engine but the reference is built of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

FAMILIES = {"bert": 0, "roberta": 1, "xlm-roberta": 1, "camembert": 1}  # 1: positions count on from the padding's id
ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}  # name: approximation, as torch has it


class UnknownBody(Exception):
    """A kind of transformer that only the reference engine can run."""


class MissingWeights(Exception):
    """Weights that lack tensors; the message names one."""


@dataclass(frozen=True, slots=True)
class Linear:
    """x -> (x * by) @ weight.T + bias."""

    weight: torch.Tensor  # (out, in)
    bias: torch.Tensor  # (out,)
    by: torch.Tensor | None = None  # (in,), see smoothing.py; None: nothing

    def divided(self, first: int) -> tuple[Linear, Linear]:
        """Two products that give its first outputs, and the others."""
        return (
            Linear(self.weight[:first], self.bias[:first], self.by),
            Linear(self.weight[first:], self.bias[first:], self.by),
        )


@dataclass(frozen=True, slots=True)
class Norm:
    weight: torch.Tensor  # (d,)
    bias: torch.Tensor  # (d,)


@dataclass(frozen=True, slots=True)
class Layer:
    """Attention and feed-forward, each with a residual and a norm after it."""

    qkv: Linear  # d -> 3d: queries, keys and values of all heads in one product
    mix: Linear  # d -> d
    attention_norm: Norm
    up: Linear  # d -> f
    down: Linear  # f -> d
    norm: Norm


@dataclass(frozen=True, slots=True)
class Body:
    """All tensors in float32. `positions` holds one row a position from 0, the type embedding of one segment in it."""

    heads: int
    epsilon: float
    approximation: str  # of GELU
    words: torch.Tensor  # (v, d)
    positions: torch.Tensor  # (p, d)
    embedding_norm: Norm
    layers: tuple[Layer, ...]

    @property
    def dimensions(self) -> int:
        return self.words.shape[1]


def is_known(config: Mapping[str, Any]) -> bool:
    """Whether the body that a config.json describes can be read here."""
    return (
        config.get("model_type") in FAMILIES
        and config.get("hidden_act", "gelu") in ACTIVATIONS
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
    )


def first_position(config: Mapping[str, Any]) -> int:
    """The row of the first token among the embeddings of positions."""
    return FAMILIES[config["model_type"]] * (int(config.get("pad_token_id") or 0) + 1)


def read(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Body:
    """The body of a config.json and its named tensors. Raises `UnknownBody` or `MissingWeights`."""
    if not is_known(config):
        raise UnknownBody(str(config.get("model_type")))
    words = "embeddings.word_embeddings.weight"
    prefix = next((name.removesuffix(words) for name in tensors if name.endswith(words)), "")

    def tensor(name: str) -> torch.Tensor:
        if prefix + name not in tensors:
            raise MissingWeights(name)
        return tensors[prefix + name].detach().float()

    def linear(name: str) -> Linear:
        return Linear(tensor(f"{name}.weight"), tensor(f"{name}.bias"))

    def norm(name: str) -> Norm:
        return Norm(tensor(f"{name}.weight"), tensor(f"{name}.bias"))

    def layer(name: str) -> Layer:
        parts = [linear(f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
        return Layer(
            qkv=Linear(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])),
            mix=linear(f"{name}.attention.output.dense"),
            attention_norm=norm(f"{name}.attention.output.LayerNorm"),
            up=linear(f"{name}.intermediate.dense"),
            down=linear(f"{name}.output.dense"),
            norm=norm(f"{name}.output.LayerNorm"),
        )

    first = first_position(config)
    segment = tensor("embeddings.token_type_embeddings.weight")[0]
    return Body(
        heads=int(config["num_attention_heads"]),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        approximation=ACTIVATIONS[config.get("hidden_act", "gelu")],
        words=tensor(words),
        positions=tensor("embeddings.position_embeddings.weight")[first:] + segment,
        embedding_norm=norm("embeddings.LayerNorm"),
        layers=tuple(layer(f"encoder.layer.{number}") for number in range(int(config["num_hidden_layers"]))),
    )
