from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from suite.domain import Domain
from suite.encoder import checkpoint
from suite.encoder.model import Encoder
from suite.encoder.tests.test_heads import moods
from suite.encoder.training.config import TrainingConfig
from suite.management.training import working_folder
from suite.marking import mark_entity, without_mark
from suite.releases import building, runtime, snapshot
from suite.releases.cleaning import cleaned
from suite.releases.heads import Examples, HeadDeclaration
from suite.releases.models import Release
from suite.releases.training import digest
from suite.releases.training_data import TaskExamples, TrainingData, is_held_out
from suite.releases.validation import with_enough

pytestmark = pytest.mark.django_db
SHOP = Domain(label="shop", title="Shop")
LABELS = ("bad", "fine", "good")


def tasks(records) -> list[TaskExamples]:
    made = []
    for name, head, labels in (("shop.moods", "mood", LABELS), ("shop.kinds", "kind", ())):
        sides: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
        for record in records.get(name, ()):
            text = record["text"].strip()
            sides[is_held_out(text, 0.2)].append((text, record["label"]))
        made.append(TaskExamples(name, "classification", head, labels, sides[False], sides[True]))
    return made


@pytest.fixture
def shop(monkeypatch, settings, bodies, tmp_path) -> dict[str, list[dict[str, Any]]]:
    """A domain with two heads. Its own rows, by format, to be filled in."""
    rows: dict[str, list[dict[str, Any]]] = {"shop.moods": [], "shop.kinds": []}
    declared = {
        name: HeadDeclaration(name, "classification", labels, "macro_f1", lambda: Examples(moods(90), moods(60, 1)))
        for name, labels in (("mood", LABELS), ("kind", ()))
    }
    given = TrainingData(
        tasks, {name: partial(rows_of, rows, name) for name in rows}, fields={"shop.moods": {"text", "label"}}
    )
    monkeypatch.setattr(building, "declared", lambda part, constant: [(SHOP, *pair) for pair in declared.items()])
    monkeypatch.setattr(snapshot, "providers", lambda: dict.fromkeys(rows, (SHOP, given)))
    settings.ENCODER, settings.RELEASES_DIR, settings.ENCODER_THREADS = str(bodies[0]), tmp_path / "releases", 1
    runtime.forget()
    return rows


def rows_of(rows: dict[str, list[dict[str, Any]]], name: str) -> Iterator[dict[str, Any]]:
    return iter(rows[name])


