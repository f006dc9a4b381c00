"""Files become events: read, ingest in batches of bulk priority, handle, count what became of every line.

How far a file has come is moved in the transaction that stores the events, so a load that was killed goes on where it
stopped; and since a loader gives the same line the same event id, even one that starts anew makes no double.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from django.db import transaction

from suite.domain import declared, event_types
from suite.events import handling
from suite.events.database import patiently
from suite.events.envelope import Rejected
from suite.events.ingestion import BacklogFull, Result, checked, given_id, ingest
from suite.events.models import LoadProgress, PendingEvent
from suite.formats import EventOfLine, FormatError, Loader, LoadOptions, Problem, Record, Skipped

BATCH = 1_000  # records in one transaction
MAX_REASONS = 50  # distinct reasons that are told apart; the rest are one
BACKLOG_SECONDS = 10.0  # how long a full backlog is worked on before the next try
REST = "(other reasons)"


@dataclass
class Counts:
    """What became of the records of a load."""

    records: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    bad_lines: Counter[str] = field(default_factory=Counter)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Counts:
        values: dict[str, Any] = {name: Counter(v) if isinstance(v, dict) else v for name, v in stored.items()}
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    @property
    def is_anything_read(self) -> bool:
        return self.accepted + self.duplicate + self.skipped.total() > 0

    def plus(self, batch: Sequence[Record], results: Iterable[Result]) -> Counts:
        """These counts and what became of one more batch; `results` are those of its events, in order."""
        new = Counts.from_dict(self.as_dict())
        new.records += len(batch)
        for record in batch:
            if isinstance(record, Problem):
                count(new.bad_lines, record.reason)
            elif isinstance(record, Skipped):
                count(new.skipped, record.reason)
        for result in results:
            if result.status == "rejected":
                count(new.rejected, f"{result.field} {result.reason}")
            else:
                setattr(new, result.status, getattr(new, result.status) + 1)
        return new


def count(reasons: Counter[str], reason: str) -> None:
    """Count a reason; past `MAX_REASONS` different ones the new ones are counted together."""
    reasons[reason if reason in reasons or len(reasons) < MAX_REASONS else REST] += 1


class BadLine(Exception):
    """A strict load met a line that cannot be taken; the message names it."""


def loaders() -> dict[str, Loader]:
    """Every format that can be loaded, by name. A name that two share is `<label>.<name>` for the second."""
    found: dict[str, Loader] = {}
    for domain, name, loader in declared("loaders", "LOADERS"):
        found[f"{domain.label}.{name}" if name in found else name] = loader
    return found


@dataclass
class Load:
    """One load. `run` takes everything in; `complain` hears of every line that is not taken, with its reason."""

    name: str
    loader: Loader
    paths: list[Path]
    options: LoadOptions
    complain: Callable[[str], None]
    is_strict: bool = False
    is_dry: bool = False
    counts: Counts = field(default_factory=Counts)
    resumed_at: int = 0

    def run(self) -> Counts:
        """Raises `FormatError` for a file that cannot be read, `BadLine` where strict; what was stored before stays."""
        records = chain.from_iterable(self.loader.read(path, self.options) for path in self.paths)
        if self.is_dry:
            for batch in batches(self.heeded(records)):
                results = [try_out(item) for item in batch if isinstance(item, dict)]
                self.tell(batch, results)
                self.counts = self.counts.plus(batch, results)
            return self.counts
        progress = self.progress()
        for batch in batches(self.heeded(islice(records, progress.records, None))):
            self.store(batch, progress)
        progress.is_finished = True
        progress.save()
        return self.counts

    def progress(self) -> LoadProgress:
        """Where an earlier load of the same files stopped; the beginning where it finished, or there was none."""
        key = hashlib.sha256(f"{self.name}\n{self.options.catalogue}\n".encode())
        for path in self.paths:
            key.update(digest_of(path))
        progress, _ = LoadProgress.objects.get_or_create(key=key.hexdigest())
        if progress.is_finished:
            progress.records, progress.counts, progress.is_finished = 0, {}, False
        elif progress.records:
            self.resumed_at = progress.records
            self.counts = Counts.from_dict(progress.counts)
        return progress

    def heeded(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records; where strict, an end with `BadLine` before the first that cannot be taken."""
        for record in records:
            if self.is_strict and isinstance(record, Problem):
                raise BadLine(f"line {record.line} {record.reason}")
            if self.is_strict and isinstance(record, dict) and (result := try_out(record)).status == "rejected":
                raise BadLine(rejection(record, result))
            yield record

    def store(self, batch: Sequence[Record], progress: LoadProgress) -> None:
        """Ingest one batch and move the progress, in one transaction."""
        events = [record for record in batch if isinstance(record, dict)]

        def write() -> tuple[list[Result], Counts]:
            with transaction.atomic():
                results = ingest(events, priority=PendingEvent.BULK)
                counts = self.counts.plus(batch, results)
                progress.records, progress.counts = counts.records, counts.as_dict()
                progress.save()
            return results, counts

        while True:
            try:
                results, self.counts = patiently(write)
            except BacklogFull:
                handling.handle_pending(BACKLOG_SECONDS)
                continue
            self.tell(batch, results)
            return

    def tell(self, batch: Sequence[Record], results: Iterable[Result]) -> None:
        for record in batch:
            if isinstance(record, Problem):
                self.complain(f"line {record.line} {record.reason}")
        events = [record for record in batch if isinstance(record, dict)]
        for event, result in zip(events, results, strict=True):
            if result.status == "rejected":
                self.complain(rejection(event, result))


def rejection(event: Mapping[str, Any], result: Result) -> str:
    """What is wrong with an event, and where it came from."""
    where = f"line {event.line}" if isinstance(event, EventOfLine) else f"event {result.id}:"
    return f"{where} {result.field} {result.reason}"


def batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Lists of `BATCH` records; what was gathered before an error is handed out before it is raised."""
    batch: list[Record] = []
    try:
        for record in records:
            batch.append(record)
            if len(batch) == BATCH:
                yield batch
                batch = []
    except (BadLine, FormatError):
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def write_plain(records: Iterable[Record], folder: Path) -> dict[str, int]:
    """Write the data of events as plain records, a line each of `<folder>/<event type>.jsonl`; returns the number of
    lines by file. An empty field is left out. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with ExitStack() as files:
        opened: dict[str, IO[str]] = {}
        for record in records:
            if not isinstance(record, dict):
                continue
            path = folder / f"{record['type']}.jsonl"
            if path.name not in opened:
                opened[path.name] = files.enter_context(path.open("w", encoding="utf-8"))
            data = {name: value for name, value in record["data"].items() if value not in (None, "")}
            opened[path.name].write(json.dumps(data, ensure_ascii=False) + "\n")
            counts[str(path)] += 1
    return dict(counts)


def try_out(item: dict[str, Any]) -> Result:
    """What would become of an event that is not a duplicate."""
    try:
        return Result(checked(item, event_types()).id, "accepted")
    except Rejected as error:
        return Result(given_id(item), "rejected", error.field, error.reason)


def digest_of(path: Path) -> bytes:
    """A digest of a file's contents, or of those of the files in a folder and their names."""
    if path.is_dir():
        parts = [file.name.encode() + digest_of(file) for file in sorted(path.iterdir()) if file.is_file()]
        return hashlib.sha256(b"".join(parts)).digest()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from error
