"""The examples of a task that can be learned from: without repeats, contradictions, and what stands on both sides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from suite.releases.training_data import CLASSIFICATION, PAIR, TaskExamples

CONTRADICTORY = 0.05  # share of the inputs that may bear two labels; they are left out, and more is an error
LEAST_VALIDATION = 2
FEW_VALIDATION = 30  # fewer say little: of 30 that are right to a half, between 10 and 20 are in 19 of 20 cases
LENT = 5  # one in so many training examples, where the data has too few for validation


class SnapshotError(Exception):
    """Data that nothing can be learned from; the message names the file or format, what is wrong, and the limit."""


def cleaned(task: TaskExamples, tell: Callable[[str], None]) -> TaskExamples:
    """The task without repeats, contradictions and what stands on both sides; what was left out is told, and where what
    is left will say little. Raises `SnapshotError`."""
    for note in task.notes:
        tell(f"{task.name}: {note}")
    validation = list(dict.fromkeys(task.validation))
    held = {key(task, example) for example in validation}
    train = list(dict.fromkeys(example for example in task.train if key(task, example) not in held))
    if task.kind in {CLASSIFICATION, PAIR}:
        train = without_contradictions(task, train, tell)
        validation = without_contradictions(task, validation, tell)
    if len(validation) < LEAST_VALIDATION:
        train, validation = [*train, *validation], []
        validation = train[::LENT]
        train = [example for number, example in enumerate(train) if number % LENT]
    if not train or len(validation) < LEAST_VALIDATION:
        raise SnapshotError(
            f"{task.name}: has {len(train) + len(validation)} different examples that stand on one side of the split, "
            f"too few to learn from; {LENT * (LEAST_VALIDATION - 1) + 1} or more are needed"
        )
    labels, held_before = task.labels, len(validation)
    if task.kind in {CLASSIFICATION, PAIR}:
        labels = labels or tuple(sorted({label for _, label in train}))
        train, validation = (
            with_labels(task.name, labels, train, tell),
            with_labels(task.name, labels, validation, tell),
        )
        if len(validation) < LEAST_VALIDATION:
            raise SnapshotError(
                f"{task.name}: {len(validation)} of {held_before} validation examples bear a label that is trained on, "
                f"at least {LEAST_VALIDATION} must; a label needs two "
                "examples or more, one to learn from and one to be measured on"
            )
        seen = {label for _, label in train}
        if len(seen) < 2:
            raise SnapshotError(
                f"{task.name}: a head needs examples of two classes or more, these are all of {len(seen)}"
            )
    if few := few_of(task, validation):
        tell(f"{task.name}: {few}")
    return replace(task, labels=labels, train=train, validation=validation, notes=())


def few_of(task: TaskExamples, validation: Sequence[Any]) -> str:
    """What is to be said of too few examples for validation; empty where they will do."""
    what = task.head or task.kind
    if len(validation) < FEW_VALIDATION:
        return f"{what} is measured on {len(validation)} examples, so its figures are little more than chance"
    if task.head and len({label for _, label in validation}) < 2:
        return f"{what} is measured on examples of one class, so nothing is known of the others"
    return ""


def with_all_classes(
    tasks: Sequence[TaskExamples], asked: Collection[str], tell: Callable[[str], None]
) -> list[TaskExamples]:
    """The tasks whose heads decide between given classes, where all of these have examples, and the other tasks. Raises
    `SnapshotError` where one that was asked for has not."""
    seen: dict[str, set[str]] = {}
    for task in tasks:
        if task.kind == CLASSIFICATION:
            seen.setdefault(task.head, set()).update(label for _, label in task.train)
    kept = []
    for task in tasks:
        missing = [label for label in task.labels if label not in seen[task.head]] if task.head in seen else []
        if not missing:
            kept.append(task)
            continue
        problem = f"{task.name}: no example is labelled {', '.join(missing)}; its head needs some of every class"
        if task.name in asked:
            raise SnapshotError(problem)
        tell(f"left out: {problem}")
    return kept


def key(task: TaskExamples, example: Any) -> Any:
    """What must not stand on both sides."""
    return example if task.kind not in {CLASSIFICATION, PAIR} else example[0]


def with_labels(name: str, labels: Sequence[str], examples: list[Any], tell: Callable[[str], None]) -> list[Any]:
    known = [example for example in examples if example[1] in labels]
    if len(known) < len(examples):
        tell(f"{name}: {len(examples) - len(known):,} examples left out, their label is not one of {', '.join(labels)}")
    return known


def without_contradictions(task: TaskExamples, examples: list[Any], tell: Callable[[str], None]) -> list[Any]:
    """Raises `SnapshotError` where they are more than a few."""
    by_input: dict[Any, set[str]] = {}
    for inputs, label in examples:
        by_input.setdefault(inputs, set()).add(label)
    bad = sum(len(labels) > 1 for labels in by_input.values())
    if bad > CONTRADICTORY * len(by_input):
        raise SnapshotError(
            f"{task.name}: {bad:,} of {len(by_input):,} different inputs bear contradictory labels, "
            f"at most {CONTRADICTORY:.0%} may"
        )
    if bad:
        tell(f"{task.name}: {bad:,} inputs left out, they bear contradictory labels")
    return [example for example in examples if len(by_input[example[0]]) == 1]
