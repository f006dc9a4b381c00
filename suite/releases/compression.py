"""Compress: a release with fewer layers, taught by another one, or with weights in int8; heads and evaluation its own.

Imports torch: for workers and commands only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from suite.encoder.training.distillation import distil
from suite.encoder.training.loop import Report
from suite.encoder.training.tasks import TrainingError
from suite.releases import runtime
from suite.releases.building import fit_heads, keep
from suite.releases.calibration import calibrated
from suite.releases.comparison import ACTIVE, evaluate, note
from suite.releases.models import Release
from suite.releases.snapshot import Snapshot
from suite.releases.training import head_plans
from suite.releases.training_data import CLASSIFICATION, CONTRASTIVE, PAIR, TaskExamples


@dataclass(frozen=True, slots=True)
class Compression:
    """What is made smaller: how many layers are left (0: all), and whether the weights are kept in int8."""

    layers: int
    minutes: float = 10.0  # of teaching, at most
    is_int8: bool = False

    def __post_init__(self) -> None:
        """Raises `TrainingError`."""
        if not self.layers and not self.is_int8:
            raise TrainingError("nothing would be smaller: give fewer layers, or int8, or both")
        if not self.minutes > 0:
            raise TrainingError(f"minutes must be more than 0, not {self.minutes:g}")

    def __str__(self) -> str:
        parts = [f"{self.layers} layers"] * bool(self.layers) + ["int8"] * self.is_int8
        return " in ".join(parts)


def compress(
    teacher: Release, wanted: Compression, snapshot: Snapshot, *, say: Callable[[str], None],
    report: Report = lambda progress: None,
) -> Release:  # fmt: skip
    """A candidate that is smaller than the teacher, compared with it. It learns from the snapshot's texts and from
    those of the heads' examples. Raises `TrainingError`, `CheckpointError`, `NoRelease`, and what `report` raises."""
    plans = head_plans(snapshot.tasks, has_other_heads=True)
    large = runtime.encoder_for(teacher.fingerprint)
    small = large
    if wanted.layers:
        texts = [text for task in snapshot.tasks for text in texts_of(task)]
        texts += [text for plan in plans for inputs, _ in plan.examples.train for text in as_texts(inputs)]
        say(f"Teaching {wanted.layers} layers on {len(set(texts)):,} texts")
        small = distil(large, wanted.layers, texts, minutes=wanted.minutes, say=say, report=report)
    if wanted.is_int8:
        small = small.in_int8()
    heads, metrics, problems = fit_heads(small, plans, say)
    small = small.with_heads(heads)
    release = keep(small, metrics, [f"compressed from {teacher.fingerprint} to {wanted}", *problems])
    calibrated(small, release.folder, plans, say=say)
    say("Measuring it beside its teacher and simple rivals")
    release.compared_with = teacher.fingerprint
    note(release, evaluate(small, plans, snapshot.tasks, {ACTIVE: large}))
    return release


def texts_of(task: TaskExamples) -> Iterator[str]:
    """The texts that a task trains on."""
    for example in task.train:
        if task.kind in {CLASSIFICATION, PAIR}:
            yield from as_texts(example[0])
        elif task.kind == CONTRASTIVE:
            yield from (example[0], example[1], *example[2])
        else:
            yield from (*example[0], example[1])


def as_texts(inputs: str | tuple[str, str]) -> tuple[str, ...]:
    return (inputs,) if isinstance(inputs, str) else inputs
