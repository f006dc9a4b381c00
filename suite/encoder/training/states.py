"""What a run keeps in its folder: the state to resume from, and the bodies that were evaluated. Each file appears whole
or not at all."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from suite.encoder.training.tasks import TrainingError

STATE = "state.pt"


class RunFolder:
    """`digest` names the examples and the configuration: the state of another run is never resumed from."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.digest = digest

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Raises `TrainingError`, e.g. where the disk is full."""
        buffer = io.BytesIO()
        torch.save({"digest": self.digest, **state}, buffer)
        self.write(STATE, buffer.getbuffer())

    def read_state(self) -> dict[str, Any] | None:
        """The newest state of this very run; None where there is none, or it cannot be read."""
        try:
            state = torch.load(self.path / STATE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
            return None
        return state if state.get("digest") == self.digest else None

    def write_body(self, batches: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep what is trained of a body after so many batches. Raises `TrainingError`."""
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        self.write(f"body-{batches}.safetensors", save(kept))

    def read_body(self, batches: int) -> dict[str, torch.Tensor]:
        return load_file(self.path / f"body-{batches}.safetensors")

    def drop_bodies(self, kept: set[int]) -> None:
        for path in self.path.glob("body-*.safetensors"):
            if int(path.stem.partition("-")[2]) not in kept:
                path.unlink(missing_ok=True)

    def write(self, name: str, content: bytes | memoryview) -> None:
        place = self.path / f"{name}.new"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            place.replace(self.path / name)
        except OSError as error:
            place.unlink(missing_ok=True)
            raise TrainingError(f"{self.path}: the checkpoint cannot be written ({error.strerror})") from error
