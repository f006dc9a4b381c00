"""What a batch is worth: one function for each kind of task, from the unit vectors of its texts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch.nn import functional as F

from suite.encoder.heads import CLASSIFICATION, PAIR
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.tasks import CONTRASTIVE, NEXT_ITEM, TEXT, Example, Task

Row = Callable[[int], int]  # the row of a text in the batch's vectors


class Heads(torch.nn.Module):
    """The heads that are trained along with the body, one for each task that has classes, and thrown away afterwards:
    the release's own are fitted on the finished body."""

    def __init__(self, tasks: Sequence[Task], dimensions: int, scale: float, has_residuals: bool = False) -> None:
        super().__init__()
        self.scale = scale
        self.layers = torch.nn.ModuleDict()
        for number, task in enumerate(tasks):
            if task.kind == CLASSIFICATION:
                self.layers[str(number)] = torch.nn.Linear(dimensions, task.classes)
            elif task.kind == PAIR:
                self.layers[str(number)] = layer = torch.nn.Linear(1, 1)  # of the cosine
                torch.nn.init.ones_(layer.weight)  # the nearer, the likelier, from the start
                torch.nn.init.constant_(layer.bias, -0.5)
            elif task.kind == NEXT_ITEM and has_residuals:
                self.layers[str(number)] = Residuals({one.texts[0] for one in task.train}, dimensions)

    def logits(self, number: int, vectors: torch.Tensor) -> torch.Tensor:
        """(b, d) -> (b, k) of a classification."""
        return self.layers[str(number)](self.scale * vectors)

    def relevance(self, number: int, cosines: torch.Tensor) -> torch.Tensor:
        """(b,) -> (b,): log odds that a pair belongs together."""
        return self.layers[str(number)](cosines[:, None]).squeeze(1) * self.scale

    def residuals(self, number: int, items: Sequence[int], vectors: torch.Tensor) -> torch.Tensor:
        """What each item is beside its text, as `vectors`, (i, d); zeros where nothing is learned of that."""
        if str(number) not in self.layers:
            return torch.zeros_like(vectors)
        return self.layers[str(number)](items)


class Residuals(torch.nn.Module):
    """A vector of every item that is a target, by the number of its text, at first zeros.

    It learns what an item's text cannot say, such as that everybody buys it, so the body need not learn it by heart.
    """

    def __init__(self, items: Collection[int], dimensions: int) -> None:
        super().__init__()
        self.places = {item: place for place, item in enumerate(sorted(items))}
        self.vectors = torch.nn.Parameter(torch.zeros(len(items), dimensions))

    def forward(self, items: Sequence[int]) -> torch.Tensor:
        return self.vectors[[self.places[item] for item in items]]


class Retained:
    """The vectors that the texts of some tasks, by number, had before training.

    Few texts are compared in training and many afterwards; what the body knew of all of them is kept where it stays
    near those vectors. After Li & Hoiem, Learning without Forgetting, 2016.
    """

    def __init__(
        self, tasks: Collection[int], embed: Callable[[Sequence[int]], torch.Tensor], free: Collection[int] = ()
    ) -> None:
        self.tasks = tasks
        self.embed = embed  # as the body was: texts by number -> (n, d)
        self.free = set(free)  # texts that the body could not read, so that its vectors of them are worth nothing
        self.vectors: dict[int, torch.Tensor] = {}  # (d,) float16 of each text that came up

    def holds(self, texts: Sequence[int]) -> bool:
        """Whether most of them have vectors to go back to."""
        return 2 * sum(text in self.free for text in texts) < len(texts)

    def distance(self, texts: Sequence[int], vectors: torch.Tensor) -> torch.Tensor:
        """The mean of 1 - cosine between the vectors of texts, (t, d), and what they were."""
        if self.free:
            held = [place for place, text in enumerate(texts) if text not in self.free]
            texts, vectors = [texts[place] for place in held], vectors[held]
        if not texts:
            return vectors.sum()  # 0, which gradients go through
        if unknown := [text for text in texts if text not in self.vectors]:
            self.vectors |= zip(unknown, self.embed(unknown).half(), strict=True)
        before = torch.stack([self.vectors[text] for text in texts]).to(vectors.dtype)
        return (1 - (before * vectors).sum(dim=1)).mean()


