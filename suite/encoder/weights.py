"""A body's weights on the disk: as they are, or each matrix in int8 with a scale a row, which takes a quarter.

They are multiplied out when they are read, so every engine runs both; an engine in int8 finds the same numbers again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save

INT8 = "int8"  # what "weights" says in the config.json of such a body
SCALE = ".scale"
TOP = 127.0


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The named tensors of a file of either kind, in float32 those that were in int8."""
    return widened(load_file(str(path)))


def widened(stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `narrow` made, multiplied out again."""
    return {
        name: tensor * stored[name + SCALE][:, None] if tensor.dtype == torch.int8 else tensor
        for name, tensor in stored.items()
        if not (name.endswith(SCALE) and name.removesuffix(SCALE) in stored)
    }


def serialise_weights(tensors: Mapping[str, torch.Tensor], kind: str = "") -> bytes:
    """A safetensors file; with `kind` INT8 the small one."""
    found = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    return save(narrow(found) if kind == INT8 else found, metadata={"format": "pt"})


def narrow(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every float matrix in int8, symmetric about 0, beside its scales, float32 (rows,)."""
    found = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and tensor.is_floating_point():
            scale = (tensor.float().abs().amax(dim=1) / TOP).clamp(min=1e-12)
            found[name] = (tensor.float() / scale[:, None]).round().clamp(-TOP, TOP).to(torch.int8)
            found[name + SCALE] = scale
    return found
