from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from suite.events import loading
from suite.events.models import Event, LoadProgress, PendingEvent
from suite.events.tests.conftest import Trial, note
from suite.formats import FormatError, Loader, LoadOptions, Problem, Record, Skipped, read_records


def read_notes(path: Path, options: LoadOptions) -> Iterator[Record]:
    for found in read_records(path, options):
        if isinstance(found, Problem):
            yield found
            continue
        line, record = found
        if record.get("text") == "fee":
            yield Skipped("a fee")
            continue
        if "colour" in record:
            options.unknown_field("colour")
        yield note(f"line-{line}", record.get("text", ""))


class Stopped(BaseException):
    """As if the process were killed."""


@pytest.fixture
def notes(trial: Trial, tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.setattr(loading, "loaders", lambda: {"trial.notes": Loader(read_notes, "lines of notes")})
    monkeypatch.setattr("suite.management.commands.load.loaders", loading.loaders)
    monkeypatch.setattr("suite.management.commands.load.import_string", lambda path: lambda: None)
    monkeypatch.setattr(loading, "BATCH", 10)
    return tmp_path / "notes.jsonl"


def write_lines(path: Path, count: int) -> None:
    path.write_text("".join(json.dumps({"text": f"note {number}"}) + "\n" for number in range(count)))


def load(path: Path, capsys: Any, *arguments: str) -> dict[str, Any]:
    call_command("load", "trial.notes", str(path), "--json", *arguments)
    return json.loads(capsys.readouterr().out)


def test_every_line_is_taken_handled_and_counted(trial: Trial, notes: Path, capsys: Any) -> None:
    lines = [{"text": "a"}, {"text": "fee"}, {"text": 5}, {"text": "b", "colour": "red"}]
    notes.write_text("\n".join(map(json.dumps, lines)) + "\n{broken\n\n[1]\n")
    counts = load(notes, capsys)
    assert (counts["records"], counts["accepted"], counts["duplicate"]) == (6, 2, 0)
    assert counts["skipped"] == {"a fee": 1}
    assert counts["rejected"] == {"data.text must be a text, not a number": 1}
    assert sum(counts["bad_lines"].values()) == 2
    assert counts["unknown_fields"] == {"colour": 1}
    assert trial.effects() == ["line-1", "line-4"]
    assert not PendingEvent.objects.exists()


def test_a_second_load_only_finds_duplicates(trial: Trial, notes: Path, capsys: Any) -> None:
    write_lines(notes, 25)
    assert load(notes, capsys)["accepted"] == 25
    counts = load(notes, capsys)
    assert (counts["accepted"], counts["duplicate"], counts["resumed_at"]) == (0, 25, 0)
    assert len(trial.effects()) == 25


def test_a_stopped_load_goes_on_where_it_was(trial: Trial, notes: Path, capsys: Any, monkeypatch: Any) -> None:
    write_lines(notes, 45)
    store = loading.Load.store
    batches: list[int] = []

    def stop_at_the_third(self: loading.Load, batch: list[Record], progress: LoadProgress) -> None:
        if len(batches) == 2:
            raise Stopped
        batches.append(len(batch))
        store(self, batch, progress)

    monkeypatch.setattr(loading.Load, "store", stop_at_the_third)
    with pytest.raises(Stopped):
        load(notes, capsys)
    monkeypatch.setattr(loading.Load, "store", store)
    counts = load(notes, capsys)
    assert counts["resumed_at"] == 20
    assert (counts["records"], counts["accepted"], counts["duplicate"]) == (45, 45, 0)
    assert Event.objects.count() == len(trial.effects()) == 45


def test_progress_and_events_are_one_transaction(trial: Trial, notes: Path, capsys: Any, monkeypatch: Any) -> None:
    write_lines(notes, 15)

    def stop(self: LoadProgress, *args: Any, **kwargs: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(LoadProgress, "save", stop)
        patched.setattr(LoadProgress.objects, "get_or_create", lambda key: (LoadProgress(key=key), True))
        with pytest.raises(Stopped):
            load(notes, capsys)
    assert not Event.objects.exists()


def test_a_dry_run_stores_nothing(trial: Trial, notes: Path, capsys: Any) -> None:
    write_lines(notes, 15)
    assert load(notes, capsys, "--dry-run")["accepted"] == 15
    assert not Event.objects.exists() and not LoadProgress.objects.exists()


@pytest.mark.parametrize("bad", ["{broken", '{"text": 5}'])
def test_strict_stops_before_the_first_bad_line(trial: Trial, notes: Path, bad: str) -> None:
    write_lines(notes, 12)
    notes.write_text(notes.read_text() + bad + "\n" + json.dumps({"text": "after"}) + "\n")
    with pytest.raises(CommandError, match=r"line 13|line-13"):
        call_command("load", "trial.notes", str(notes), "--strict")
    assert Event.objects.count() == len(trial.effects()) == 12


def test_a_file_of_nothing_readable_is_a_failure(trial: Trial, notes: Path) -> None:
    notes.write_text("{broken\n")
    with pytest.raises(CommandError, match="nothing could be read"):
        call_command("load", "trial.notes", str(notes))


def test_a_wrong_name_or_file_is_told_before_anything_is_done(trial: Trial, notes: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (("other", str(notes)), "formats: trial.notes"),
        (("trial.notes", str(notes)), "no such file"),
        (("trial.notes", str(tmp_path)), "is a folder"),
        (("trial.notes", str(tmp_path), "--catalogue", "books"), "trial.notes has no catalogues; leave --catalogue"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("load", *arguments)


def test_no_wait_leaves_the_work_to_the_workers(trial: Trial, notes: Path, capsys: Any) -> None:
    write_lines(notes, 3)
    load(notes, capsys, "--no-wait")
    assert PendingEvent.objects.filter(priority=PendingEvent.BULK).count() == 3
    assert trial.effects() == []


def test_a_full_backlog_is_worked_on_before_the_load_goes_on(
    trial: Trial, notes: Path, capsys: Any, settings: Any, monkeypatch: Any
) -> None:
    settings.BACKLOG_LIMIT = 10
    monkeypatch.setattr("suite.events.doorbell.BACKLOG_AGE", -1.0)
    write_lines(notes, 35)
    assert load(notes, capsys)["accepted"] == 35
    assert len(trial.effects()) == 35


def records(path: Path) -> list[Any]:
    return list(read_records(path))


def test_csv_cells_are_texts_and_lists_are_json(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    text = '\ufeffid, tags ,note\n1,"[""a"",""b""]","two\nlines"\n2,,[draft] plain\n3,x\n4,[broken],y\n'
    path.write_bytes(gzip.compress(text.encode()))
    assert records(path) == [
        (3, {"id": "1", "tags": ["a", "b"], "note": "two\nlines"}),
        (4, {"id": "2", "note": "[draft] plain"}),
        Problem(5, "has 2 cells, the header has 3"),
        Problem(6, "column tags looks like a list but is not JSON"),
    ]


def test_bad_lines_are_reported_by_number_and_the_reading_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a":1}\n\n\xff\n{"a":\n' + b"[" * 5_000 + b'\n"x"\n{"a":2}')
    found = records(path)
    assert [item.line if isinstance(item, Problem) else item for item in found] == [
        (1, {"a": 1}),
        3,
        4,
        5,
        6,
        (7, {"a": 2}),
    ]
    assert [item.reason.split(" (")[0] for item in found[1:5]] == [
        "is not UTF-8", "is not JSON", "is not JSON", "must be a JSON object"
    ]  # fmt: skip


def test_a_line_that_never_ends_is_a_bad_line(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("suite.formats.MAX_LINE", 1_000)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":"' + b"x" * 5_000 + b'"}\n{"a":1}\n')
    assert records(path) == [Problem(1, "is longer than 1,000 bytes"), (2, {"a": 1})]


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", b""), ("a.csv.gz", b"not packed"), ("a.jsonl.gz", gzip.compress(b'{"a":1}')[:-9])]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=name):
        records(tmp_path / name)


def test_the_progress_hears_of_every_byte_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n' * 50_000))
    counted: list[int] = []
    assert len(list(read_records(path, LoadOptions(on_bytes=counted.append)))) == 50_000
    assert sum(counted) == path.stat().st_size


def test_plain_records_are_written_instead(trial: Trial, notes: Path, tmp_path: Path, capsys: Any) -> None:
    notes.write_text("\n".join(map(json.dumps, [{"text": "a"}, {"text": "fee"}, {"text": "é"}])) + "\n{broken\n")
    counts = load(notes, capsys, "--write", str(tmp_path / "plain"))
    assert list(counts.values()) == [2]
    [written] = (tmp_path / "plain").iterdir()
    assert [found[1]["text"] for found in read_records(written) if not isinstance(found, Problem)] == ["a", "é"]
    assert not Event.objects.exists()
