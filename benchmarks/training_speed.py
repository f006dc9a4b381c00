"""Examples a second of training on this machine, beside a plain loop over the same batches.

The plain loop does what a first one does: it tokenises the texts of a batch when they come, each as often as it stands
there, pads all of them to the longest, and computes in float32 with every parameter trained and the body's own dropout.
Its losses and its optimiser are ours, and so is the order of the examples, in which texts of about one length meet.

The two take turns, some batches each, and the ratio is the median of the turns'. Data and options are those of the
benchmark `training-quality`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from django.conf import settings
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.training_quality import configured, prepared
from suite.encoder.engines.padded import pad, pool
from suite.encoder.model import Encoder
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.loop import Run
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tasks import Given, Texts
from suite.encoder.training.trained_body import TrainedBody
from suite.management.training import clear_errors
from suite.releases import snapshot

NAME = "training-speed"
HELP = "examples/s of training, beside a plain float32 loop over the same padded batches (rounds, batches)"
DROPOUT = 0.1  # of bodies as they come, their attention included
PLAIN: dict[str, Any] = {"is_embedding_trained": True, "frozen_layers": 0, "precision": "float32"}


class PlainRun(Run):
    """A run whose vectors are had the plain way."""

    body: PlainBody

    def __init__(self, encoder: Encoder, given: Sequence[Given], config: TrainingConfig, folder: RunFolder) -> None:
        super().__init__(encoder, given, replace(config, **PLAIN), folder)

    def new_body(self, first_new: int | None) -> PlainBody:
        return PlainBody(self.encoder, self.config, self.texts, first_new)

    def backward(self, which: int, positions: Iterable[int]) -> float:
        places = list(positions)
        self.body.repeated = [text for place in places for text in self.tasks[which].train[place].texts]
        return super().backward(which, places)


class PlainBody(TrainedBody):
    def __init__(self, encoder: Encoder, config: TrainingConfig, texts: Texts, first_new: int | None) -> None:
        super().__init__(encoder, config, texts, first_new)
        self.strings = list(texts.numbers)
        self.repeated: list[int] = []  # the texts of the batch under way
        for module in list(self.model.modules()):
            for name, child in module.named_children():
                if isinstance(child, torch.nn.Dropout):
                    setattr(module, name, torch.nn.Dropout(DROPOUT))

    def vectors(
        self, texts: Sequence[int], embedded: list[torch.Tensor], pushed: Sequence[torch.Tensor] = ()
    ) -> torch.Tensor:
        given, self.repeated = self.repeated or list(texts), []
        return self.encoded(given)[[given.index(text) for text in texts]]

    def encoded(self, texts: Sequence[int]) -> torch.Tensor:
        tokenised = self.texts.ids_of([self.strings[text] for text in texts])
        given, is_token = pad([np.array(ids) for ids in tokenised], self.pad_id)
        ids, mask = torch.from_numpy(given).to(self.device), torch.from_numpy(is_token).to(self.device)
        states = self.model(input_ids=ids, attention_mask=mask.long())[0]
        return F.normalize(pool(states, mask, self.pooling.mode), dim=1)


def run(
    data: str = "", config: str = "", only: str = "", movielens: str = "", rounds: int = 5, batches: int = 20,
    **fields: Any,
) -> dict[str, Any]:  # fmt: skip
    """Rates are examples a second."""
    with tempfile.TemporaryDirectory() as scratch, clear_errors():
        recipe = configured(config, fields, only)
        recipe = replace(recipe, minutes=0, hard_negatives=0, retention=0)  # which cost either the same
        public = prepared(Path(scratch), data, only, movielens)
        tasks = snapshot.take(public.sources()).tasks
        encoder = Encoder.load(recipe.body or settings.ENCODER, threads=settings.ENCODER_THREADS)
        folder = RunFolder(Path(scratch) / "run", "")
        torch.set_num_threads(encoder.threads)
        ours, plain = Run(encoder, tasks, recipe, folder), PlainRun(encoder, tasks, recipe, folder)
        taken: list[tuple[float, float]] = []
        for turn in tqdm(range(rounds + 1), unit=" rounds", dynamic_ncols=True):
            seconds = worked(ours, batches), worked(plain, batches)
            if turn:  # in the first one both are still warming up
                taken.append(seconds)
        examples = batches * recipe.batch_size
        return {
            "ours": round(examples / median(one for one, _ in taken), 1),
            "plain": round(examples / median(other for _, other in taken), 1),
            "ratio": round(median(other / one for one, other in taken), 2),
            "precision": "bfloat16" if ours.body.is_narrow else "float32",
            "tasks": [task.name for task in ours.tasks],
            "batch_size": recipe.batch_size,
            "threads": encoder.threads,
            "device": str(encoder.device),
        }


def worked(run: Run, batches: int) -> float:
    """Seconds for the next batches of a run."""
    started = time.perf_counter()
    for _ in range(batches):
        run.one_batch()
    if run.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
