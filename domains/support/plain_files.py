"""The plain formats of support as events, and two public data sets.

Each line gives the same event id every time, so a file that is loaded twice only finds duplicates. An answer is a state
and not a happening: where its row shows something else meanwhile, the file's line is news once more.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from domains.support.models import Answer
from suite.formats import EventOfLine, FormatError, LoadOptions, Problem, Record, Skipped, read_records, with_texts

SOURCE = "file"
ANSWER_FIELDS = frozenset(("answer_id", "text", "title", "source", "language"))
QUESTION_FIELDS = frozenset(("question_id", "text", "answer_ids"))
REQUIRED = {"support.pairs": ("question_id", "question", "answer", "label"), "support.intents": ("text", "label")}
FIELDS = {
    "support.answers": ANSWER_FIELDS,
    "support.questions": QUESTION_FIELDS,
    "support.pairs": frozenset((*REQUIRED["support.pairs"], "answer_id")),
    "support.intents": frozenset(REQUIRED["support.intents"]),
}
RIGHT = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}  # label of support.pairs
AT_ONCE = 500  # answers whose rows are looked at together
MAX_FAQ_BYTES = 256 * 2**20
Line = tuple[int, dict[str, Any]]


def read_answer_file(path: Path, options: LoadOptions) -> Iterator[Record]:
    """`support.answers`. Of several lines for one answer the last one holds. The file is read twice."""
    last = {key_of(found[1]): found[0] for found in read_records(path) if not isinstance(found, Problem)}
    waiting: list[Line] = []
    started = datetime.now(UTC)
    for found in read_records(path, options):
        if isinstance(found, Problem):
            yield found
        elif key_of(found[1]) and last[key_of(found[1])] != found[0]:
            yield Skipped("a later line is about the same answer")
        else:
            waiting.append((found[0], with_texts(known_fields(found[1], ANSWER_FIELDS, options), ("answer_id",))))
        if len(waiting) == AT_ONCE:
            yield from answer_events(waiting, started)
            waiting = []
    yield from answer_events(waiting, started)


def right_answers(question: Mapping[str, Any]) -> list[str]:
    """The keys of the answers that are right; a single one may stand there without a list."""
    given = question.get("answer_ids")
    if given is None or given == "":
        return []
    return [str(key) for key in given] if isinstance(given, list | tuple) else [str(given)]


def answer_events(lines: Sequence[Line], started: datetime) -> Iterator[Record]:
    """The events of different answers, later lines being newer."""
    rows = Answer.objects.filter(key__in=[key_of(record) for _, record in lines])
    shown = dict(rows.values_list("key", "changed_by"))
    for number, record in lines:
        name = f"answer {key_of(record)[:90]} {digest(record)}"
        shows = shown.get(key_of(record), "").removeprefix(f"{SOURCE} ")
        if shows.startswith(f"{name} after "):
            name = shows
        elif shows not in ("", name):
            name = f"{name} after {digest(shows)}"
        changed = event(name, "support.answer.changed", record, started + timedelta(microseconds=number))
        yield EventOfLine(number, changed)


def read_question_file(path: Path, options: LoadOptions) -> Iterator[Record]:
    """`support.questions`: each becomes a conversation that waits for an agent. Which answers are right is for
    `evaluate` and `train`, which read the same file; here it is left out."""
    for found in read_records(path, options):
        if isinstance(found, Problem):
            yield found
            continue
        number, record = found
        known_fields(record, QUESTION_FIELDS, options)
        if record.get("question_id") in (None, ""):
            yield Problem(number, "has no question_id")
            continue
        key = f"question-{record['question_id']}"
        data = {"conversation_id": key, "message_id": f"{key}-1", "text": record.get("text")}
        yield EventOfLine(number, event(f"{key} {digest(record)}", "support.message.received", data))


def read_training_file(format: str) -> Callable[[Path, LoadOptions], Iterator[Record]]:
    """A format that is for training and measuring alone: it is checked, and nothing is stored."""

    def reading(path: Path, options: LoadOptions) -> Iterator[Record]:
        reason = f"{format} is for `manage.py train --data {format}={path.name}` and `evaluate`; nothing to store"
        for found in read_records(path, options):
            if isinstance(found, Problem):
                yield found
                continue
            number, record = found
            for name in record.keys() - FIELDS[format]:
                options.unknown_field(name)
            fault = fault_of(record, REQUIRED[format])
            if not fault and format == "support.pairs":
                fault = fault_of_label(record["label"])
            yield Problem(number, fault) if fault else Skipped(reason)

    return reading


def fault_of(record: Mapping[str, Any], required: Sequence[str]) -> str:
    """The first field that is not there or is no plain value; empty where all are."""
    for name in required:
        value = record.get(name)
        if value is None or not str(value).strip():
            return f"{name} is required"
        if isinstance(value, list | dict):
            return f"{name} must be a text or a number"
    return ""


def fault_of_label(value: object) -> str:
    return "" if str(value).lower() in RIGHT else "label must be 1 (a right answer) or 0 (a wrong one)"


def is_right_answer(value: object) -> bool:
    """What the label of a pair says. Raises `ValueError` where it is none."""
    if fault := fault_of_label(value):
        raise ValueError(fault)
    return RIGHT[str(value).lower()]


def read_stackfaq(path: Path, options: LoadOptions) -> Iterator[Record]:
    """`stackfaq.json` (Sakata et al., SIGIR 2019): threads of a question and its answers, which become answers with the
    question as their title. The paraphrases in it are for `evaluate`."""
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_FAQ_BYTES else b""
        threads = json.loads(raw)["root"]["qapair"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: is not a StackFAQ file with root.qapair ({type(error).__name__})") from error
    options.on_bytes(len(raw))
    started = datetime.now(UTC)
    for number, thread in enumerate(threads):
        answers = thread.get("answer") if isinstance(thread, dict) else None
        if not isinstance(answers, list):
            yield Problem(number + 1, "has no list of answers")
            continue
        for place, text in enumerate(answers):
            if not isinstance(text, str) or not text.strip():
                yield Skipped("an empty answer")
                continue
            record = {"answer_id": f"stackfaq-{number}-{place}", "title": str(thread.get("question") or "")[:300]}
            record |= {"text": text[:20_000], "source": "StackFAQ", "language": "en"}
            yield from answer_events([(number, record)], started)


def read_banking77(path: Path, options: LoadOptions) -> Iterator[Record]:
    """`train.csv` or `test.csv` with text and category: each question a waiting conversation."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not {"text", "category"} <= set(reader.fieldnames or ()):
            raise FormatError(f"{path}: must have the columns text and category")
        for row in reader:
            options.on_bytes(len(row["text"]))
            key = f"banking77-{path.stem}-{reader.line_num}"
            data = {"conversation_id": key, "message_id": f"{key}-1", "text": row["text"].strip()}
            yield EventOfLine(reader.line_num, event(f"{key} {digest(row)}", "support.message.received", data))


def known_fields(record: dict[str, Any], fields: frozenset[str], options: LoadOptions) -> dict[str, Any]:
    for name in record.keys() - fields:
        options.unknown_field(name)
    return {name: value for name, value in record.items() if name in fields}


def key_of(record: dict[str, Any]) -> str:
    return "" if record.get("answer_id") is None else str(record["answer_id"])


def digest(value: object) -> str:
    """16 hex digits of a record or a text."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def event(name: str, kind: str, data: dict[str, Any], time: datetime | None = None) -> dict[str, Any]:
    when = {"time": time.isoformat()} if time else {}
    return {"id": name[:200], "source": SOURCE, "type": kind, "data": data} | when
