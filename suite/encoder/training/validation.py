"""The primary metric of every task on its validation examples, while training goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from suite.encoder.heads import CLASSIFICATION, PAIR
from suite.encoder.metrics import auroc, macro_f1
from suite.encoder.training.losses import Heads, history
from suite.encoder.training.tasks import CONTRASTIVE, Example, Task

MOST = 1_000  # examples of a task: enough to tell bodies apart, few enough to look often

Embed = Callable[[Sequence[int]], torch.Tensor]  # unit vectors, float32 (n, d), of texts by number


@torch.no_grad()
def measure(tasks: Sequence[Task], heads: Heads, embed: Embed) -> dict[str, float]:
    """{task: its primary metric}: macro F1 of classes, area under the curve of pairs, mean reciprocal rank else.

    Tasks without validation examples are left out, as is a metric that is not defined on them.
    """
    found = {}
    for number, task in enumerate(tasks):
        examples = sampled(task.validation)
        if examples:
            found[task.name] = primary(number, task, examples, heads, embed)
    return {name: round(value, 6) for name, value in found.items() if np.isfinite(value)}


def sampled(examples: list[Example]) -> list[Example]:
    """At most `MOST`, spread evenly."""
    step = max(1, -(-len(examples) // MOST))
    return examples[::step]


def primary(number: int, task: Task, examples: list[Example], heads: Heads, embed: Embed) -> float:
    texts = list(dict.fromkeys(text for one in examples for text in one.texts))
    vectors = embed(texts)  # (t, d)
    row = {text: place for place, text in enumerate(texts)}
    labels = np.array([one.label for one in examples])
    if task.kind == CLASSIFICATION:
        logits = heads.logits(number, vectors[[row[one.texts[0]] for one in examples]])
        return macro_f1(logits.softmax(dim=1).cpu().numpy(), labels)
    if task.kind == PAIR:
        u, v = (vectors[[row[one.texts[side]] for one in examples]] for side in (0, 1))
        cosines = (u * v).sum(dim=1).cpu().numpy()
        return auroc(np.stack([-cosines, cosines], axis=1), labels)
    if task.kind == CONTRASTIVE:
        anchors = vectors[[row[one.texts[0]] for one in examples]]
        return reciprocal_rank(anchors, [one.texts[1:] for one in examples], vectors, row)
    histories = torch.stack([history(vectors, [row[text] for text in one.texts[1:]]) for one in examples])
    return reciprocal_rank(histories, [one.texts[:1] for one in examples], vectors, row)


def reciprocal_rank(
    anchors: torch.Tensor, wanted: Sequence[Sequence[int]], vectors: torch.Tensor, row: dict[int, int]
) -> float:
    """Mean of 1/rank of each anchor's first text among all different texts of that side; a tie counts against it."""
    candidates = list(dict.fromkeys(text for texts in wanted for text in texts))
    similarities = anchors @ vectors[[row[text] for text in candidates]].T  # (n, c)
    places = {text: column for column, text in enumerate(candidates)}
    right = torch.tensor([places[texts[0]] for texts in wanted], device=vectors.device)
    own = similarities.gather(1, right[:, None])
    ranks = (similarities >= own).sum(dim=1)
    return float((1 / ranks).mean())
