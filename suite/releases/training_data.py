"""What a domain gives to training: `training_data.py: TRAINING_DATA = TrainingData(tasks, rows)`. Plain data, no torch.

A record is a dict with the fields of its plain format, whether it was read from a file or made from the domain's rows;
so the same function makes tasks of either.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from suite.marking import mark_entity, prefix_of

CLASSIFICATION, PAIR, CONTRASTIVE, NEXT_ITEM = "classification", "pair", "contrastive", "next-item"
KINDS = (CLASSIFICATION, PAIR, CONTRASTIVE, NEXT_ITEM)
HELD_OUT = 0.1  # share of the texts that are for validation
SHOWN_FIELDS, SHOWN_CHARACTERS = 5, 50  # of those that a format does not have, and of the name of each

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TaskExamples:
    """One task of a training run. No text of `validation` stands in `train`.

    The shape of an example goes by `kind`:
    classification  (text, label)
    pair            ((text, other), label)
    contrastive     (anchor, positive, negatives), negatives a tuple of texts, which may be empty
    next-item       (history, target): the texts of the items of before, newest first, and of the one that followed
    """

    name: str  # of the format that it came from, e.g. "finance.sentiment"; two tasks may bear one
    kind: str
    head: str = ""  # the head that it fits; none for contrastive and next-item
    labels: tuple[str, ...] = ()  # the class order; () = those of the examples, sorted
    train: Sequence[Any] = field(default_factory=tuple)
    validation: Sequence[Any] = field(default_factory=tuple)
    pseudo_labelled: Sequence[Any] = field(default_factory=tuple)  # as `train`, but a release said so; they weigh less
    notes: tuple[str, ...] = ()  # what its domain left out of it, and why
    sources: tuple[str, ...] = ()  # further formats that its examples are made of

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"task {self.name}: kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if bool(self.head) != (self.kind in {CLASSIFICATION, PAIR}):
            raise ValueError(f"task {self.name}: a head goes with {CLASSIFICATION} and {PAIR}, and only with them")

    @property
    def prefix(self) -> str:
        """What stands before each of its texts as the encoder reads them."""
        return prefix_of(self.kind)


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Texts of one format that nobody labelled: `text(record)` as the encoder reads it, and the domain's own rows."""

    text: Callable[[Record], str]
    rows: Callable[[], Iterator[Record]]


@dataclass(frozen=True, slots=True)
class Labelling:
    """How people label texts for a head. `rows()` are records that nobody labelled, newest first: `text`, and `entity`
    where a name in it is judged. A label is an event of type `labelled` whose data is the record with `label` and `by`,
    who said so; an event of type `withdrawn` with the record takes it back."""

    format: str  # of the records, and the name of the task that they join
    rows: Callable[[], Iterator[Record]]
    labelled: str
    withdrawn: str

    @staticmethod
    def read(record: Record) -> str:
        """The text as the head reads it."""
        return mark_entity(record["text"], str(record.get("entity") or ""))


@dataclass(frozen=True, slots=True)
class TrainingData:
    """`tasks({format: records})` makes the domain's tasks of those of its formats that are there; it splits them.
    `unsplit` does the same with nothing held for validation, where a split leaves out what belongs to neither side.

    `rows` says how the domain's own rows are read in each format. `texts` are the formats that pretraining reads, and
    whose texts training holds where they were.
    `labelling` says for which heads people label texts that nobody labelled, {head: Labelling}. `fields` are those of
    the formats that take no others: what else a file's records hold is named and counted.
    """

    tasks: Callable[[Mapping[str, Sequence[Record]]], list[TaskExamples]]
    rows: Mapping[str, Callable[[], Iterator[Record]]]
    texts: Mapping[str, Unlabelled] = field(default_factory=dict)
    labelling: Mapping[str, Labelling] = field(default_factory=dict)
    fields: Mapping[str, Collection[str]] = field(default_factory=dict)
    unsplit: Callable[[Mapping[str, Sequence[Record]]], list[TaskExamples]] | None = None

    def whole(self, records: Mapping[str, Sequence[Record]]) -> list[TaskExamples]:
        """The tasks with all examples to train on."""
        made = (self.unsplit or self.tasks)(records)
        return [replace(task, train=[*task.train, *task.validation], validation=()) for task in made]

    def unknown_fields(self, name: str, records: Iterable[Record]) -> str:
        """What is to be said of fields that the format of that name does not have; empty where there are none."""
        known = self.fields.get(name)
        if known is None:
            return ""
        counts = Counter(other for record in records for other in record if other not in known)
        if not counts:
            return ""
        shown = [f"{one[:SHOWN_CHARACTERS]!r} ({count:,})" for one, count in counts.most_common(SHOWN_FIELDS)]
        shown += [f"{len(counts) - SHOWN_FIELDS:,} more"] * (len(counts) > SHOWN_FIELDS)
        return f"fields that {name} does not have were left out: {', '.join(shown)}; it has {', '.join(sorted(known))}"


def is_held_out(text: str, share: float = HELD_OUT) -> bool:
    """Whether a text (or the name of a whole question or person) is for validation: the same answer every time."""
    return place_of(text) < share


def place_of(text: str) -> float:
    """Where a text stands among all, from 0 to 1: those below a share are for validation."""
    digest = hashlib.sha256(f"validation {text}".encode("utf-8", "replace")).digest()  # no split of others is like it
    return int.from_bytes(digest[:4]) / 2**32
