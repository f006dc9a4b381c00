"""Fine-tuning: batches of all tasks through one body, again and again, until time or patience is over.

Everything that happens by chance comes from the seed and the number of the batch, so a run that was killed and goes on
from its last state does what it would have done. Times are added up over all its lives.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from suite.encoder.heads import CLASSIFICATION
from suite.encoder.model import Encoder
from suite.encoder.training.body import rates, sizes_of
from suite.encoder.training.characters import grown, size_of, unread, unreadable
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.losses import Heads, Retained, loss_of, perturbation
from suite.encoder.training.mining import with_hard_negatives
from suite.encoder.training.progress import Progress, Report
from suite.encoder.training.replicas import Replicas, number_of, together
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tasks import (
    Example,
    Given,
    Plan,
    Texts,
    TrainingError,
    plain_texts,
    read_tasks,
    shown,
    without,
)
from suite.encoder.training.trained_body import TrainedBody
from suite.encoder.training.validation import measure

SAMPLE = 64  # texts that tell whether a quicker engine gives the same vectors
SHORTEST_WARM_UP = 100  # steps, of a run that warms up: Adam's first ones are as long as any, whatever they are worth
RECENT_BATCHES = 50  # that the rate of examples is measured over

# oneDNN reads it when it first computes: of how many shapes it keeps the code. 512 are nearly all of a run, see
# `packing.py`; at its default of 1,024 a run of other bodies, which has many more, takes half a gigabyte for them.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "512")


def fine_tune(
    encoder: Encoder, given: Iterable[Given], config: TrainingConfig, folder: RunFolder, report: Report,
    texts: Iterable[str] = (),
) -> tuple[Encoder, Progress]:  # fmt: skip
    """A tuned copy of the encoder, without heads; the one that was given stays as it is. `texts` are among those that
    are held where they were, where the configuration wants any. Goes on from the folder's state where there is one.
    Raises `TrainingError`, and what `report` raises."""
    given = list(given)
    others = plain_texts(given, texts) if given and config.retention and config.plain_texts else []
    return carried_out(Run, encoder, [*given, *others], config, folder, report)


def carried_out(
    kind: type[Run], encoder: Encoder, given: list[Given], config: TrainingConfig, folder: RunFolder, report: Report
) -> tuple[Encoder, Progress]:
    """Train, on all GPUs that there are, and give the encoder with the body that came of it. Raises `TrainingError`,
    and what `report` raises."""
    try:
        count = number_of(config.processes, encoder.device)
        with together(count, encoder, folder.path, partial(helped, kind, given, config, folder)) as replicas:
            run = kind(encoder, given, config, folder, replicas)
            run.train(report)
        settings = run.encoder.config_with(weights="", **sizes_of(config))
        return run.encoder.with_body(run.finished(), settings, run.body.pooling), run.progress
    except torch.OutOfMemoryError as error:
        raise TrainingError("out of memory on the device; use a smaller batch_size or max_tokens") from error
    except MemoryError as error:
        raise TrainingError("out of memory; use a smaller batch_size or max_tokens") from error


def helped(
    kind: type[Run], given: list[Given], config: TrainingConfig, folder: RunFolder, encoder: Encoder, replicas: Replicas
) -> None:
    """What the process of another device does for the run."""
    kind(encoder, given, config, folder, replicas).train(lambda progress: None)


class Run:
    """One body in training; where several processes train it, the share of this one."""

    def __init__(
        self, encoder: Encoder, given: Iterable[Given], config: TrainingConfig, folder: RunFolder,
        replicas: Replicas | None = None,
    ) -> None:  # fmt: skip
        self.config = config
        self.replicas = replicas or Replicas()
        self.folder = folder
        given = list(given)
        is_fixed = config.frozen_layers or config.lora_rank or config.is_student
        self.characters: list[str] = []  # that become tokens
        if not is_fixed:  # those that it began with, though texts without labels have come and gone since
            began = (folder.read_state() or {}).get("characters")
            self.characters = unread(encoder.tokenizer, shown(given), config.new_characters) if began is None else began
        strange = self.characters
        first_new = size_of(encoder.tokenizer)
        self.encoder = encoder = grown(encoder, strange) if strange else encoder
        self.device = encoder.device
        self.texts = Texts(encoder.tokenizer, min(config.max_tokens, encoder.pooling.max_length))
        self.tasks = read_tasks(given, self.texts, config.concatenated, config.seed)
        unheld = unreadable(first_new, self.texts.ids) if strange else set()
        self.tasks = [one for one in map(partial(without, unheld), self.tasks) if one.train]
        torch.manual_seed(config.seed)
        self.body = self.new_body(first_new if strange else None)
        self.heads: Any = self.new_heads().to(self.device)
        self.as_it_came = self.quick_encoder()
        self.retained = Retained(self.held_tasks(), self.embed_as_it_came, unheld)
        if config.hard_negatives:
            self.tasks = with_hard_negatives(self.tasks, self.body.embed, config.hard_negatives)
        self.plan = Plan(self.tasks, self.texts, config)
        groups = rates(self.body.model, config)
        groups.append({"params": list(self.heads.parameters()), "lr": config.head_rate})
        self.rates = [group["lr"] for group in groups]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
        count = self.replicas.count
        self.progress = Progress(batches=-(-len(self.plan) // count) * count)  # as many for each
        if config.accumulate > 1 and config.accumulate * count >= self.progress.batches:
            raise TrainingError(f"accumulate is {config.accumulate}, of {self.progress.batches:,} batches in all: "
                                "no step would be made; use a smaller one, or more epochs")  # fmt: skip
        self.stale = 0  # evaluations since the best one
        self.began = time.monotonic()
        self.lived = 0.0  # seconds of earlier lives
        self.clock = 0.0  # seconds of all lives, as all processes know them
        self.stamps: list[float] = []

    def new_body(self, first_new: int | None) -> TrainedBody:
        """What is trained and kept; tokens from `first_new` on learn apart."""
        return TrainedBody(self.encoder, self.config, self.texts, first_new)

    def new_heads(self) -> torch.nn.Module:
        """What is trained along with the body and thrown away afterwards."""
        return Heads(self.tasks, self.encoder.dimensions, self.config.scale, self.config.item_residual > 0)

    def held_tasks(self) -> set[int]:
        """The numbers of the tasks whose texts' vectors stay near what they were."""
        is_held = self.config.retention > 0
        return {number for number, task in enumerate(self.tasks)
                if is_held and (self.config.is_student or task.kind != CLASSIFICATION)}  # fmt: skip

    def embed_as_it_came(self, texts: Sequence[int]) -> torch.Tensor:
        """Unit vectors of texts by number as the body was before training, all its layers, float32 (n, d)."""
        vectors = self.as_it_came.embed([self.texts.ids[text] for text in texts])
        return torch.from_numpy(vectors).to(self.device)

    def quick_encoder(self) -> Encoder:
        """The encoder as it came, in bfloat16 where that will do."""
        ids = self.texts.ids
        return self.encoder.quickest(ids[:: len(ids) // SAMPLE + 1]) if self.body.is_narrow else self.encoder.exactly()

    # The way of a run ------------------------------------------------------------------------------------------
    def train(self, report: Report) -> None:
        if self.resume():
            report(self.progress)  # so that who watches sees where it goes on
        if not self.progress.evaluations:
            self.evaluate()
        saved_at = time.monotonic()
        while not self.progress.batch or (self.share() < 1 and not self.is_stale()):  # one at least, however slow it is
            self.one_batch()
            self.look_at_clock()
            if self.share() * self.evaluations() >= len(self.progress.evaluations):
                self.evaluate()
                report(self.progress)  # which ends this where another process has the run, before anything is written
                self.save()
                saved_at = time.monotonic()
                continue
            if time.monotonic() - saved_at >= self.config.checkpoint_seconds:
                self.save()
                saved_at = time.monotonic()
            report(self.progress)
        if self.progress.evaluations[-1]["batch"] != self.progress.batch:
            self.evaluate()
            report(self.progress)
            self.save()

    def evaluations(self) -> int:
        """How many are spread over the run: as many as wanted that, by what the first one took, leave time to train."""
        wanted, seconds = self.config.evaluations, 60 * self.config.minutes * self.config.evaluating
        took = self.progress.evaluations[0].get("seconds", 0.0)
        return max(1, min(wanted, int(seconds / took))) if seconds and took else wanted

    def share(self) -> float:
        """How much of the run is done, in batches or in time, from 0 to 1."""
        in_batches = self.progress.batch / self.progress.batches
        in_time = self.clock / (60 * self.config.minutes) if self.config.minutes else 0.0
        return min(1.0, max(in_batches, in_time))

    def look_at_clock(self) -> None:
        self.clock = self.replicas.agreed(self.seconds())

    def seconds(self) -> float:
        return self.lived + time.monotonic() - self.began

    def is_stale(self) -> bool:
        return 0 < self.config.patience <= self.stale

    def one_batch(self) -> None:
        """One pass forward and backward, each process its own batch; every `accumulate`-th is a step."""
        config, count = self.config, self.replicas.count
        number = self.progress.batch + self.replicas.rank
        torch.manual_seed(config.seed * 1_000_003 + number)
        which, positions = self.plan[number % len(self.plan)]
        is_held = which in self.retained.tasks  # dropout would pull it away from where it was
        self.body.model.train(not is_held)
        value = self.backward(which, positions) / config.accumulate
        self.progress.batch += count
        if self.progress.batch // count % config.accumulate == 0 or self.progress.batch == self.progress.batches:
            self.step()
        self.note(self.tasks[which].name, value * config.accumulate)

    def backward(self, which: int, positions: Iterable[int]) -> float:
        """Add the batch's gradients; its loss. With `adversarial` those of the perturbed batch, too."""
        task = self.tasks[which]
        batch = [task.train[position] for position in positions]
        texts = list(dict.fromkeys(text for one in batch for text in one.texts))
        row = {text: place for place, text in enumerate(texts)}
        embedded: list[torch.Tensor] = []
        vectors = self.body.vectors(texts, embedded)
        loss = self.loss(which, batch, texts, vectors, row)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss of {task.name} is not a number any more; use a lower learning_rate")
        (loss / self.config.accumulate).backward()
        if self.config.adversarial:
            pushed = [perturbation(one, self.config.adversarial) for one in embedded]
            vectors = self.body.vectors(texts, [], pushed)
            again = self.loss(which, batch, texts, vectors, row)
            (again / self.config.accumulate).backward()
        return float(loss.detach())

    def loss(
        self, which: int, batch: Sequence[Example], texts: Sequence[int], vectors: torch.Tensor, row: Mapping[int, int]
    ) -> torch.Tensor:
        task = self.tasks[which]
        held = self.config.retention * self.retained.distance(texts, vectors) if which in self.retained.tasks else None
        is_worse = any(task.name in one["worse"] for one in self.progress.evaluations[-1:])
        if held is not None and is_worse and self.retained.holds(texts):
            return held  # its examples teach nothing that holds for others: the texts are led back to where they were
        loss = loss_of(which, task, batch, vectors, row.__getitem__, self.heads, self.config)
        return loss if held is None else loss + held

    def step(self) -> None:
        factor = schedule(self.share(), self.progress.batch / self.replicas.count / self.config.accumulate,
                          self.config.warm_up)  # fmt: skip
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.progress.learning_rate = self.config.learning_rate * factor
        parameters = [one for group in self.optimiser.param_groups for one in group["params"]]
        self.replicas.average(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip)
        if not torch.isfinite(norm):
            raise TrainingError("the gradients are not numbers any more; use a lower learning_rate")
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    # Looking and keeping -------------------------------------------------------------------------------------------
    def measured(self) -> dict[str, float]:
        """{task: its primary metric} of the body as it is now, the more the better."""
        return measure(self.tasks, self.heads, self.body.embed)

    def evaluate(self) -> None:
        began = time.monotonic()
        metrics = self.measured()
        took = round(self.replicas.agreed(time.monotonic() - began), 3)
        mean = self.replicas.agreed(sum(metrics.values()) / max(1, len(metrics)))
        found = self.progress.evaluations
        best = max((one["mean"] for one in found[1:]), default=float("-inf"))
        is_first = not found  # of the body as it came, whose heads know nothing
        self.progress.evaluated(metrics, mean, seconds=took)
        if not is_first:
            self.stale = 0 if mean > best else self.stale + 1
            if self.replicas.is_first:
                self.folder.write_body(self.progress.batch, self.trained())
        self.look_at_clock()

    def best(self) -> list[int]:
        """The batches after which the best bodies were evaluated, best first."""
        ranked = sorted(self.progress.evaluations[1:], key=lambda one: (-one["mean"], one["batch"]))
        return [one["batch"] for one in ranked[: self.config.average]]

    def finished(self) -> torch.nn.Module:
        """The best body that was evaluated, or the mean of the best ones where that is better still.

        Averaging after Wortsman et al., Model soups, 2022.
        """
        kept = self.best()
        bodies = [self.folder.read_body(batch) for batch in kept]
        self.adopt(bodies[0])
        if len(bodies) > 1:
            self.adopt({name: torch.stack([body[name] for body in bodies]).mean(dim=0) for name in bodies[0]})
            metrics = self.measured()
            mean = sum(metrics.values()) / max(1, len(metrics))
            best = max(one["mean"] for one in self.progress.evaluations[1:])
            if mean >= best:
                self.progress.evaluated(metrics, mean, averaged=kept)
            else:
                self.adopt(bodies[0])
        return self.body.finished()

    def trained(self) -> Mapping[str, torch.Tensor]:
        """What training changes: of the body, and of the heads."""
        body: dict[str, torch.Tensor] = {
            f"body.{name}": one for name, one in self.body.model.named_parameters() if one.requires_grad
        }
        return body | {f"heads.{name}": one for name, one in self.heads.named_parameters()}

    @torch.no_grad()
    def adopt(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.trained().items():
            parameter.copy_(tensors[name])

    def save(self) -> None:
        if not self.replicas.is_first:
            return
        self.progress.seconds = self.seconds()
        self.folder.write_state(
            {
                "tensors": {name: one.detach().cpu() for name, one in self.trained().items()},
                "optimiser": self.optimiser.state_dict(),
                "progress": self.progress.as_dict(),
                "characters": self.characters,
                "stale": self.stale,
            }
        )
        self.folder.drop_bodies(set(self.best()))  # not before: an older state may still want the others

    def resume(self) -> bool:
        """Go on from the folder's state, where there is one; gradients that were not yet a step are begun anew."""
        state = self.folder.read_state()
        if state is None:
            return False
        self.adopt(state["tensors"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(**state["progress"])
        self.progress.batch -= self.progress.batch % (self.config.accumulate * self.replicas.count)
        self.stale = state["stale"]
        self.lived = self.clock = self.progress.seconds
        self.began = time.monotonic()
        return True

    def note(self, task: str, loss: float) -> None:
        """What the page shows."""
        count, now = self.replicas.count, time.monotonic()
        self.stamps = [*self.stamps[-RECENT_BATCHES:], now]
        if len(self.stamps) > 1:
            a_second = (len(self.stamps) - 1) * self.config.batch_size * count / (now - self.stamps[0])
            self.progress.examples_a_second = round(a_second, 1)
        self.progress.note(task, loss, seconds=self.seconds(), share=self.share(), at_once=count)


def schedule(share: float, steps: float, warm_up: float) -> float:
    """What the learning rates are multiplied by after `steps`, which are the `share` of a run: it rises for the share
    `warm_up`, and for `SHORTEST_WARM_UP` steps at least, and falls to 0."""
    if not warm_up:
        return 1 - share
    falling = (1 - share) / max(1e-9, 1 - warm_up)
    return min(share / warm_up, steps / SHORTEST_WARM_UP, falling)
