"""Compress: a release with fewer layers, taught by another release, with heads of its own and its own evaluation.

Imports torch: for workers and commands only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from suite.encoder.training.distillation import distil
from suite.releases import runtime
from suite.releases.building import fit_heads, keep
from suite.releases.calibration import calibrated
from suite.releases.comparison import ACTIVE, evaluate, note
from suite.releases.models import Release
from suite.releases.snapshot import Snapshot
from suite.releases.training import head_plans
from suite.releases.training_data import CLASSIFICATION, CONTRASTIVE, PAIR, TaskExamples


def compress(
    teacher: Release, layers: int, snapshot: Snapshot, *, minutes: float, say: Callable[[str], None]
) -> Release:
    """A candidate whose body has `layers` of the teacher's, compared with it. It learns from the snapshot's texts and
    from those of the heads' examples. Raises `TrainingError`, `CheckpointError` or `NoRelease`."""
    plans = head_plans(snapshot.tasks, has_other_heads=True)
    large = runtime.encoder_for(teacher.fingerprint)
    texts = [text for task in snapshot.tasks for text in texts_of(task)]
    texts += [text for plan in plans for inputs, _ in plan.examples.train for text in as_texts(inputs)]
    say(f"Teaching {layers} layers on {len(set(texts)):,} texts")
    small = distil(large, layers, texts, minutes=minutes, say=say)
    heads, metrics, problems = fit_heads(small, plans, say)
    small = small.with_heads(heads)
    release = keep(small, metrics, [f"compressed from {teacher.fingerprint} to {layers} layers", *problems])
    calibrated(small, release.folder, plans, say=say)
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
