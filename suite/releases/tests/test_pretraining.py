from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from suite.encoder import checkpoint
from suite.encoder.model import Encoder
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.progress import Progress
from suite.releases import building, compression, snapshot, training
from suite.releases.compression import Compression
from suite.releases.tests.test_training import FROZEN, SHOP, records, write
from suite.releases.tests.test_training import shop as shop
from suite.releases.training_data import TrainingData, Unlabelled

pytestmark = pytest.mark.django_db
CONFIG = {"epochs": 1, "batch_size": 16, "evaluations": 2, "precision": "float32"}


def text_of(record) -> str:
    return record["text"].strip()


@pytest.fixture
def stories(shop, monkeypatch) -> list[dict[str, str]]:
    """The shop's own unlabelled rows, to be filled in; its moods are labelled as before."""
    rows: list[dict[str, str]] = []
    provided = dict(snapshot.providers())
    tasks, labelled = provided["shop.moods"][1].tasks, provided["shop.moods"][1].rows
    given = TrainingData(tasks, labelled, {"shop.stories": Unlabelled(text_of, partial(iter, rows))})
    monkeypatch.setattr(snapshot, "providers", lambda: dict.fromkeys(labelled, (SHOP, given)))
    return rows


@pytest.fixture
def config(tmp_path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path / "config.json"


def pretrain(*arguments: str) -> None:
    call_command("pretrain", *arguments, verbosity=0)


def test_a_body_that_has_read_is_what_training_tunes(stories, config, tmp_path, capsys):
    data, out = write(tmp_path / "stories.jsonl", records(300)), tmp_path / "out"
    pretrain("--data", f"shop.stories={data}", "--config", str(config), "--output", str(out), "--json")
    made = json.loads(capsys.readouterr().out)
    assert made == {"folder": str(out), "fingerprint": checkpoint.read(out).fingerprint, "guessed": made["guessed"]}
    arguments = ["--data", f"shop.moods={data}", "--config", str(FROZEN), "--output", str(tmp_path / "trained")]
    call_command("train", *arguments, "--body", str(out), verbosity=0)
    trained, read = (Encoder.load(str(folder), threads=1).model.state_dict() for folder in (tmp_path / "trained", out))
    assert all((trained[name] == tensor).all() for name, tensor in read.items())  # FROZEN tunes nothing


def test_the_applications_own_texts_are_read(stories, config, tmp_path):
    stories += records(300)
    pretrain("--config", str(config), "--output", str(tmp_path / "out"))
    assert checkpoint.is_checkpoint(tmp_path / "out")


def test_a_snapshot_has_the_texts_that_nobody_labelled(stories, shop, tmp_path, monkeypatch):
    shop["shop.moods"] += records(60)
    stories += [{"text": "A story"}, *records(60), {"text": "A story"}, {"text": " "}, {"title": "x"}]
    taken = snapshot.take([])
    assert taken.texts == tuple(dict.fromkeys(["A story", *(record["text"] for record in records(60))]))
    monkeypatch.setattr(snapshot, "MOST_TEXTS", 10)
    monkeypatch.setattr(snapshot, "MOST_CHARACTERS", 3)
    stories[:] = [{"text": f"{number} stories"} for number in range(100, 110)]
    assert snapshot.take([]).texts == tuple(str(number) for number in range(100, 110))
    moods = snapshot.Source("shop.moods", write(tmp_path / "moods.jsonl", records(60)))
    told = snapshot.Source("shop.stories", write(tmp_path / "stories.jsonl", [{"text": "Another"}, {"title": "x"}]))
    apart = snapshot.take([moods, told])
    assert (apart.tasks, apart.texts) == (taken.tasks, ("Ano",))
    assert any("stories.jsonl line 2" in note for note in apart.notes)
    with pytest.raises(snapshot.SnapshotError, match=r"shop\.stories: these texts bear no labels; name"):
        snapshot.take([told])


def test_training_and_compression_hold_them_but_for_those_that_a_head_is_measured_on(stories, shop, monkeypatch):
    shop["shop.moods"] += records(60)
    measured, _ = building.head_plans()[0].examples.validation[0]
    stories += [{"text": "A story"}, {"text": f" {str(measured).upper()}"}]
    seen = []

    def tuned(encoder, tasks, config, folder, report, texts):
        seen.append(list(texts))
        return encoder, Progress()

    for module in (training, compression):
        monkeypatch.setattr(module, "fine_tune", tuned)
    taken = snapshot.take([])
    assert len(taken.texts) == 2
    training.train(taken, TrainingConfig(), Path("run"), has_other_heads=True, say=str, report=str)  # type: ignore[arg-type]
    encoder, plans = Encoder.load(str(settings.ENCODER), threads=1), building.head_plans()
    compression.taught(encoder, Compression(1, 1, False), taken, plans, Path("run"), str, str)  # type: ignore[arg-type]
    assert seen == [["A story"]] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--data", "shop.moods=stories.jsonl"],
            "shop.moods: no texts are read from this format; there are: shop.stor",
        ),
        (["--data", "shop.stories=nowhere.jsonl"], "nowhere.jsonl: No such file or directory"),
        (["--data", "shop.stories=bad.jsonl"], "bad.jsonl: holds no record that can be used; line 1: "),
        (["--data", "shop.stories=few.jsonl"], "there are 3 different texts to read, 40 at least are needed"),
        ([], "there are 0 different texts to read, 40 at least are needed"),
        (["--body", "./nowhere", "--data", "shop.stories=few.jsonl"], "nowhere: there is no such folder"),
    ],
)
def test_what_cannot_be_read_is_one_line(stories, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "bad.jsonl", [{"text": 3}, {"title": "x"}])
    write(tmp_path / "few.jsonl", [{"text": f"text {number}"} for number in range(3)])
    with pytest.raises(CommandError, match=message) as raised:
        pretrain(*arguments, "--output", "out")
    assert raised.value.returncode == 1 and "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_the_domains_name_texts_that_can_be_read(db):
    formats = {name: given for _, one in snapshot.providers().values() for name, given in one.texts.items()}
    assert formats.keys() == {"commerce.items", "finance.articles", "support.answers", "support.questions"}
    record = {"title": "A tent", "text": "It is dry.", "body": "It is dry.", "description": "It is dry."}
    for given in formats.values():
        assert "It is dry." in given.text(record)
        assert list(given.rows()) == []
