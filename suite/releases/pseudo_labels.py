"""Pseudo-labels: texts that nobody labelled join what is trained on, with the label that a release is sure enough of.

After Lee, Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks, 2013. No
text that stands for validation comes in this way, whichever task it stands there for. Imports torch: for workers and
commands only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from django.conf import settings

from suite.encoder.model import Encoder
from suite.encoder.training.config import TrainingConfig
from suite.marking import folded, texts_in
from suite.releases import runtime, selectors
from suite.releases.building import fit_heads
from suite.releases.snapshot import Snapshot, labelling
from suite.releases.training import head_plans
from suite.releases.training_data import CLASSIFICATION, Labelling, TaskExamples, is_held_out
from suite.releases.validation import share_held_of

MOST_SCORED = 20_000  # newest texts of a task; some minutes on two cores
AT_ONCE = 512  # texts scored together

Say = Callable[[str], None]


def with_pseudo_labels(taken: Snapshot, config: TrainingConfig, say: Say) -> Snapshot:
    """The snapshot, each classification with the texts that it is at least `config.pseudo_labels` sure of, at most as
    many as people labelled; how many of each class stands in the notes. Raises `CheckpointError`."""
    if not config.pseudo_labels:
        return taken
    given = labelling()
    held = {folded(text) for task in taken.tasks for text in texts_in(task.validation)}
    tasks, notes = [], list(taken.notes)
    for task in taken.tasks:
        if task.kind == CLASSIFICATION and task.head in given and given[task.head].format == task.name:
            say(f"{task.name}: looking for texts to label by a release")
            task, note = labelled(task, given[task.head], held, config, say)
            notes.append(f"{task.name}: {note}")
        tasks.append(task)
    return replace(taken, tasks=tuple(tasks), notes=tuple(notes))


def labelled(
    task: TaskExamples, given: Labelling, held: set[str], config: TrainingConfig, say: Say
) -> tuple[TaskExamples, str]:
    """The task with its pseudo-labels, and a line on them."""
    texts = list(islice(candidates(task, given, held), MOST_SCORED))
    encoder = scorer(task, config, say) if texts else None
    if encoder is None:
        return task, "no pseudo-labels, there is no text without a label" if not texts else "no pseudo-labels"
    labels = encoder.heads[task.head].spec.labels
    sure: list[tuple[str, str]] = []
    for start in range(0, len(texts), AT_ONCE):
        part = texts[start : start + AT_ONCE]
        found = encoder.classify(task.head, part)  # (n, k)
        best = zip(part, found.argmax(axis=1), found.max(axis=1), strict=True)
        sure += [(text, labels[label]) for text, label, chance in best if chance >= config.pseudo_labels]
    kept = sure[: len(task.train)]
    counts = Counter(label for _, label in kept)
    by_class = ", ".join(f"{label} {counts[label]:,}" for label in task.labels if counts[label]) or "none"
    note = f"{len(kept):,} pseudo-labels of {len(texts):,} texts, {config.pseudo_labels:g} sure or more: {by_class}"
    return replace(task, pseudo_labelled=kept), note


def candidates(task: TaskExamples, given: Labelling, held: set[str]) -> Iterator[str]:
    """Different texts without a label, newest first; `held` are those that stand for validation. One that would stand
    there, were it labelled, is none either."""
    seen = {text for text, _ in task.train}
    share = share_held_of(task)
    for record in given.rows():
        text = given.read(record)
        if text not in seen and not is_held_out(record["text"], share) and folded(text) not in held:
            seen.add(text)
            yield text


def scorer(task: TaskExamples, config: TrainingConfig, say: Say) -> Encoder | None:
    """The active release, where its head decides between the task's classes; else the body that is to be tuned, with a
    head fitted on the task's examples. None where no head can be fitted."""
    if release := selectors.active():
        encoder = runtime.encoder_for(release.fingerprint)
        if task.head in encoder.heads and set(encoder.heads[task.head].spec.labels) == set(task.labels):
            return encoder
    encoder = Encoder.load(config.body or settings.ENCODER, threads=settings.ENCODER_THREADS)
    heads, _, _ = fit_heads(encoder, head_plans([task], has_other_heads=False), say)
    return encoder.with_heads(heads) if heads else None
