"""How the body is made ready: what is trained of it, at which rates, and what is dropped on the way."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from suite.encoder import engines
from suite.encoder.checkpoint import FUNNEL, Pooling
from suite.encoder.engines.padded import pooled_by
from suite.encoder.model import Encoder
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.tasks import TrainingError

LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")  # of a parameter's name, in the bodies of transformers


def body_of(encoder: Encoder, config: TrainingConfig) -> Any:
    """A copy of the encoder's body, as small as is wanted, and ready for its pooling. Raises `TrainingError`."""
    model = copy.deepcopy(encoder.model)
    if config.is_student and not engines.body.is_known(encoder.settings):
        raise TrainingError(f"a body of kind {encoder.settings.get('model_type')!r} cannot be made smaller yet")
    if config.layers:
        keep_layers(model, config.layers)
    if config.feed_forward:
        keep_units(model, config.feed_forward)
    return pooled_by(pooling_of(encoder, config).mode, model)


def pooling_of(encoder: Encoder, config: TrainingConfig) -> Pooling:
    """A smaller body pools before its last layer has done most of its work."""
    return replace(encoder.pooling, mode=FUNNEL) if config.is_student else encoder.pooling


def keep_layers(model: Any, count: int) -> None:
    """Leave so many layers, evenly spaced, the first and the last of them included, after Sanh et al., DistilBERT,
    2019."""
    has = len(model.encoder.layer)
    if count >= has:
        raise TrainingError(f"layers must be fewer than the body's {has}, not {count}")
    kept = np.linspace(0, has - 1, count).round().astype(int) if count > 1 else [-1]
    model.encoder.layer = torch.nn.ModuleList(model.encoder.layer[int(place)] for place in kept)
    model.config.num_hidden_layers = count


def keep_units(model: Any, count: int) -> None:
    """Leave so many units of each layer's feed-forward part, those whose weights in and out are largest; narrower
    layers after Hou et al., DynaBERT, 2020. The last layer keeps all, which costs next to nothing: it is asked once a
    text."""
    has = model.config.intermediate_size
    if len(model.encoder.layer) == 1:
        raise TrainingError("feed_forward must be 0 where one layer is left, which keeps all of it")
    if count >= has:
        raise TrainingError(f"feed_forward must be less than the body's {has}, not {count}")
    for layer in model.encoder.layer[:-1]:
        up, down = layer.intermediate.dense, layer.output.dense
        sizes = up.weight.norm(dim=1) * down.weight.norm(dim=0)  # (f,)
        kept = sizes.topk(count).indices.sort().values
        up.weight, up.bias, down.weight = (
            torch.nn.Parameter(one) for one in (up.weight[kept], up.bias[kept], down.weight[:, kept])
        )
        up.out_features = down.in_features = count
    model.config.intermediate_size = count


def sizes_of(config: TrainingConfig) -> dict[str, int]:
    """What becomes different in the body's config.json."""
    sizes = {"num_hidden_layers": config.layers, "intermediate_size": config.feed_forward}
    return {name: size for name, size in sizes.items() if size}


class Dropout(torch.nn.Dropout):
    """Drops as its parent does, but draws eight elements with each random number, which CPUs are slow to make: a third
    of the time. The share that is dropped is rounded to a 256th."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        dropped = round(256 * self.p)
        if not self.training or not dropped or given.device.type != "cpu":
            return super().forward(given)
        words = torch.empty(-(-given.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: given.numel()].view(given.shape) >= dropped
        return given * kept.to(given.dtype).mul_(256 / (256 - dropped))


def with_dropout(model: torch.nn.Module, share: float) -> torch.nn.Module:
    """The model with this share of its hidden states dropped in training. Attention itself is left whole: the fused
    kernel of CPUs has no dropout, and the slow one would be taken instead."""
    for parent, module in list(model.named_modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.Dropout):
                is_attention = "attention.self" in parent or "attn" in f"{parent}.{name}"
                setattr(module, name, Dropout(0.0 if is_attention else share))
    return model


def freeze(model: torch.nn.Module, config: TrainingConfig) -> None:
    """Leave what is not trained without gradients: a pooler, which is not ours, the lowest layers, and the token
    embeddings."""
    for name, parameter in model.named_parameters():
        is_below = 0 < config.frozen_layers >= layer_of(name)
        parameter.requires_grad_(not name.startswith("pooler.") and not is_below)
    if not config.is_embedding_trained:
        model.get_input_embeddings().weight.requires_grad_(False)  # type: ignore[operator]


def layer_of(name: str) -> int:
    """The layer that a parameter belongs to, from 1; 0 where it is none's."""
    found = LAYER.search(name)
    return int(found[1]) + 1 if found else 0


def with_adapters(model: torch.nn.Module, rank: int) -> Any:
    """The model with everything frozen but low-rank adapters of its linear layers; they are merged in the end.

    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021. Raises `TrainingError` without peft.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError:
        raise TrainingError("lora_rank needs the package peft: install the extra `lora`, or use 0") from None
    linear = [name for name, module in model.named_modules()
              if isinstance(module, torch.nn.Linear) and not name.startswith("pooler")]  # fmt: skip
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear))


def rates(model: torch.nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Parameter groups of the optimiser: each layer learns slower than the one above it, the embeddings slowest, but
    for those of new tokens, which learn as fast as heads.

    After Howard & Ruder, Universal Language Model Fine-tuning for Text Classification, 2018.
    """
    learning = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    fresh = [one for name, one in learning if name.endswith(".fresh")]
    trained = [(name, one) for name, one in learning if not name.endswith(".fresh")]
    depths = [layer_of(name) for name, _ in trained]
    top = max(depths, default=0)
    groups: dict[int, list[torch.nn.Parameter]] = {}
    for depth, (_, parameter) in zip(depths, trained, strict=True):
        groups.setdefault(depth, []).append(parameter)
    return [
        {"params": parameters, "lr": config.learning_rate * config.layer_decay ** (top - depth)}
        for depth, parameters in sorted(groups.items())
    ] + ([{"params": fresh, "lr": config.head_rate}] if fresh else [])
