"""Hard negatives: texts that the body takes for an answer to the anchor, and that are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from suite.encoder.training.tasks import CONTRASTIVE, Example, Task

NEAREST = 30  # texts of each anchor that are looked at
MARGIN = 0.05  # a text nearer to the anchor than its positive less this may well be right, too: it is no negative
ROWS_AT_ONCE = 1_024


def with_hard_negatives(
    tasks: Sequence[Task], embed: Callable[[Sequence[int]], torch.Tensor], count: int
) -> list[Task]:
    """The tasks, the contrastive ones with up to `count` mined negatives behind the given ones of each example.

    The margin after Moreira et al., NV-Retriever: Improving text embedding models with effective hard-negative mining,
    2024.
    """
    return [
        replace(task, train=mined(task.train, embed, count)) if task.kind == CONTRASTIVE else task for task in tasks
    ]


def mined(examples: Sequence[Example], embed: Callable[[Sequence[int]], torch.Tensor], count: int) -> list[Example]:
    positives = list(dict.fromkeys(one.texts[1] for one in examples))
    column = {text: place for place, text in enumerate(positives)}
    candidates = embed(positives)  # (p, d)
    found = []
    for start in range(0, len(examples), ROWS_AT_ONCE):
        block = examples[start : start + ROWS_AT_ONCE]
        similarities = embed_each([one.texts[0] for one in block], embed) @ candidates.T  # (b, p)
        nearest = similarities.topk(min(NEAREST, len(positives)), dim=1).indices.tolist()
        for one, row, near in zip(block, similarities, nearest, strict=True):
            ceiling = float(row[column[one.texts[1]]]) - MARGIN
            fitting = [
                positives[place] for place in near if float(row[place]) < ceiling and positives[place] not in one.right
            ]
            found.append(replace(one, texts=(*one.texts, *fitting[:count])))
    return found


def embed_each(texts: Sequence[int], embed: Callable[[Sequence[int]], torch.Tensor]) -> torch.Tensor:
    """Vectors of texts that may repeat, each different one encoded once."""
    different = list(dict.fromkeys(texts))
    place = {text: row for row, text in enumerate(different)}
    return embed(different)[[place[text] for text in texts]]
