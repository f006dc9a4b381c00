"""The primary metric of every task on its validation examples, while training goes on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import torch

from suite.encoder.heads import CLASSIFICATION, PAIR, spread
from suite.encoder.metrics import auroc, macro_f1
from suite.encoder.training.losses import Heads, history
from suite.encoder.training.tasks import CONTRASTIVE, NEXT_ITEM, Example, Task

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
    """At most `MOST` of them."""
    return spread(examples, MOST)


def primary(number: int, task: Task, examples: list[Example], heads: Heads, embed: Embed) -> float:
    known = others(task)
    texts = list(dict.fromkeys([*(text for one in examples for text in one.texts), *known]))
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
        candidates = [*(text for one in examples for text in one.texts[1:]), *known]
        return reciprocal_rank(anchors, [one.right for one in examples], candidates, vectors, row)
    histories = torch.stack([history(vectors, [row[text] for text in one.texts[1:]]) for one in examples])
    targets = [one.texts[0] for one in examples]
    return reciprocal_rank(histories, [{target} for target in targets], [*targets, *known], vectors, row)


def others(task: Task) -> list[int]:
    """Texts of training examples that stand among the candidates, too, as they do in use: a body that has learned to
    find these everywhere is not the better one."""
    if task.kind not in {CONTRASTIVE, NEXT_ITEM}:
        return []
    return [one.texts[1 if task.kind == CONTRASTIVE else 0] for one in sampled(task.train)]


def reciprocal_rank(
    anchors: torch.Tensor, right: Sequence[Collection[int]], candidates: Iterable[int], vectors: torch.Tensor,
    row: Mapping[int, int],
) -> float:  # fmt: skip
    """Mean of 1/rank of the best of each anchor's right texts among the candidates; a tie counts against it."""
    places = {text: column for column, text in enumerate(dict.fromkeys(candidates))}
    similarities = anchors @ vectors[[row[text] for text in places]].T  # (n, c)
    is_right = torch.zeros_like(similarities, dtype=torch.bool)
    for anchor, known in enumerate(right):
        is_right[anchor, [places[text] for text in known if text in places]] = True
    best = similarities.masked_fill(~is_right, -torch.inf).amax(dim=1, keepdim=True)
    ranks = 1 + ((similarities >= best) & ~is_right).sum(dim=1)
    return float((1 / ranks).mean())
