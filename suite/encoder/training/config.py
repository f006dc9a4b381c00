"""Every knob of a training run, with its default: the fields of one JSON or TOML file. No torch in here."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

LARGEST = 10**300  # whole numbers beyond it are no floating point numbers


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the field, its value's shape and its limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Defaults are for a body of some 20 million parameters on two CPU cores."""

    body: str = ""  # what is tuned: a checkpoint folder, or a name; left out, it is SUITE_ENCODER
    epochs: float | None = None  # times through all examples; 0: the body stays as it is; None: see `Plan`
    minutes: float = 40.0  # the rates decay so that training ends by then at the latest; 0: no limit
    seed: int = 0
    # batches
    batch_size: int = 32  # examples of one forward and backward pass
    accumulate: int = 1  # passes that make one step
    max_tokens: int = 128  # of a text; the rest is cut in training
    task_temperature: float = 2.0  # a task with n examples is drawn in proportion to n ** (1 / this)
    task_weights: Mapping[str, float] = field(default_factory=dict)  # {task: so many times as often}; others 1
    # optimisation: AdamW, linear warm-up, linear decay to 0
    learning_rate: float = 2e-4  # of the body's last layer
    head_rate: float = 2e-3  # of the heads that are trained along and thrown away afterwards
    layer_decay: float = 0.85  # each layer below has this many times the rate of the one above
    warm_up: float = 0.1  # share of the steps, and at least a hundred of them; 0: none
    weight_decay: float = 0.01
    clip: float = 1.0  # largest norm of all gradients together
    dropout: float = 0.1  # of hidden states, while training
    layers: int = 0  # that are left of the body, evenly spaced, and taught to give the vectors of all; 0: all are left
    feed_forward: int = 0  # width that is left of the feed-forward part of all layers but the last; 0: all of it
    frozen_layers: int = 0  # lowest layers that stay as they are; what they make of a text is computed only once
    is_embedding_trained: bool = False  # the token embeddings are half of a small body, and gain little
    new_characters: int = 8_000  # that its tokenizer does not know become tokens, at most, see `characters.py`; 0: none
    precision: str = "auto"  # "bfloat16" and "float32" force one; auto: bfloat16 where the device is quicker with it
    # losses
    label_smoothing: float = 0.05
    concatenated: float = 0.5  # share of the texts with a marked name that are learned from beside another, too
    scale: float = 20.0  # of cosines, before a softmax or a sigmoid
    hard_negatives: int = 1  # mined for each anchor with the body as it is at the start; 0: those of the batch only
    retention: float = 20.0  # holds texts that are compared (of a student all texts) near the vectors that they had
    plain_texts: float = 0.15  # share of the batches that hold other texts where they were, see `tasks.plain_texts`
    item_residual: float = 0.0  # weight of the squares of what items learn beside their texts; 0: they learn nothing
    pseudo_labels: float = 0.0  # learn from texts that nobody labelled, where a release is so sure of them; 0: do not
    adversarial: float = 0.0  # length of the perturbation of token embeddings, against that of the embedding; 0: none
    # when to look, and what to keep
    evaluations: int = 8  # of the validation examples, spread over the run
    evaluating: float = 0.2  # share of `minutes` that those after the first may take; else there are fewer; 0: no limit
    patience: int = 3  # evaluations without a better one before training ends; 0: it never ends early
    average: int = 3  # last evaluated bodies whose weights are averaged, where that is better; 1: none are
    checkpoint_seconds: float = 60.0  # between two checkpoints to resume from
    lora_rank: int = 0  # 0: all weights are trained; else adapters of this rank (needs the package peft)
    processes: int = 0  # that train together, each on batches of its own; 0: one for each GPU
    search: Mapping[str, Sequence[float]] = field(default_factory=dict)  # {field: [low, high]}, instead of search.SPACE

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if value is None and name == "epochs":
                continue
            is_whole = name in WHOLE
            if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
                raise ConfigError(f"{name} must be a {'whole number' if is_whole else 'number'}")
            if not low <= value <= high:
                shown = f"{value:g}" if isinstance(value, float) or abs(value) < LARGEST else "a larger number"
                raise ConfigError(f"{name} must be from {low:g} to {high:g}, not {shown}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if not isinstance(self.body, str):
            raise ConfigError("body must be a text: a folder or a name")
        if not isinstance(self.search, Mapping):
            raise ConfigError("search must be an object of fields, each with its range [low, high]")
        if not isinstance(self.task_weights, Mapping):
            raise ConfigError("task_weights must be an object of tasks, each with a number")
        for task, weight in self.task_weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= 1_000:
                raise ConfigError(f"task_weights: {task} must be a number above 0 and at most 1000")
        if not isinstance(self.is_embedding_trained, bool):
            raise ConfigError("is_embedding_trained must be true or false")
        if self.is_student and self.epochs == 0:
            raise ConfigError("layers and feed_forward make a body smaller by teaching it: epochs must be above 0")
        if self.frozen_layers and (self.is_embedding_trained or self.lora_rank):
            raise ConfigError("frozen_layers goes neither with is_embedding_trained nor with lora_rank; use 0")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], default: TrainingConfig | None = None) -> TrainingConfig:
        """The default with these values. Raises `ConfigError`, also for a field that is not known."""
        known = [one.name for one in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"{name} is not a field; the fields are {', '.join(known)}")
        return replace(default or cls(), **values)

    @property
    def is_student(self) -> bool:
        """Whether the body is made smaller, and taught by what it was."""
        return self.layers > 0 or self.feed_forward > 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def changes(self) -> dict[str, Any]:
        """The fields that are not the default."""
        default = TrainingConfig().as_dict()
        return {name: value for name, value in self.as_dict().items() if value != default[name]}


