"""A smaller body with nearly the same vectors: some layers of a large one, taught by the large one.

The student begins as every so-many-th layer of its teacher, as in Sanh et al., DistilBERT, 2019, and learns to give the
teacher's vectors. It needs texts and no labels.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from suite.encoder import engines
from suite.encoder.batching import batches
from suite.encoder.engines.padded import pad, pool
from suite.encoder.model import Encoder
from suite.encoder.training.loop import SMOOTHING, Progress, Report, peak_megabytes
from suite.encoder.training.tasks import TrainingError

RATE = 3e-4  # of AdamW at the start; it falls to 0 in a straight line
BATCH_TOKENS = 2_048
CLIP = 1.0
TELL_SECONDS = 5.0
DISTANCE = "distance to the teacher"


def distil(
    teacher: Encoder, layers: int, texts: Sequence[str], *, minutes: float, epochs: int = 20, seed: int = 0,
    say: Callable[[str], None], report: Report = lambda progress: None,
) -> Encoder:  # fmt: skip
    """An encoder with `layers` of the teacher's, and no heads, after `epochs` over the texts or `minutes`, whichever
    comes first. The same texts and epochs give the same weights; the clock may cut them short. Raises `TrainingError`,
    and what `report` raises, which is called after every batch.
    """
    if not engines.body.is_known(teacher.settings):
        raise TrainingError(f"a body of kind {teacher.settings.get('model_type')!r} cannot be compressed yet")
    has = int(teacher.settings["num_hidden_layers"])
    if not 1 <= layers < has:
        raise TrainingError(f"layers must be 1 at least and fewer than the body's {has}, not {layers}")
    different = list(dict.fromkeys(texts))
    if not different:
        raise TrainingError("there are no texts to learn from")
    ids = teacher.tokenise(different)
    targets = torch.from_numpy(teacher.embed(ids))  # (n, d)
    model = pruned(teacher, layers)
    parameters = [parameter for name, parameter in model.named_parameters() if is_trained(name)]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, fused=True)
    narrow = engines.multiplies_bfloat16(teacher.device)
    dice = np.random.default_rng(seed)
    began = told_at = time.monotonic()
    lengths = [len(one) for one in ids]
    progress = Progress(batches=epochs * len(list(batches(lengths, BATCH_TOKENS))), task="distillation")
    seen = 0
    threads = torch.get_num_threads()
    torch.set_num_threads(teacher.threads)
    try:
        for epoch in range(epochs):
            places = list(batches(lengths, BATCH_TOKENS))
            for number, place in enumerate(dice.permutation(len(places))):
                done = max((epoch + number / len(places)) / epochs, (time.monotonic() - began) / (60 * minutes))
                if done >= 1:
                    break
                for group in optimiser.param_groups:
                    group["lr"] = RATE * (1 - done)
                batch = places[place]
                with torch.autocast(teacher.device.type, torch.bfloat16) if narrow else nullcontext():
                    found = forward(model, [ids[index] for index in batch], teacher)
                loss = 1 - (found * targets[batch].to(teacher.device)).sum(dim=1).mean()
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, CLIP)
                optimiser.step()
                seen += len(batch)
                note(progress, done, loss.item(), seen, time.monotonic() - began)
                report(progress)
                if time.monotonic() - told_at >= TELL_SECONDS:
                    told_at = time.monotonic()
                    say(f"Teaching {layers} layers: {done:.0%}, cosine to the teacher {1 - loss.item():.4f}")
    finally:
        torch.set_num_threads(threads)
    return teacher.with_body(model.eval(), teacher.config_with(num_hidden_layers=layers, weights=""))


def note(progress: Progress, done: float, distance: float, seen: int, seconds: float) -> None:
    """`done` is the share of the work, `distance` 1 minus the cosine to the teacher, `seen` texts after `seconds`."""
    old = progress.losses.get(DISTANCE, distance)
    progress.batch = max(1, round(done * progress.batches))
    progress.losses = {DISTANCE: round(SMOOTHING * old + (1 - SMOOTHING) * distance, 6)}
    progress.seconds, progress.seconds_left = round(seconds, 1), round(seconds * (1 / max(done, 1e-6) - 1), 1)
    progress.examples_a_second = round(seen / max(seconds, 1e-6), 1)
    progress.megabytes = peak_megabytes()
    if not progress.curve or progress.batch - progress.curve[-1]["batch"] >= progress.batches / 100:
        progress.curve.append({"batch": progress.batch, "losses": dict(progress.losses)})


def pruned(teacher: Encoder, layers: int) -> Any:
    """A copy of the teacher's body with `layers` of its layers, evenly spaced, the first and the last among them."""
    model = copy.deepcopy(teacher.model)
    kept = np.linspace(0, len(model.encoder.layer) - 1, layers).round().astype(int) if layers > 1 else [-1]
    model.encoder.layer = torch.nn.ModuleList(model.encoder.layer[int(place)] for place in kept)
    model.config.num_hidden_layers = layers
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_trained(name))
    return model.train()


def is_trained(name: str) -> bool:
    """All but the pooler, which is not ours, and the word embeddings, which few texts would bend for all others."""
    return not name.startswith("pooler.") and "word_embeddings" not in name


def forward(model: torch.nn.Module, ids: Sequence[np.ndarray], teacher: Encoder) -> torch.Tensor:
    """Unit vectors, float32 (b, d), with gradients."""
    padded, is_token = pad(ids, int(teacher.settings.get("pad_token_id") or 0))
    mask = torch.from_numpy(is_token).to(teacher.device)
    states = model(torch.from_numpy(padded).to(teacher.device), attention_mask=mask.long()).last_hidden_state
    return functional.normalize(pool(states, mask, teacher.pooling.mode), dim=1)