def write(path: Path, records: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def records(count: int = 300, seed: int = 0, **labels: str) -> list[dict[str, str]]:
    return [{"text": text, "label": labels.get(label, label)} for text, label in moods(count, seed)]


def train(*arguments: str) -> None:
    call_command("train", *arguments, "--config", str(FROZEN), verbosity=0)


FROZEN = Path(__file__).parent / "frozen.json"


def test_a_release_in_a_folder_is_asked_and_leaves_the_others_alone(shop, tmp_path, capsys):
    data = write(tmp_path / "moods.jsonl", records())
    train("--data", f"shop.moods={data}", "--output", str(tmp_path / "out"))
    assert "--release" in capsys.readouterr().out
    assert not Release.objects.exists()
    encoder = Encoder.load(str(tmp_path / "out"), threads=1)
    assert list(encoder.heads) == ["mood"]
    assert checkpoint.read(tmp_path / "out").metrics["mood"].keys() >= {"macro_f1", "ece"}

    texts = write(tmp_path / "texts.jsonl", [{"text": text} for text in ("splendid", "awful", "usual")])
    call_command("classify", "mood", "--data", str(texts), "--json", "--release", str(tmp_path / "out"))
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = runtime.resolve(str(tmp_path / "out")).classify("mood", ["splendid", "awful", "usual"])
    assert [tuple(answer["probabilities"]) for answer in answers] == [LABELS] * 3
    found = [list(answer["probabilities"].values()) for answer in answers]
    np.testing.assert_allclose(found, expected, atol=1e-5)

    with pytest.raises(CommandError, match="no head 'kind'; it has: mood") as raised:
        call_command("classify", "kind", "--text", "x", "--release", str(tmp_path / "out"))
    assert raised.value.returncode == 2


def test_without_a_folder_it_becomes_a_candidate_with_every_head(shop, tmp_path, capsys):
    data = write(tmp_path / "kinds.jsonl", records(bad="b", fine="c", good="a"))
    train("--data", f"shop.kinds={data}", "--json")
    made = json.loads(capsys.readouterr().out)
    release = Release.objects.get()
    assert (release.fingerprint, release.state) == (made["release"], Release.State.CANDIDATE)
    encoder = runtime.encoder_for(release.fingerprint)
    assert encoder.head("kind").spec.labels == ("a", "b", "c")  # those of the data
    assert encoder.head("mood").spec.labels == LABELS  # from the examples that it declares


def test_characters_that_become_tokens_are_told_on_the_release(shop, settings, tmp_path):
    rows = [one | {"text": f"{one['text']} 帐篷"} for one in records()]
    (tmp_path / "config.json").write_text(json.dumps({"epochs": 0.2, "minutes": 0, "evaluations": 1}))
    data = write(tmp_path / "moods.jsonl", rows)
    call_command("train", "--data", f"shop.moods={data}", "--config", str(tmp_path / "config.json"), verbosity=0)
    assert f"2 characters that {settings.ENCODER} did not know have become tokens" in Release.objects.get().message


def test_the_applications_own_rows_are_learned_from(shop, tmp_path, capsys):
    shop["shop.moods"] = records()
    train("--output", str(tmp_path / "out"))
    assert list(Encoder.load(str(tmp_path / "out"), threads=1).heads) == ["mood"]
    data = write(tmp_path / "kinds.jsonl", records())
    train("--data", f"shop.kinds={data}", "--rows", "--output", str(tmp_path / "out"))
    assert list(Encoder.load(str(tmp_path / "out"), threads=1).heads) == ["kind", "mood"]


def test_bad_lines_are_told_and_left_out(shop, tmp_path, capsys):
    lines = [
        {"text": "no label"},
        {"text": 3, "label": "bad"},
        {"label": "bad"},
        *records(),
        {"text": "x", "label": "?"},
    ]
    data = write(tmp_path / "moods.jsonl", lines)
    call_command("train", "--data", f"shop.moods={data}", "--config", str(FROZEN), "--output", str(tmp_path / "out"))
    told = capsys.readouterr().err
    assert f"{data} line 1: field label is required" in told
    assert f"{data} line 2: is not shop.moods (AttributeError)" in told
    assert f"{data} line 3: field text is required" in told
    assert "shop.moods: 1 examples left out, their label is not one of bad, fine, good" in told


def test_fields_that_a_format_does_not_have_are_named_and_counted(shop, tmp_path, capsys):
    lines = [one | ({"entiy": "x"} if number < 12 else {}) for number, one in enumerate(records())]
    lines[0] |= {f"more {letter}": "x" for letter in "abcdef"}
    data = write(tmp_path / "moods.jsonl", lines)
    call_command("train", "--data", f"shop.moods={data}", "--config", str(FROZEN), "--output", str(tmp_path / "out"))
    told = capsys.readouterr().err
    assert f"{data}: fields that shop.moods does not have were left out: 'entiy' (12), 'more a' (1)" in told
    assert "'more d' (1), 2 more; it has label, text" in told
    assert "'entiy' (12)" in snapshot.unknown_fields("shop.moods", data)  # which `evaluate` says
    assert snapshot.unknown_fields("shop.kinds", data) == snapshot.unknown_fields("shop.others", data) == ""
    other = write(tmp_path / "kinds.jsonl", lines)  # a format that takes any
    call_command("train", "--data", f"shop.kinds={other}", "--config", str(FROZEN), "--output", str(tmp_path / "out"))
    assert "does not have" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no record that can be used"),
        (["{"], "holds no record that can be used; line 1: must be a JSON object"),
        (records(3), "too few to learn from"),
        ([{"text": f"text {n}", "label": "good"} for n in range(50)], "two classes or more, these are all of 1"),
        (
            [{"text": f"text {n % 20}", "label": LABELS[n // 20]} for n in range(40)],
            "20 of 20 different inputs bear contradictory labels, at most 5% may|"
            r"\d+ of \d+ different inputs bear contradictory labels",
        ),
        (
            [{"text": f"text {n}", "label": LABELS[n % 2]} for n in range(60)],
            "no example is labelled good; its head needs some of every",
        ),
    ],
)
def test_what_nothing_can_be_learned_from_is_one_line(shop, tmp_path, lines, message):
    data = write(tmp_path / "moods.jsonl", lines)
    with pytest.raises(CommandError, match=message) as raised:
        train("--data", f"shop.moods={data}", "--output", str(tmp_path / "out"))
    assert raised.value.returncode == 1 and "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
    assert not Release.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "shop.moods=nowhere.jsonl"], "nowhere.jsonl: No such file or directory"),
        (["--data", "shop.moods=moods.parquet"], "the name must end in .jsonl, .csv"),
        (["--data", "shop.prices=moods.jsonl"], "shop.prices: nothing learns from this format; there are: shop.kinds"),
        (["--data", "moods.jsonl"], "argument --data"),
        ([], "nothing to learn from: too few rows yet, and no --data"),
    ],
)
def test_data_that_is_not_there_is_named(shop, arguments, message):
    with pytest.raises(CommandError, match=message):
        train(*arguments)


