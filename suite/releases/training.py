"""Train: a snapshot of examples becomes an encoder with fitted, calibrated, measured heads.

Imports torch: for workers and commands only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from django.conf import settings

from suite.domain import DomainError
from suite.encoder.model import Encoder
from suite.encoder.training.config import TrainingConfig
from suite.releases.building import HeadPlan, declarations, fit_heads, plan_of
from suite.releases.heads import Examples
from suite.releases.snapshot import Snapshot, SnapshotError
from suite.releases.training_data import TaskExamples


@dataclass(frozen=True, slots=True)
class Trained:
    """`metrics` are {head: {metric: value}} on held-out examples, `problems` say which heads are missing and why."""

    encoder: Encoder
    metrics: dict[str, dict[str, float]]
    problems: list[str]


def train(snapshot: Snapshot, config: TrainingConfig, say: Callable[[str], None], *, has_other_heads: bool) -> Trained:
    """Fit the heads of the snapshot's tasks; with `has_other_heads` those that it has no data for, too, on the examples
    that they declare. Raises `SnapshotError` or `CheckpointError`."""
    plans = head_plans(snapshot.tasks, has_other_heads=has_other_heads)
    say(f"Loading {settings.ENCODER}")
    encoder = Encoder.load(settings.ENCODER, threads=settings.ENCODER_THREADS)
    heads, metrics, problems = fit_heads(encoder, plans, say)
    learned = {task.head for task in snapshot.tasks if task.head}
    if missing := learned - heads.keys():
        raise SnapshotError("; ".join(problem for problem in problems if any(name in problem for name in missing)))
    return Trained(encoder.with_heads(heads), metrics, problems)


def head_plans(tasks: Iterable[TaskExamples], *, has_other_heads: bool) -> list[HeadPlan]:
    """The heads to fit: on all tasks that name one, together. Raises `DomainError` or `SnapshotError`."""
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
    )