EPOCHS = 3  # where the configuration does not say
LEAST_BATCHES = 600  # there, of each task of classes: some hundred examples are gone through more often than thrice
MANY_OF_A_CLASS = 30  # examples, on average; fewer are learned by heart in as many batches, so there are fewer of these
FEW_OF_A_CLASS = 8  # examples, on average; where there are fewer, more than `EPOCHS` only do harm
PRECISIONS = ("auto", "bfloat16", "float32")
WHOLE = {"seed", "batch_size", "accumulate", "max_tokens", "layers", "feed_forward", "frozen_layers", "new_characters",
         "hard_negatives", "evaluations", "patience", "average", "lora_rank", "processes"}  # fmt: skip
LIMITS = {
    "epochs": (0, 1_000),
    "minutes": (0, 100_000),
    "seed": (0, 2**31),
    "batch_size": (2, 4_096),
    "accumulate": (1, 1_024),
    "max_tokens": (4, 8_192),
    "task_temperature": (1, 100),
    "learning_rate": (0, 1),
    "head_rate": (0, 1),
    "layer_decay": (0.01, 1),
    "warm_up": (0, 1),
    "weight_decay": (0, 1),
    "clip": (0.001, 1_000),
    "dropout": (0, 0.9),
    "layers": (0, 1_000),
    "feed_forward": (0, 100_000),
    "frozen_layers": (0, 1_000),
    "new_characters": (0, 100_000),
    "label_smoothing": (0, 0.5),
    "concatenated": (0, 1),
    "scale": (1, 200),
    "hard_negatives": (0, 8),
    "retention": (0, 1_000),
    "plain_texts": (0, 0.9),
    "item_residual": (0, 1_000),
    "pseudo_labels": (0, 1),
    "adversarial": (0, 10),
    "evaluations": (1, 1_000),
    "evaluating": (0, 1),
    "patience": (0, 1_000),
    "average": (1, 20),
    "checkpoint_seconds": (0, 86_400),
    "lora_rank": (0, 1_024),
    "processes": (0, 64),
}


def read_config(path: Path, default: TrainingConfig | None = None) -> TrainingConfig:
    """The configuration in a `.json` or `.toml` file, over the default. Raises `ConfigError`."""
    parsers = {".json": json.loads, ".toml": tomllib.loads}
    if path.suffix not in parsers:
        raise ConfigError(f"{path}: the name must end in .json or .toml")
    try:
        values = parsers[path.suffix](path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # of either parser, and of the decoding
        raise ConfigError(f"{path}: is not {path.suffix[1:].upper()} ({type(error).__name__})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold an object of fields")
    try:
        return TrainingConfig.from_mapping(values, default)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
