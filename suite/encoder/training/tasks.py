"""Examples as token ids, and the plan of batches: what batch comes when depends on the examples and the seed alone, so
a run that is resumed goes on with the very batch that it had not done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from suite.encoder.heads import CLASSIFICATION, PAIR, PSEUDO_WEIGHT
from suite.encoder.model import clean
from suite.encoder.training.augmentation import put_together
from suite.encoder.training.config import EPOCHS, FEW_OF_A_CLASS, LEAST_BATCHES, MANY_OF_A_CLASS, TrainingConfig
from suite.marking import folded, name_in, texts_in, without_mark

CONTRASTIVE, NEXT_ITEM, TEXT = "contrastive", "next-item", "text"
PLAIN = "plain texts"  # name of the task of texts that are only held where they were
RECENT = 3  # newest items that stand for a history
NEIGHBOURHOOD = 50  # batches whose examples are sorted by length together


class TrainingError(Exception):
    """A run that cannot go on; the message says why, and what would mend it."""


class Given(Protocol):
    """A task as it is given, in texts; see `suite.releases.training_data.TaskExamples` for the shapes."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def prefix(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def train(self) -> Sequence[Any]: ...
    @property
    def validation(self) -> Sequence[Any]: ...
    @property
    def pseudo_labelled(self) -> Sequence[Any]: ...


@dataclass(frozen=True, slots=True)
class TextTask:
    """Texts that nothing is said of: their vectors are held, or their tokens guessed."""

    name: str
    train: Sequence[str]
    validation: Sequence[str] = ()
    kind: str = TEXT
    prefix: str = ""
    labels: tuple[str, ...] = ()
    pseudo_labelled: tuple[()] = ()


def plain_texts(given: Iterable[Given], others: Iterable[str] = ()) -> list[TextTask]:
    """A task of other texts and of those that something stands before, as they stand without it and without marks:
    texts of all kinds, by which what is compared can be held where it was. None of them stands for validation, not
    even in another case. No task where there is no such text."""
    given = list(given)
    held = {folded(text) for one in given for text in texts_in(one.validation)}
    texts = dict.fromkeys(
        without_mark(raw[0]) for one in given if one.prefix for raw in (*one.train, *one.pseudo_labelled)
    ) | dict.fromkeys(others)
    kept = [text for text in texts if folded(text) not in held]
    return [TextTask(PLAIN, kept)] if kept else []


def shown(given: Iterable[Given]) -> Iterator[str]:
    """Every text that is trained on, and names of classes among them."""
    return (text for one in given for raw in (*one.train, *one.pseudo_labelled) for text in texts_in(raw))


@dataclass(frozen=True, slots=True)
class Example:
    """The texts of an example by number, and the class where its kind has one.

    classification  [text]
    pair            [text, other]
    contrastive     [anchor, positive, *negatives]
    next-item       [target, *history], history newest first
    text            [text]
    """

    texts: tuple[int, ...]
    label: int = -1
    weight: float = 1.0  # in the loss of a classification
    right: frozenset[int] = frozenset()  # contrastive: every text that is a positive of this anchor anywhere


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    kind: str
    classes: int
    train: list[Example]
    validation: list[Example]


def without(texts: Collection[int], task: Task) -> Task:
    """The task; of plain texts those but these."""
    if task.name != PLAIN or not texts:
        return task
    return replace(task, train=[one for one in task.train if one.texts[0] not in texts])


class Texts:
    """Every different text, tokenised once."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.numbers: dict[str, int] = {}
        self.ids: list[list[int]] = []

    def number(self, text: str) -> int:
        return self.numbers.setdefault(clean(text, len(self.numbers)), len(self.numbers))

    def tokenise(self) -> None:
        """Token ids of all texts that have been numbered."""
        self.ids += self.ids_of(list(self.numbers)[len(self.ids) :])

    def ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids, cut to `max_tokens` with the last token kept."""
        given = (encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts))
        return [ids if len(ids) <= self.max_tokens else [*ids[: self.max_tokens - 1], ids[-1]] for ids in given]

    def lengths(self, numbers: Iterable[int]) -> list[int]:
        return [len(self.ids[number]) for number in numbers]


def read_tasks(given: Iterable[Given], texts: Texts, concatenated: float = 0.0, seed: int = 0) -> list[Task]:
    """The tasks with their texts numbered and tokenised, and so large a share of those with a marked name put beside
    other texts, see `augmentation`. Raises `TrainingError` where there is nothing to train on."""
    tasks = []
    for number, one in enumerate(given):
        learned = [*one.train, *together(one, texts, concatenated, np.random.default_rng([seed, number]))]
        train, validation = ([example(one, raw, texts) for raw in side] for side in (learned, one.validation))
        train += [replace(example(one, raw, texts), weight=PSEUDO_WEIGHT) for raw in one.pseudo_labelled]
        if one.kind == CONTRASTIVE:
            train, validation = with_right(train), with_right(validation)
        if train:
            name = f"{one.name} {one.kind}" if one.kind in {CONTRASTIVE, NEXT_ITEM} else one.name
            tasks.append(Task(name, one.kind, len(one.labels), train, validation))
    if not tasks:
        raise TrainingError("there is nothing to train on")
    texts.tokenise()
    return tasks


def together(given: Given, texts: Texts, share: float, dice: np.random.Generator) -> list[tuple[str, str]]:
    """Training examples of a classification put together of two."""
    if given.kind != CLASSIFICATION or not share or not any(name_in(text) for text, _ in given.train):
        return []
    sizes = [len(ids) for ids in texts.ids_of([clean(given.prefix + text, 0) for text, _ in given.train])]
    return put_together(given.train, sizes, texts.max_tokens, share, dice)