def test_labels_that_training_does_not_know_are_said_before_it(shop, tmp_path):
    data = write(tmp_path / "kinds.jsonl", records())
    other = write(tmp_path / "other.jsonl", records(60, 1, bad="BAD", fine="FINE", good="GOOD"))
    with pytest.raises(CommandError, match="0 of 60 validation examples bear a label that is trained on"):
        train("--data", f"shop.kinds={data}", "--validation", f"shop.kinds={other}", "--output", str(tmp_path / "out"))
    assert not list(tmp_path.glob(".out*"))
    shop["shop.moods"] = [one for one in records() if one["label"] != "fine"]
    shop["shop.kinds"] = records()
    taken = snapshot.take([], with_rows=True)
    assert [task.name for task in taken.tasks] == ["shop.kinds"]
    assert "left out: shop.moods: no example is labelled fine; its head needs some of every class" in taken.notes


def test_what_is_measured_on_little_is_told(shop):
    shop["shop.moods"] = records(30)
    shop["shop.kinds"] = records(300)
    taken = snapshot.take([])
    held = {task.name: len(task.validation) for task in taken.tasks}
    assert held["shop.moods"] < 30 <= held["shop.kinds"]
    few = f"shop.moods: mood is measured on {held['shop.moods']} examples, so its figures are little more than chance"
    assert taken.notes == (few,)
    train, validation = [("a", "bad"), ("b", "good")], [(f"text {n}", "bad") for n in range(30)]
    notes: list[str] = []
    cleaned(TaskExamples("shop.moods", "classification", "mood", (), train, validation), notes.append)
    assert notes == ["shop.moods: mood is measured on examples of one class, so nothing is known of the others"]


def test_a_class_that_came_to_stand_for_validation_alone_is_trained_on():
    held = [("a", "bad"), ("b", "rare")]
    task = TaskExamples("shop.kinds", "classification", "kind", (), [("c", "bad"), ("d", "good")], held)
    [found] = snapshot.with_validation([task], [], [])
    assert (found.train[-1], found.validation) == (("b", "rare"), [("a", "bad")])


