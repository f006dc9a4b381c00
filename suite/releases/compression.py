"""Compress: a release with fewer layers, taught by another one, or with weights in int8; heads and evaluation its own.

Imports torch: for workers and commands only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from suite.encoder.model import Encoder
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.loop import fine_tune
from suite.encoder.training.progress import Report
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tasks import TextTask
from suite.releases import runtime
from suite.releases.building import HeadPlan, fit_heads, kept, sample_texts
from suite.releases.calibration import calibrated
from suite.releases.comparison import ACTIVE, evaluate, note
from suite.releases.models import Release
from suite.releases.snapshot import Snapshot
from suite.releases.training import digest_of, head_plans, texts_apart

TEACHING = TrainingConfig(
    epochs=20,
    batch_size=48,
    max_tokens=64,
    learning_rate=8e-4,
    layer_decay=1,
    retention=50,
    evaluations=4,
    patience=0,
)
SHAPE = "the last layer is whole"  # of a student: change it with the shape, so that no older state is gone on from
OTHERS = "other texts"  # of heads whose examples are no task of the snapshot


@dataclass(frozen=True, slots=True)
class Compression:
    """What is made smaller: how many layers are left, and how much of each one's feed-forward part (0: all), and
    whether the weights are kept in int8."""

    layers: int
    minutes: float  # of teaching, at most
    is_int8: bool
    feed_forward: int = 0

    @property
    def teaching(self) -> TrainingConfig:
        return replace(TEACHING, layers=self.layers, feed_forward=self.feed_forward, minutes=self.minutes)

    def __str__(self) -> str:
        parts = [f"{self.layers} layers"] * bool(self.layers)
        parts += [f"feed-forward of {self.feed_forward:,}"] * bool(self.feed_forward)
        return ", ".join(parts + ["int8"] * self.is_int8)


def compress(
    teacher: Release, wanted: Compression, snapshot: Snapshot, folder: Path, *, say: Callable[[str], None],
    report: Report,
) -> Release:  # fmt: skip
    """A candidate that is smaller than the teacher, compared with it. Goes on from what the same compression left in
    `folder`. Raises `TrainingError`, `CheckpointError`, `NoRelease`, and what `report` raises."""
    plans = head_plans(snapshot.tasks, has_other_heads=True)
    large = runtime.encoder_for(teacher.fingerprint)
    small = taught(large, wanted, snapshot, plans, folder, say, report) if wanted.teaching.is_student else large
    if wanted.is_int8:
        small = small.in_int8()
    heads, metrics, problems = fit_heads(small, plans, say)
    small = small.with_heads(heads)
    with kept(small, metrics, [f"compressed from {teacher.fingerprint} to {wanted}", *problems]) as release:
        calibrated(small, release.folder, plans, say=say)
        say("Measuring it beside its teacher and simple rivals")
        release.compared_with = teacher.fingerprint
        sample = sample_texts(plans)
        note(release, evaluate(small.quickest(sample), plans, snapshot.tasks, {ACTIVE: large.quickest(sample)}))
        say(f"Made release {release.fingerprint}")
    return release


def taught(
    teacher: Encoder, wanted: Compression, snapshot: Snapshot, plans: Iterable[HeadPlan], folder: Path,
    say: Callable[[str], None], report: Report,
) -> Encoder:  # fmt: skip
    """A student that learns the snapshot's tasks, and to give the teacher's vectors of all texts."""
    config = wanted.teaching
    known = {task.head for task in snapshot.tasks}
    texts = [
        plan.spec.prefix + text
        for plan in plans if plan.spec.name not in known
        for inputs, _ in plan.examples.train
        for text in ((inputs,) if isinstance(inputs, str) else inputs)
    ]  # fmt: skip
    others = [TextTask(OTHERS, texts)] if texts else []
    apart = texts_apart(snapshot, plans)
    say(f"Teaching {wanted} on {len(snapshot.tasks)} tasks, {len(texts) + len(apart):,} other texts")
    run = RunFolder(folder, digest_of([snapshot.digest, teacher.fingerprint, config.as_dict(), SHAPE]))
    return fine_tune(teacher, [*snapshot.tasks, *others], config, run, report, apart)[0]
