"""Engines: ways to run one transformer body, in one precision, on one device. All give the same vectors, nearly.

    reference       the transformers implementation in float32, for any body; the others know BERT's family only
    torch-...       ours: no padding, products of all tokens at once (packed.py)
    openvino-...    OpenVINO, where its package is installed
    onnx-...        ONNX Runtime, where its packages are installed

An engine turns batches of token ids into unit vectors and knows nothing else. Which one a release uses on a machine is
measured there, see `suite.releases.calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import torch

from suite.encoder.engines import body
from suite.encoder.engines.packed import BFLOAT16, FLOAT32, INT8, PackedEngine, has_vnni
from suite.encoder.engines.smoothing import smoothed

REFERENCE, EXACT, NARROW = "reference", "torch-fp32", "torch-bf16"
PACKAGES = {"openvino": ("openvino",), "onnx": ("onnx", "onnxruntime")}  # that a runtime of another make needs
TOKENS_A_BATCH = {  # on a CPU; more leaves its caches
    REFERENCE: 1_024,
    EXACT: 1_024,
    NARROW: 2_048,
    "torch-int8": 1_024,
    "openvino-fp32": 1_024,
    "openvino-bf16": 1_024,
    "openvino-int8": 1_024,
    "onnx-fp32": 512,
    "onnx-int8": 512,
}
TOKENS_A_GPU_BATCH = 65_536


class Engine(Protocol):
    """Safe to use from several threads."""

    def vectors(self, ids: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors, float32 (b, d), of b texts given as token ids, the longest first."""
        ...


def available(config: Mapping[str, Any], device: torch.device) -> list[str]:
    """The engines that can run the body of this config.json here, the reference first."""
    if not body.is_known(config):
        return [REFERENCE]
    found = [REFERENCE, EXACT]
    if multiplies_bfloat16(device):
        found.append(NARROW)
    if device.type != "cpu":
        return found
    if hasattr(torch.ops.quantized, "linear_dynamic"):
        found.append("torch-int8")
    runtimes = [name for name, packages in PACKAGES.items() if all(find_spec(package) for package in packages)]
    precisions = {"openvino": [FLOAT32, BFLOAT16, INT8], "onnx": [FLOAT32, INT8]}
    for runtime in runtimes:
        usable = [one for one in precisions[runtime] if one != BFLOAT16 or NARROW in found]
        found += [f"{runtime}-{precision}" for precision in usable]
    return found


def build(
    name: str, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], pooling: str, device: torch.device,
    threads: int,
) -> Engine:  # fmt: skip
    """The engine of that name, which is not the reference, for the body of `config` with the weights `tensors`.

    Raises `MissingWeights`, or whatever an engine's own library does.
    """
    runtime, precision = name.split("-")
    read = body.read(config, tensors)
    if runtime == "openvino":
        from suite.encoder.engines.openvino import OpenVINOEngine

        return OpenVINOEngine(read, pooling, precision, threads)
    if precision == INT8:  # OpenVINO's has scales for groups of channels, so it is near without
        read = smoothed(read, pooling)
    if runtime == "onnx":
        from suite.encoder.engines.onnx import ONNXEngine

        return ONNXEngine(read, pooling, precision)
    return PackedEngine(read, pooling, precision, device)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: on GPUs of the last years, and CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def capability(device: torch.device) -> str:
    """What decides which engine is fastest there, in words: "GPU name", or instruction sets and runtimes of a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    sets = {
        "amx": torch.cpu._is_amx_tile_supported(),
        "avx512-bf16": torch.cpu._is_avx512_bf16_supported(),
        "vnni": has_vnni(),
    }
    runtimes = [name for name, packages in PACKAGES.items() if all(find_spec(package) for package in packages)]
    width = torch.backends.cpu.get_cpu_capability().lower()
    return " ".join([device.type, width, *(name for name, has in sets.items() if has), *runtimes])