def test_of_few_examples_more_stand_for_validation_and_all_names_of_a_text_on_one_side():
    texts = [f"Arla and Boliden report {number}" for number in range(2_000)]
    examples = [(mark_entity(text, name), LABELS[len(text) % 3]) for text in texts for name in ("", "Arla")]

    def task_of(examples: list[tuple[str, str]], share: float = 0.1) -> TaskExamples:
        sides: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
        for example in examples:
            sides[is_held_out(without_mark(example[0]), share)].append(example)
        return TaskExamples("shop.moods", "classification", "mood", (), sides[False], sides[True])

    def held_of(count: int) -> set[str]:
        task = task_of(examples[:count])
        found = with_enough(task)
        held, learned = ({without_mark(text) for text, _ in side} for side in (found.validation, found.train))
        assert len(found.train) + len(found.validation) == count and held.isdisjoint(learned)
        assert {without_mark(text) for text, _ in task.validation} <= held
        return held

    assert abs(len(held_of(200)) - 0.3 * 100) < 12
    assert abs(len(held_of(1_000)) - 0.15 * 500) < 20
    assert held_of(4_000) == {text for text in texts if is_held_out(text)}
    assert held_of(1_000) & set(texts[:100]) <= held_of(200), "what is held of more was held of fewer"
    of_many = task_of([(text, str(number % 100)) for number, text in enumerate(texts[:300])])
    split_otherwise = task_of(examples[:200], 0.05)
    compared = TaskExamples("shop.pairs", "contrastive", "", (), [("a", "b", ("c",))], [("d", "e", ())])
    assert all(with_enough(task) == task for task in (of_many, split_otherwise, compared))


def test_two_processes_do_not_train_for_one_folder(shop, tmp_path):
    data = write(tmp_path / "moods.jsonl", records())
    with working_folder(tmp_path / "out"), pytest.raises(CommandError, match="out: another process trains for this"):
        train("--data", f"shop.moods={data}", "--output", str(tmp_path / "out"))
    assert not list(tmp_path.glob(".out*"))
    train("--data", f"shop.moods={data}", "--output", str(tmp_path / "out"))


