"""Train: a snapshot of examples becomes an encoder with a tuned body and fitted, calibrated, measured heads.

Imports torch: for workers and commands only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from django.conf import settings

from suite.domain import DomainError
from suite.encoder.model import Encoder
from suite.encoder.training.characters import size_of
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.loop import fine_tune
from suite.encoder.training.progress import Progress
from suite.encoder.training.states import RunFolder
from suite.marking import folded, texts_in
from suite.releases.building import HeadPlan, declarations, fit_heads, plan_of
from suite.releases.heads import Examples
from suite.releases.snapshot import Snapshot, SnapshotError
from suite.releases.training_data import TaskExamples

SNAPSHOT = "snapshot.json.gz"


@dataclass(frozen=True, slots=True)
class Trained:
    """`metrics` are {head: {metric: value}} on held-out examples, `remarks` say what became of the tokenizer, and which
    heads are missing and why; `plans` are the heads with the examples that they were fitted and measured on."""

    encoder: Encoder
    metrics: dict[str, dict[str, float]]
    remarks: list[str]
    plans: list[HeadPlan]


def train(
    snapshot: Snapshot, config: TrainingConfig, folder: Path, *, has_other_heads: bool,
    say: Callable[[str], None], report: Callable[[Progress], None],
) -> Trained:  # fmt: skip
    """Tune the body on the snapshot's tasks, then fit their heads on it; with `has_other_heads` those that there is no
    data for, too, on the examples that they declare. Goes on from what a run of the same examples and configuration
    left in `folder`. Raises `SnapshotError`, `TrainingError`, `CheckpointError`, and what `report` raises."""
    plans = head_plans(snapshot.tasks, has_other_heads=has_other_heads)
    body = config.body or settings.ENCODER
    say(f"Loading {body}")
    encoder = Encoder.load(body, threads=settings.ENCODER_THREADS)
    remarks: list[str] = []
    if config.epochs != 0:
        count = sum(len(task.train) for task in snapshot.tasks)
        say(f"Tuning the body on {count:,} examples of {len(snapshot.tasks)} tasks")
        run = RunFolder(folder, digest(snapshot, config, encoder))
        tuned, _ = fine_tune(encoder, snapshot.tasks, config, run, report, texts_apart(snapshot, plans))
        remarks += on_characters(encoder, tuned, say)
        encoder = tuned
    heads, metrics, problems = fit_heads(encoder, plans, say)
    if missing := {task.head for task in snapshot.tasks if task.head} - heads.keys():
        reasons = [problem for problem in problems if any(f"head {name}:" in problem for name in missing)]
        raise SnapshotError("; ".join(reasons))
    return Trained(encoder.with_heads(heads), metrics, remarks + problems, plans)


def on_characters(before: Encoder, after: Encoder, say: Callable[[str], None]) -> list[str]:
    """What is to be said, and is, of the tokenizer: nothing where it stayed as it was."""
    fresh = size_of(after.tokenizer) - size_of(before.tokenizer)
    remarks = [f"{fresh:,} characters that {before.body} did not know have become tokens of their own"] if fresh else []
    for remark in remarks:
        say(remark)
    return remarks


def texts_apart(snapshot: Snapshot, plans: Iterable[HeadPlan]) -> list[str]:
    """The snapshot's texts but for those that a head is measured on, whether it has a task or not."""
    held = {folded(text) for plan in plans for inputs, _ in plan.examples.validation for text in texts_in(inputs)}
    return [text for text in snapshot.texts if folded(text) not in held]


def digest(snapshot: Snapshot, config: TrainingConfig, encoder: Encoder) -> str:
    """What a run comes from: the same ones can go on from each other's checkpoints."""
    return digest_of([snapshot.digest, config.as_dict(), encoder.fingerprint])


def digest_of(parts: list[Any]) -> str:
    """16 hex digits of plain data."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def head_plans(tasks: Iterable[TaskExamples], *, has_other_heads: bool) -> list[HeadPlan]:
    """The heads to fit: each on all tasks that name it. Raises `DomainError`."""
    declared = declarations()
    by_head: dict[str, list[TaskExamples]] = {}
    for task in tasks:
        if task.head and task.head not in declared:
            raise DomainError(f"task {task.name} fits a head {task.head!r} that no domain declares")
        if task.head:
            by_head.setdefault(task.head, []).append(task)
    plans = []
    for name, declaration in declared.items():
        if name in by_head:
            plans.append(plan_of(declaration, together(by_head[name])))
        elif has_other_heads:
            plans.append(plan_of(declaration, declaration.examples()))
    return plans


def together(tasks: Iterable[TaskExamples]) -> Examples:
    """The examples of tasks that fit one head."""
    tasks = list(tasks)
    return Examples(
        tuple(chain.from_iterable(task.train for task in tasks)),
        tuple(chain.from_iterable(task.validation for task in tasks)),
        pseudo_labelled=tuple(chain.from_iterable(task.pseudo_labelled for task in tasks)),
    )