def loss_of(
    number: int, task: Task, batch: Sequence[Example], vectors: torch.Tensor, row: Row, heads: Heads,
    config: TrainingConfig,
) -> torch.Tensor:  # fmt: skip
    """The mean loss of a batch of one task; `vectors` are those of its texts, (t, d). Texts alone have none."""
    if task.kind == TEXT:
        return 0 * vectors.sum()  # which gradients go through
    if task.kind == CLASSIFICATION:
        logits = heads.logits(number, vectors[[row(one.texts[0]) for one in batch]])
        labels = torch.tensor([one.label for one in batch], device=vectors.device)
        losses = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing, reduction="none")
        return (losses * torch.tensor([one.weight for one in batch], device=vectors.device)).mean()
    if task.kind == PAIR:
        u, v = (vectors[[row(one.texts[side]) for one in batch]] for side in (0, 1))
        labels = torch.tensor([float(one.label) for one in batch], device=vectors.device)
        return F.binary_cross_entropy_with_logits(heads.relevance(number, (u * v).sum(dim=1)), labels)
    if task.kind == CONTRASTIVE:
        anchors = vectors[[row(one.texts[0]) for one in batch]]
        wanted = [one.texts[1:] for one in batch]
        return softmax_over_texts(anchors, wanted, vectors, row, config.scale, [one.right for one in batch])
    if task.kind == NEXT_ITEM:
        histories = torch.stack([history(vectors, [row(text) for text in one.texts[1:]]) for one in batch])
        items = list(dict.fromkeys(one.texts[0] for one in batch))
        targets = vectors[[row(item) for item in items]]  # (i, d)
        residuals = heads.residuals(number, items, targets)
        places = {item: place for place, item in enumerate(items)}
        targets = F.normalize(targets + residuals, dim=1)
        wanted = [one.texts[:1] for one in batch]
        loss = softmax_over_texts(histories, wanted, targets, places.__getitem__, config.scale)
        return loss + config.item_residual * residuals.square().sum(dim=1).mean()
    raise ValueError(f"task {task.name}: there is no loss for {task.kind!r}")


def history(vectors: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    """One vector of items, newest first: their mean, the n-th newest weighing 1/n. (h, d) -> (d,)"""
    weights = 1 / torch.arange(1, len(rows) + 1, device=vectors.device, dtype=vectors.dtype)
    return F.normalize(weights @ vectors[list(rows)], dim=0)


def softmax_over_texts(
    anchors: torch.Tensor, wanted: Sequence[Sequence[int]], vectors: torch.Tensor, row: Row, scale: float,
    right: Sequence[Collection[int]] = (),
) -> torch.Tensor:  # fmt: skip
    """Cross-entropy of finding each anchor's first text among all the batch's texts of this side.

    In-batch negatives after Henderson et al., Efficient Natural Language Response Suggestion for Smart Reply, 2017. A
    text that two anchors want is one column, so none is its own negative; and where an anchor has several `right`
    texts, the others that happen to be in the batch are no negatives of it either.
    """
    columns = {text: column for column, text in enumerate(dict.fromkeys(text for texts in wanted for text in texts))}
    logits = scale * anchors @ vectors[[row(text) for text in columns]].T  # (b, columns)
    first = torch.tensor([columns[texts[0]] for texts in wanted], device=vectors.device)
    others = [
        (anchor, columns[text])
        for anchor, known in enumerate(right)
        for text in known
        if text in columns and text != wanted[anchor][0]
    ]
    if others:
        hidden = torch.zeros_like(logits, dtype=torch.bool)
        hidden[tuple(zip(*others, strict=True))] = True
        logits = logits.masked_fill(hidden, -torch.inf)
    return F.cross_entropy(logits, first)


def perturbation(embedded: torch.Tensor, length: float) -> torch.Tensor:
    """The step of each text's token embeddings that raises its loss most, `length` times as long as they are.

    FGM after Miyato et al., Adversarial Training Methods for Semi-Supervised Text Classification, 2017.
    """
    gradient = embedded.grad
    if gradient is None:
        return torch.zeros_like(embedded)
    sizes = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)  # (b,)
    lengths = length * embedded.detach().flatten(1).norm(dim=1)
    return (gradient * (lengths / sizes)[:, None, None]).detach()
