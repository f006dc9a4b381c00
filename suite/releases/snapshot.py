"""What a training run learns from: tasks of the domains, from files or their own rows, cleaned and split. No torch.

A snapshot is taken once, when a run starts, and lies in the run's folder: whoever resumes the run learns from the same.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from suite.domain import Domain, DomainError, domains
from suite.formats import FormatError, Problem, read_records
from suite.releases.cleaning import SnapshotError, cleaned, with_all_classes
from suite.releases.training_data import (
    Labelling,
    Record,
    TaskExamples,
    TrainingData,
    Unlabelled,
)
from suite.releases.validation import with_enough, with_rare

SHOWN_PROBLEMS = 5  # bad lines of a file that are told one by one
MAX_REASON = 200  # characters
MOST_TEXTS, MOST_CHARACTERS = 50_000, 2_000  # texts without labels, and what is kept of each
SIDES = ("train", "validation", "pseudo_labelled")

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Source:
    """One `NAME=FILE` of the command line."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Snapshot:
    tasks: tuple[TaskExamples, ...]
    notes: tuple[str, ...] = ()  # what was left out, and why
    texts: tuple[str, ...] = ()  # that nobody labelled, whatever their application

    @property
    def digest(self) -> str:
        """16 hex digits over all examples. Without the texts, which come in all the time: nothing is learned of them,
        so a run may be gone on with by others."""
        return hashlib.sha256(json.dumps([asdict(task) for task in self.tasks]).encode()).hexdigest()[:16]

    def write(self, path: Path) -> None:
        """Raises `OSError`, e.g. where the disk is full."""
        place = path.with_suffix(".new")
        with gzip.open(place, "wt", encoding="utf-8", compresslevel=1) as file:
            tasks = [asdict(task) for task in self.tasks]
            json.dump({"tasks": tasks, "notes": self.notes, "texts": self.texts}, file)
        place.replace(path)

    @classmethod
    def read(cls, path: Path) -> Snapshot:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            stored = json.load(file)
        tasks: list[TaskExamples] = []
        for task in stored["tasks"]:
            sides = {side: [tupled(example) for example in task.get(side, ())] for side in SIDES}
            words = {name: tuple(task.get(name, ())) for name in ("labels", "notes", "sources")}
            tasks.append(TaskExamples(**(task | sides | words)))
        return cls(tuple(tasks), tuple(stored["notes"]), tuple(stored.get("texts", ())))


def tupled(value: Any) -> Any:
    """Lists, as JSON has them, as the tuples that they were."""
    return tuple(tupled(part) for part in value) if isinstance(value, list) else value