def with_right(examples: Sequence[Example]) -> list[Example]:
    """The examples, each knowing all positives of its anchor."""
    right: dict[int, set[int]] = {}
    for one in examples:
        right.setdefault(one.texts[0], set()).add(one.texts[1])
    return [replace(one, right=frozenset(right[one.texts[0]])) for one in examples]


def example(given: Given, raw: Any, texts: Texts) -> Example:
    if given.kind == TEXT:
        return Example((texts.number(given.prefix + raw),))
    if given.kind == CLASSIFICATION:
        return Example((texts.number(given.prefix + raw[0]),), given.labels.index(raw[1]))
    if given.kind == PAIR:
        return Example((texts.number(raw[0][0]), texts.number(raw[0][1])), given.labels.index(raw[1]))
    if given.kind == CONTRASTIVE:
        anchor, positive, negatives = raw
        return Example(tuple(texts.number(text) for text in (anchor, positive, *negatives)))
    history, target = raw
    return Example(tuple(texts.number(text) for text in (target, *history[:RECENT])))


class Plan:
    """The batches of a run in order: `plan[n]` is (the task's number, positions of its training examples).

    Tasks are drawn in proportion to n ** (1 / temperature) of their n examples, times their weight; plain texts are the
    share that the configuration says. Each goes through its examples in turn, in an order of its own for every round,
    texts of about the same length together. Where the configuration does not say how many rounds there are, tasks of
    few examples have more than `EPOCHS`.
    """

    def __init__(self, tasks: Sequence[Task], texts: Texts, config: TrainingConfig) -> None:
        self.config = config
        self.lengths = [[max(texts.lengths(one.texts)) for one in task.train] for task in tasks]
        counts = np.array([len(task.train) if task.name != PLAIN else 0 for task in tasks], dtype=float)
        names = [task.name for task in tasks if task.name != PLAIN]
        if unknown := [name for name in config.task_weights if name not in names]:
            raise TrainingError(f"task_weights: there is no task {unknown[0]!r}; the tasks are {', '.join(names)}")
        weights = np.array([config.task_weights.get(task.name, 1.0) for task in tasks])
        shares = weights * counts ** (1 / config.task_temperature)
        beside = config.plain_texts if len(names) < len(tasks) else 0.0  # they come beside the rounds of the others
        shares = np.where(counts > 0, (1 - beside) * shares / shares.sum(), beside)
        epochs = EPOCHS if config.epochs is None else config.epochs
        total = max(len(tasks), round(epochs * counts.sum() / (1 - beside) / config.batch_size))
        dice = np.random.default_rng(config.seed)
        drawn = dice.choice(len(tasks), size=total, p=shares)
        if config.epochs is None:
            drawn = np.concatenate([drawn, missing(tasks, np.bincount(drawn, minlength=len(tasks)), beside)])
            drawn = dice.permutation(drawn) if len(drawn) > total else drawn
        self.tasks = drawn.tolist()
        self.turns = turns(self.tasks)
        self.rounds: dict[int, tuple[int, list[np.ndarray]]] = {}  # the newest of each task

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, number: int) -> tuple[int, np.ndarray]:
        task = self.tasks[number]
        size = -(-len(self.lengths[task]) // self.config.batch_size)  # batches of one round
        which, place = divmod(self.turns[number], size)
        if self.rounds.get(task, (-1, []))[0] != which:
            rng = np.random.default_rng([self.config.seed, task, which])
            self.rounds[task] = which, list(arranged(self.lengths[task], self.config.batch_size, rng))
        return task, self.rounds[task][1][place]


def missing(tasks: Sequence[Task], batches: np.ndarray, beside: float) -> np.ndarray:
    """The numbers of tasks of few examples, as often as they lack batches, `batches` (tasks,) being what each has; and
    that of the plain texts, so that they stay the share `beside` of all. None of what is compared: the body knows it
    already, and loses it by much training on little."""
    wanted = np.array([least_batches(task) if task.kind == CLASSIFICATION else 0 for task in tasks])
    lacking = np.maximum(0, wanted - batches)
    is_plain = np.array([task.name == PLAIN for task in tasks])
    lacking[is_plain] = round(lacking.sum() * beside / (1 - beside))
    return np.repeat(np.arange(len(tasks)), lacking)


def least_batches(task: Task) -> int:
    of_a_class = len(task.train) / task.classes
    return round(LEAST_BATCHES * min(1.0, of_a_class / MANY_OF_A_CLASS)) if of_a_class >= FEW_OF_A_CLASS else 0


def turns(tasks: Sequence[int]) -> list[int]:
    """How often each one's task came before it."""
    seen: dict[int, int] = {}
    found = []
    for task in tasks:
        found.append(seen.get(task, 0))
        seen[task] = found[-1] + 1
    return found


def arranged(lengths: Sequence[int], size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """All positions once, in shuffled batches of texts of about the same length."""
    order = rng.permutation(len(lengths))
    known = np.asarray(lengths)
    batches = []
    for start in range(0, len(order), NEIGHBOURHOOD * size):
        near = order[start : start + NEIGHBOURHOOD * size]
        near = near[np.argsort(known[near], kind="stable")]
        batches += [near[first : first + size] for first in range(0, len(near), size)]
    yield from (batches[place] for place in rng.permutation(len(batches)))
