"""How much is for validation, and which examples of a classification are where the tenth that its domain held out will
not do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from suite.marking import without_mark
from suite.releases.training_data import CLASSIFICATION, HELD_OUT, TaskExamples, is_held_out

ENOUGH_HELD, MOST_HELD = 150, 0.3  # examples for validation, but at most this share of them
MOST_OF_CLASSES = 3  # and at most this over their number: of many, each has but a few, which are wanted for training


def with_enough(task: TaskExamples) -> TaskExamples:
    """The task with more of its texts for validation, where a tenth of them are too few to tell anything by: those that
    the same hash would have held out of a larger share. A task that is split in another way is left as it is."""
    if task.kind != CLASSIFICATION or (share := share_held_of(task)) <= HELD_OUT:
        return task
    held = [is_held_out(without_mark(text)) for text, _ in (*task.train, *task.validation)]
    if held != [False] * len(task.train) + [True] * len(task.validation):
        return task
    sides: dict[bool, list[Any]] = {False: [], True: list(task.validation)}
    for example in task.train:
        sides[is_held_out(without_mark(example[0]), share)].append(example)
    return replace(task, train=sides[False], validation=sides[True])


def share_held_of(task: TaskExamples) -> float:
    examples = [*task.train, *task.validation]
    return share_held(len(examples), len({label for _, label in examples}))


def share_held(examples: int, classes: int = 1) -> float:
    """The share of so many examples that is for validation. It falls only, as examples and classes come in: so what was
    once held out of a release's training measures it still."""
    return max(HELD_OUT, min(MOST_HELD, MOST_OF_CLASSES / max(1, classes), ENOUGH_HELD / max(1, examples)))


def with_rare(task: TaskExamples) -> TaskExamples:
    """The task with the examples of classes that came to stand for validation alone, as rare ones may, to train on."""
    if task.kind != CLASSIFICATION:
        return task
    seen = {label for _, label in task.train}
    rare = [example for example in task.validation if example[1] not in seen]
    kept = [example for example in task.validation if example[1] in seen]
    return replace(task, train=[*task.train, *rare], validation=kept) if rare else task
