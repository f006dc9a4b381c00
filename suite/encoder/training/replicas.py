"""Several processes that train one body together, one for each GPU.

Each has batches of its own, and all take the same step, by the mean of their gradients; so their bodies stay alike. The
first one alone tells, keeps and ends the run.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from suite.encoder.model import Encoder
from suite.encoder.training.tasks import TrainingError

MEETING, START = "meeting", "start"  # in the run's folder: where processes find each other, and what others begin with
PATIENCE = 10.0  # seconds for a process that broke off to be seen ending


@dataclass(frozen=True, slots=True)
class Replicas:
    """This process among all of them; alone where there is one."""

    rank: int = 0
    count: int = 1
    device: torch.device | None = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def average(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Give every parameter the mean of its gradients; none counts as 0."""
        if self.count == 1:
            return
        given = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
        mean = torch.cat([one.flatten() for one in given]) / self.count
        distributed.all_reduce(mean)
        for one, part in zip(parameters, mean.split([one.numel() for one in parameters]), strict=True):
            one.grad = part.view_as(one)

    def agreed(self, value: float) -> float:
        """The value that the first process has."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return float(shared)


Train = Callable[[Encoder, Replicas], None]  # what a process of another device does; it is pickled


def number_of(asked: int, device: torch.device) -> int:
    """How many processes train: what was asked for, or else one for each GPU. Raises `TrainingError`."""
    if device.type != "cuda":
        return asked or 1
    if asked > torch.cuda.device_count():
        raise TrainingError(f"processes is {asked}, but there are {torch.cuda.device_count()} GPUs")
    return asked or torch.cuda.device_count()


@contextmanager
def together(count: int, encoder: Encoder, folder: Path, train: Train) -> Iterator[Replicas]:
    """This process as the first of `count`; the others `train` with copies of the encoder, and end when this block
    does. Raises `TrainingError` where one of them breaks off."""
    if count == 1:
        yield Replicas()
        return
    encoder.save(folder / START, {})
    (folder / MEETING).unlink(missing_ok=True)
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=follow, args=(rank, count, encoder.device.type, folder, train), daemon=True)
              for rank in range(1, count)]  # fmt: skip
    for other in others:
        other.start()
    try:
        meet(0, count, encoder.device, folder)
        yield Replicas(0, count, encoder.device)
    except RuntimeError as error:  # of the library, when it waits for one that is no more
        for rank, other in enumerate(others, start=1):
            other.join(PATIENCE / count)
            if other.exitcode:
                raise TrainingError(f"process {rank} of {count} broke off; its output says why") from error
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
        for other in others:
            other.kill()
            other.join()


def follow(rank: int, count: int, kind: str, folder: Path, train: Train) -> None:
    """The life of another process; it ends with the first one."""
    parent: Any = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), name="parent", daemon=True).start()
    device = torch.device(f"cuda:{rank}" if kind == "cuda" else kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    encoder = Encoder.load(str(folder / START), threads=max(1, torch.get_num_threads() // count), device=str(device))
    meet(rank, count, device, folder)
    train(encoder, Replicas(rank, count, device))


def meet(rank: int, count: int, device: torch.device, folder: Path) -> None:
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, init_method=f"file://{folder / MEETING}", rank=rank, world_size=count)
