"""Reading plain files of records, and what a domain declares so that `manage.py load` can read a format.

A record is one line of `.jsonl`, or one row of `.csv` under a header line (lists as JSON), or `.gz` of either; UTF-8
with or without a byte order mark. A bad line is reported with its number and the reading goes on after it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

MAX_LINE = 4 * 2**20  # bytes of one line; a longer one is a bad line, never a memory problem
MAX_CELL = 2**20  # characters of one csv cell
PROSE = {"title", "text", "body", "description", "question", "answer"}  # never a list: "[REC]" is a film


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that could not be read: its number (from 1) and what is wrong with it. Counted, and shown to the user."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line that is well formed but says nothing to us (a bank charge, say). Counted by its reason."""

    reason: str


@dataclass(slots=True)
class LoadOptions:
    """What `manage.py load` passes to a loader.

    `catalogue` is empty where the user named none. The loader (or `read_records`) calls `unknown_field` for every
    field that it does not use, and `on_bytes` with the number of bytes taken from the file, for the progress bar.
    """

    catalogue: str = ""
    is_dry: bool = False  # nothing may be stored, by a loader neither
    on_bytes: Callable[[int], None] = lambda count: None
    unknown_fields: dict[str, int] = field(default_factory=dict)

    def unknown_field(self, name: str) -> None:
        self.unknown_fields[name] = self.unknown_fields.get(name, 0) + 1


class EventOfLine(dict[str, Any]):
    """A CloudEvent that was made of one line of a file; what is wrong with it is told with the line's number."""

    def __init__(self, line: int, event: Mapping[str, Any]) -> None:
        super().__init__(event)
        self.line = line


Record = dict[str, Any] | Problem | Skipped  # a dict is one CloudEvent, as `suite.events.ingestion.ingest` takes it


@dataclass(frozen=True, slots=True)
class Loader:
    """How one format becomes events. Declared by a domain in `loaders.py` as `LOADERS = {name: Loader}`.

    `read(path, options)` yields a `Record` for every line, always in the same order and with the same event ids, so
    that loading a file twice only finds duplicates. It raises `FormatError` where the file as a whole is not readable.
    """

    read: Callable[[Path, LoadOptions], Iterator[Record]]
    help: str = ""
    takes_folder: bool = False
    has_catalogues: bool = False  # whether `options.catalogue` says anything to it


class FormatError(Exception):
    """A file that cannot be read at all; the message names the file and the mend."""


def read_records(path: Path, options: LoadOptions | None = None) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    """(line number, record) for every line that is not empty of a `.jsonl` or `.csv` file, or `.gz` of either.

    A csv cell is text, except that a list or object in JSON is decoded; empty cells are left out.
    Raises `FormatError` where the name has another ending or the file cannot be opened or unpacked.
    """
    options = options or LoadOptions()
    suffix = Path(path.name.removesuffix(".gz")).suffix
    readers: Mapping[str, Callable[[Iterator[tuple[int, str | Problem]]], Iterator[Any]]] = {
        ".jsonl": _json_records,
        ".csv": _csv_records,
    }
    if suffix not in readers:
        raise FormatError(f"{path}: the name must end in .jsonl, .csv, .jsonl.gz or .csv.gz")
    try:
        with open_bytes(path, options) as file:
            for found in readers[suffix](_lines(file)):
                if not isinstance(found, Problem) and found[1].pop("", None) is not None:
                    options.unknown_field("without a name")
                yield found
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def unix_or_text(value: Any) -> Any:
    """Unix seconds as a number, where a text holds them; a date of eight digits stays as it is."""
    if not isinstance(value, str) or (len(value.strip()) == 8 and value.strip().isdigit()):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def with_texts(record: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The record with whole numbers in these fields as texts: names and labels are numbers in many a JSON file."""
    numbers = {name: record[name] for name in names if type(record.get(name)) is int}
    return record | {name: str(value) for name, value in numbers.items()}


def open_bytes(path: Path, options: LoadOptions) -> IO[bytes]:
    """The unpacked bytes of a file; `options.on_bytes` hears of the bytes read from disk, packed as they are."""
    raw = io.BufferedReader(_Counted(path, options.on_bytes), 2**18)
    return gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw  # type: ignore[return-value]


class _Counted(io.FileIO):
    """A file that tells how many bytes were read from it."""

    def __init__(self, path: Path, on_bytes: Callable[[int], None]) -> None:
        super().__init__(path)
        self.on_bytes = on_bytes

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        self.on_bytes(count or 0)
        return count


def _lines(file: IO[bytes]) -> Iterator[tuple[int, str | Problem]]:
    """(number, text) of each line, without ever holding more than `MAX_LINE` bytes of one."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE)
            yield number, Problem(number, f"is longer than {MAX_LINE:,} bytes")
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield number, Problem(number, f"is not UTF-8 (byte {error.start + 1} of the line)")
            continue
        yield number, text


def _json_records(lines: Iterator[tuple[int, str | Problem]]) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    for number, line in lines:
        if isinstance(line, Problem):
            yield line
        elif line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Problem(number, f"is not JSON ({_short(error)})")
                continue
            if isinstance(record, dict):
                yield number, record
            else:
                yield Problem(number, "must be a JSON object")


def _csv_records(lines: Iterator[tuple[int, str | Problem]]) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    """Rows under the header. A quoted cell may run over several lines; the row bears the number of its last one."""
    csv.field_size_limit(MAX_CELL)
    bad: list[Problem] = []
    position = 0

    def texts() -> Iterator[str]:
        nonlocal position
        for number, line in lines:
            position = number
            if isinstance(line, Problem):
                bad.append(line)
            elif "\x00" in line:
                bad.append(Problem(number, "holds a NUL character, which cannot be stored"))
            else:
                yield line

    rows = csv.reader(texts())
    header: list[str] | None = None
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            row = []
            bad.append(Problem(position, f"is not csv ({_short(error)})"))
        yield from bad
        bad.clear()
        if row is None:
            return
        if not any(row):
            continue
        if header is None:
            header = [name.strip() for name in row]
        elif len(row) != len(header):
            yield Problem(position, f"has {len(row)} cells, the header has {len(header)}")
        else:
            yield _csv_record(position, header, row)


def _csv_record(number: int, header: list[str], row: list[str]) -> tuple[int, dict[str, Any]] | Problem:
    record: dict[str, Any] = {}
    for name, cell in zip(header, row, strict=True):
        if not cell:
            continue
        if cell[0] in "[{" and name not in PROSE:
            try:
                record[name] = json.loads(cell)
                continue
            except (ValueError, RecursionError):
                if cell[0] == "[" and cell[-1] == "]":
                    return Problem(number, f"column {name} looks like a list but is not JSON")
        record[name] = cell
    return number, record


def _short(error: BaseException) -> str:
    """An error's words without the user's text in them."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, character {error.pos + 1}"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)[:100]