# Taking ------------------------------------------------------------------------------------------------------
def take(data: Sequence[Source], validation: Sequence[Source] = (), *, with_rows: bool = False) -> Snapshot:
    """The tasks of files, and of the domains' own rows where there are no files or `with_rows`. Raises `SnapshotError`.

    What a file of `validation` holds is all that its tasks are validated on; the other files' texts are all trained on.
    """
    notes: list[str] = []
    provided = providers()
    alone = {name: given for name, given in text_formats().items() if name not in provided}  # articles, say
    records: dict[str, list[Record]] = {}
    texts: list[str] = []
    for source in data:
        if source.name in alone:
            texts += readable(source.path, partial(text_of, alone[source.name]), notes.append)
        else:
            records.setdefault(source.name, []).extend(usable(provided, source, notes.append))
    if with_rows or not data:
        for name, (_, given) in provided.items():
            records.setdefault(name, []).extend(given.rows[name]())
    held: dict[str, list[Record]] = {}
    for source in validation:
        held.setdefault(source.name, []).extend(usable(provided, source, notes.append))
    tasks: list[TaskExamples] = []
    asked = {source.name for source in data}
    for given in {id(given): given for _, given in provided.values()}.values():
        own = {name: rows for name, rows in records.items() if name in given.rows}
        made = given.tasks(own)
        used = {name for task in made for name in (task.name, *task.sources)}
        if unused := (asked & own.keys()) - used:
            if not unused <= given.texts.keys():
                raise SnapshotError(nothing_made_of(unused))
            notes.append(f"{nothing_made_of(unused)}; they are read as texts without labels only")
        apart = tasks_apart(given, held, records)
        tasks += with_validation(made, given.whole(own) if apart else (), apart)
    kept = []
    for task in tasks:
        try:
            kept.append(cleaned(task, notes.append))
        except SnapshotError as error:
            if task.name in asked:
                raise
            if made_of := sorted(asked.intersection(task.sources)):
                raise SnapshotError(f"{error} ({task.name} is made of {', '.join(made_of)})") from error
            notes.append(f"left out: {error}")  # rows that are too few yet
    kept = with_all_classes(kept, asked, notes.append)
    if not kept and texts and not records:
        raise SnapshotError(f"{', '.join(sorted(asked))}: these texts bear no labels; name records that do beside "
                            "them, or learn from the applications' own rows, too")  # fmt: skip
    if not kept and data:
        raise SnapshotError(nothing_made_of(asked))
    if not kept:
        raise SnapshotError("there is nothing to learn from: too few rows yet, and no --data")
    texts += texts_without_labels(records, with_rows=with_rows or not data)
    different = list(dict.fromkeys(cut for text in texts if (cut := text[:MOST_CHARACTERS].strip())))
    return Snapshot(tuple(kept), tuple(notes), tuple(different[:: -(-len(different) // MOST_TEXTS) or 1]))


def nothing_made_of(names: Iterable[str]) -> str:
    return (f"{', '.join(sorted(names))}: no example could be made of the records; what they name (a question its "
            "answers, a click its item) must be among them, so give that file, too")  # fmt: skip


def tasks_apart(
    given: TrainingData, held: Mapping[str, Sequence[Record]], records: Mapping[str, Sequence[Record]]
) -> list[TaskExamples]:
    """The tasks of the records that are held for validation. Formats that make no task alone, items say, are taken from
    what is trained on, where they are not among them. Raises `SnapshotError` where no task comes of it."""
    own = {name: rows for name, rows in held.items() if name in given.rows}
    if not own:
        return []
    others = {name: rows for name, rows in records.items() if name in given.rows and name not in own}
    beside = {name: rows for name, rows in others.items() if not given.tasks({name: rows})}
    found = given.whole(beside | own)
    if not found:
        raise SnapshotError(f"{', '.join(sorted(own))}: no example for validation could be made of the records")
    return found


def providers() -> dict[str, tuple[Domain, TrainingData]]:
    """Who makes tasks of which format."""
    found: dict[str, tuple[Domain, TrainingData]] = {}
    for domain in domains().values():
        given = getattr(domain.part("training_data"), "TRAINING_DATA", None)
        if given is None:
            continue
        if not isinstance(given, TrainingData):
            raise DomainError(f"domains/{domain.label}/training_data.py: TRAINING_DATA must be a TrainingData")
        found |= dict.fromkeys(given.rows, (domain, given))
    return found


def labelling() -> dict[str, Labelling]:
    """How people label texts, by head."""
    return {head: one for _, given in providers().values() for head, one in given.labelling.items()}


def usable(
    provided: Mapping[str, tuple[Domain, TrainingData]], source: Source, tell: Callable[[str], None]
) -> list[Record]:
    """The records of a file that an example can be made of; the others are told with their line and reason, and fields
    that the format does not have with their number."""
    if source.name not in provided:
        known = ", ".join(sorted(provided)) or "none"
        raise SnapshotError(f"{source.name}: nothing learns from this format; there are: {known}")
    given = provided[source.name][1]
    found = list(
        readable(source.path, lambda line, record: problem_of(given, source.name, line, record) or record, tell)
    )
    if unknown := given.unknown_fields(source.name, found):
        tell(f"{source.path}: {unknown}")
    return found


def unknown_fields(name: str, path: Path) -> str:
    """What is to be said of fields in a file that the format of that name does not have; empty where there are none.
    Raises `FormatError`."""
    _, given = providers().get(name, (None, None))
    return given.unknown_fields(name, (one[1] for one in read_records(path) if isinstance(one, tuple))) if given else ""


def readable(path: Path, make: Callable[[int, Record], Made | Problem], tell: Callable[[str], None]) -> Iterator[Made]:
    """What `make(line, record)` makes of a file; its problems, and the file's, are told. Raises `SnapshotError`."""
    bad = good = 0
    first = ""
    for found in lines_of(path):
        made = found if isinstance(found, Problem) else make(*found)
        if not isinstance(made, Problem):
            good += 1
            yield made
            continue
        bad += 1
        first = first or f"; line {made.line}: {made.reason}"
        if bad <= SHOWN_PROBLEMS:
            tell(f"{path} line {made.line}: {made.reason}")
    if bad > SHOWN_PROBLEMS:
        tell(f"{path}: {bad:,} bad lines in all")
    if not good:
        raise SnapshotError(f"{path}: holds no record that can be used{first}")


def lines_of(path: Path) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    try:
        yield from read_records(path)
    except FormatError as error:
        raise SnapshotError(str(error)) from error


def problem_of(given: TrainingData, name: str, line: int, record: Record) -> Problem | None:
    """Why no example can be made of a record; None where one can, as far as it can be seen alone."""
    try:
        given.tasks({name: [record]})
    except KeyError as error:
        return Problem(line, f"field {error.args[0]} is required")
    except ValueError as error:
        return Problem(line, str(error)[:MAX_REASON])
    except (TypeError, AttributeError, OverflowError) as error:
        return Problem(line, f"is not {name} ({type(error).__name__})")
    return None


def with_validation(
    tasks: Sequence[TaskExamples], whole: Iterable[TaskExamples], apart: Sequence[TaskExamples]
) -> Iterator[TaskExamples]:
    """The tasks, each whole and with the examples of its namesake in `apart` for validation, where it has one. Raises
    `SnapshotError` where nothing is trained on what is for validation."""
    if unknown := {task.name for task in apart} - {task.name for task in tasks}:
        raise SnapshotError(f"{', '.join(sorted(unknown))}: there are records for validation, but none to train on; "
                            "give --data of that format, too")  # fmt: skip
    wholes, held = ({identity(task): task for task in some} for some in (whole, apart))
    for task in tasks:
        given = held.get(identity(task))
        if given:
            yield replace(wholes[identity(task)], validation=given.train)
        else:
            yield with_rare(with_enough(task))


def identity(task: TaskExamples) -> tuple[str, str, str]:
    return task.name, task.kind, task.head


# Texts without labels ----------------------------------------------------------------------------------------
def unlabelled(data: Sequence[Source], *, with_rows: bool, tell: Callable[[str], None]) -> Iterator[str]:
    """The texts of files, and of the domains' own rows where there are no files or `with_rows`, for pretraining.
    Raises `SnapshotError`."""
    formats = text_formats()
    for source in data:
        if source.name not in formats:
            known = ", ".join(sorted(formats)) or "none"
            raise SnapshotError(f"{source.name}: no texts are read from this format; there are: {known}")
    for source in data:
        yield from readable(source.path, partial(text_of, formats[source.name]), tell)
    if with_rows or not data:
        for given in formats.values():
            yield from (given.text(record) for record in given.rows())


def text_formats() -> dict[str, Unlabelled]:
    """What pretraining reads, by format."""
    return {name: given for _, one in providers().values() for name, given in one.texts.items()}


def texts_without_labels(records: Mapping[str, Sequence[Record]], *, with_rows: bool) -> Iterator[str]:
    """The texts of these records and, with `with_rows`, of rows that are not among them, in all formats that
    pretraining reads. What no text can be made of is passed over."""
    provided = providers()
    for name, given in text_formats().items():
        is_read = name in provided and provided[name][1].rows[name] is given.rows
        rows = islice(given.rows(), MOST_TEXTS) if with_rows and not is_read else ()
        found = (text_of(given, 0, record) for record in chain(records.get(name, ()), rows))
        yield from (text for text in found if isinstance(text, str))


def text_of(given: Unlabelled, line: int, record: Record) -> str | Problem:
    try:
        return given.text(record)
    except KeyError as error:
        return Problem(line, f"field {error.args[0]} is required")
    except (TypeError, AttributeError, ValueError) as error:
        return Problem(line, f"is not of this format ({type(error).__name__})")