@pytest.mark.parametrize("place", ["", "mounted"])
def test_a_folder_that_cannot_be_replaced_is_said_before_the_training(shop, tmp_path, monkeypatch, place):
    data = write(tmp_path / "moods.jsonl", records())
    output = tmp_path / place
    output.mkdir(exist_ok=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(output if not place else tmp_path / "here")
    if place:
        monkeypatch.setattr(Path, "is_mount", lambda path: path == output)
    else:
        monkeypatch.setattr("suite.management.training.is_replaceable", lambda folder: True)
    with pytest.raises(CommandError, match="is the current folder or a mounted disk; name a folder in it"):
        train("--data", f"shop.moods={data}", "--output", str(output))


def test_an_interrupted_training_says_how_it_goes_on(shop, tmp_path):
    with pytest.raises(CommandError, match="the same command goes on from the last checkpoint") as raised:  # noqa: SIM117
        with working_folder(tmp_path / "out") as folder:
            (folder / "state.pt").write_bytes(b"so far")
            raise KeyboardInterrupt
    assert raised.value.returncode == 130 and (tmp_path / ".out.training" / "state.pt").exists()
    with pytest.raises(KeyboardInterrupt), working_folder(tmp_path / "other"):
        raise KeyboardInterrupt  # before there was anything to go on from
    assert not (tmp_path / ".other.training").exists()


def test_a_file_that_nothing_is_made_of_is_no_success(shop, monkeypatch, tmp_path):
    moods, kinds = (
        snapshot.Source(name, write(tmp_path / f"{name}.jsonl", records(seed=seed)))
        for seed, name in enumerate(("shop.moods", "shop.kinds"))
    )
    again = snapshot.Source("shop.moods", write(tmp_path / "again.jsonl", records(seed=2)))
    _, given = snapshot.providers()["shop.moods"]

    def made_of(names: set[str]) -> None:
        def only(found: Mapping[str, Any]) -> list[TaskExamples]:
            return [one for one in tasks(found) if one.name in names & found.keys()]

        monkeypatch.setattr(
            snapshot, "providers", lambda: dict.fromkeys(given.rows, (SHOP, replace(given, tasks=only)))
        )

    made_of({"shop.moods"})
    with pytest.raises(snapshot.SnapshotError, match=r"shop\.kinds: no example could be made of the records"):
        snapshot.take([kinds, moods])
    with pytest.raises(snapshot.SnapshotError, match=r"shop\.kinds: no example for validation could be made"):
        snapshot.take([moods], [kinds])
    made_of({"shop.moods", "shop.kinds"})
    taken = snapshot.take([moods, kinds], [again])
    assert {task.name for task in taken.tasks} == {"shop.moods", "shop.kinds"} and not taken.notes
    with pytest.raises(snapshot.SnapshotError, match=r"shop\.kinds: there are records for validation, but none to tr"):
        snapshot.take([moods], [kinds])


def test_another_body_does_not_go_on_from_what_one_left(bodies):
    one, other = (Encoder.load(str(body), threads=1) for body in bodies[:2])
    taken, config = snapshot.Snapshot(()), TrainingConfig()
    assert digest(taken, config, one) != digest(taken, config, other)
    assert digest(taken, config, one) == digest(taken, config, Encoder.load(str(bodies[0]), threads=1))


def test_a_full_disk_is_one_line_and_leaves_nothing(shop, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_durably", full)
    data = write(tmp_path / "moods.jsonl", records())
    with pytest.raises(CommandError, match=r"cannot be written \(No space left on device\)"):
        train("--data", f"shop.moods={data}", "--output", str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moods.jsonl"]


def test_a_folder_of_somebody_elses_is_not_written_over(shop, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    data = write(tmp_path / "moods.jsonl", records())
    with pytest.raises(CommandError, match="is there already and is no release"):
        train("--data", f"shop.moods={data}", "--output", str(tmp_path / "out"))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_validation_data_of_its_own_is_never_trained_on(shop, tmp_path):
    data = write(tmp_path / "moods.jsonl", records(90))
    other = write(tmp_path / "held.jsonl", [*records(60, 1), *records(9)])
    taken = snapshot.take([snapshot.Source("shop.moods", data)], [snapshot.Source("shop.moods", other)])
    (task,) = taken.tasks
    held = {text for text, _ in task.validation}
    assert held == {record["text"] for record in [*records(60, 1), *records(9)]}
    assert held.isdisjoint(text for text, _ in task.train)
    assert len(task.train) >= 75


def test_a_snapshot_is_read_as_it_was_written(shop, tmp_path):
    shop["shop.moods"] = records(30)
    taken = snapshot.take([])
    pairs = TaskExamples("a.b", "pair", "fits", ("no", "yes"), [(("a", "b"), "yes")], [(("c", "d"), "no")])
    pairs = replace(pairs, pseudo_labelled=[(("e", "f"), "no")])
    triples = TaskExamples("a.c", "contrastive", train=[("a", "b", ("c",))], validation=[("d", "e", ())])
    taken = snapshot.Snapshot((*taken.tasks, pairs, triples), ("a note",), ("a text",))
    taken.write(tmp_path / "snapshot.json.gz")
    again = snapshot.Snapshot.read(tmp_path / "snapshot.json.gz")
    assert again == snapshot.Snapshot(
        tuple(replace(task, **{side: list(getattr(task, side)) for side in snapshot.SIDES}) for task in taken.tasks),  # type: ignore[arg-type]
        taken.notes,
        taken.texts,
    )
    assert again.digest == taken.digest
    stored = json.loads(gzip.decompress((tmp_path / "snapshot.json.gz").read_bytes()))
    del stored["texts"]  # as an older Suite wrote it
    (tmp_path / "snapshot.json.gz").write_bytes(gzip.compress(json.dumps(stored).encode()))
    assert snapshot.Snapshot.read(tmp_path / "snapshot.json.gz") == replace(again, texts=())
