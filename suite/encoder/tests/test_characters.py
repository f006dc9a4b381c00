from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from suite.encoder.model import Encoder
from suite.encoder.tests.models import write_tiny
from suite.encoder.tests.test_training import LABELS, QUICK, Given, Killed, mood_task, silent
from suite.encoder.training import characters
from suite.encoder.training.characters import grown, size_of, unread, unreadable
from suite.encoder.training.loop import fine_tune
from suite.encoder.training.losses import Retained
from suite.encoder.training.pretraining import DEFAULT, pretrain
from suite.encoder.training.states import RunFolder

MOST = 1_000

SAID = {"bad": "糟糕透顶", "fine": "还算可以", "good": "非常满意"}
THINGS = "帐篷炉子绳索靴刀图罗盘瓶毯锯"


def reviews(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """What is said of things, in characters that the tokenizer does not know, but for a few."""
    rng = np.random.default_rng(seed)
    rows = []
    for place in range(count):
        label = LABELS[place % 3]
        about = "".join(rng.choice(list(THINGS), 4))
        rows.append((f"{about}{rng.choice(list(SAID[label]))}{place + 1000 * seed}", label))
    return rows


def chinese_task() -> Given:
    return Given("shop.reviews", "classification", LABELS, reviews(150), reviews(60, seed=1))


def test_characters_that_the_tokenizer_does_not_know_are_found(tiny):
    texts = [text for text, _ in reviews(60)]
    found = unread(tiny.tokenizer, texts, MOST)
    assert set(found) <= set(THINGS + "".join(SAID.values()))
    unknown = tiny.tokenizer.token_to_id("[UNK]")
    assert all(unknown in tiny.tokenizer.encode(one).ids for one in found) and len(found) > 10
    assert unread(tiny.tokenizer, texts, 3) == found[:3]


@pytest.mark.parametrize(
    "texts",
    [
        [f"lamp {number}, naïve, Ωmega and привет" for number in range(10)],
        [f"a good lamp number {number} of many others in the shop 帐" for number in range(300)],  # one in twelve
        ["帐篷"] * 3,
        [],
    ],
)
def test_where_few_are_unknown_or_each_is_rare_none_becomes_a_token(tiny, texts, monkeypatch):
    monkeypatch.setattr(characters, "SHARE", 0.1)
    assert unread(tiny.tokenizer, texts, MOST) == []


def test_their_order_is_the_same_in_every_process(tiny_folder):
    """Else who goes on from a state gives a character the embedding of another."""
    script = (
        "import sys; from tokenizers import Tokenizer; from suite.encoder.training.characters import unread\n"
        "texts = [''.join(chr(0x4e00 + 7 * k) for k in range(60)) + str(n) for n in range(9)]\n"
        "print(ascii(unread(Tokenizer.from_file(sys.argv[1]), texts, 20)))"
    )
    command = [sys.executable, "-c", script, str(tiny_folder / "tokenizer.json")]
    said = [
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] and said[0].count(b"\\u") == 20


def test_a_grown_encoder_reads_them_and_everything_else_as_before(tiny):
    large = grown(tiny, ["帐", "篷"])
    assert large.settings["vocab_size"] == len(large.model.get_input_embeddings().weight) >= size_of(tiny.tokenizer) + 2
    texts = ["a lamp", "good tents"]
    np.testing.assert_allclose(large.embed(texts), tiny.embed(texts), atol=1e-5)
    first, second = large.embed(["帐帐", "篷篷"])
    assert first @ second < 0.99
    first, second = tiny.embed(["帐帐", "篷篷"])
    np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("more", [{}, {"is_embedding_trained": True}])
def test_training_learns_a_language_that_the_body_never_read(tiny, tmp_path, more):
    config = replace(QUICK, **more)
    tuned, progress = fine_tune(tiny, [chinese_task()], config, RunFolder(tmp_path / "run", "d"), silent)
    assert progress.evaluations[-1]["metrics"]["shop.reviews"] > 0.9
    tuned.save(tmp_path / "out")
    loaded = Encoder.load(str(tmp_path / "out"), threads=1)
    texts = [text for text, _ in reviews(9)]
    np.testing.assert_allclose(loaded.embed(texts), tuned.embed(texts), atol=1e-5)
    words, before = (one.model.get_input_embeddings().weight for one in (tuned, tiny))
    assert torch.equal(words[: len(before)], before) != bool(more)


def test_vectors_of_texts_that_were_unreadable_are_not_held(tiny, tmp_path):
    """Else two questions that differ in unknown characters only would have to stay the same."""
    pairs: list[Any] = [(text, f"{label} {text[:4]}", []) for text, label in reviews(90)]
    given = Given("shop.questions", "contrastive", (), pairs, pairs[:30])
    tuned, _ = fine_tune(tiny, [given], replace(QUICK, retention=100.0), RunFolder(tmp_path, "d"), silent)
    start = grown(tiny, unread(tiny.tokenizer, [text for pair in pairs for text in pair[:2]], MOST))
    texts = [pair[0] for pair in pairs[:20]]
    assert (start.embed(texts) * tuned.embed(texts)).sum(axis=1).mean() < 0.99
    assert tuned.tokenizer.to_str() == start.tokenizer.to_str()


def test_a_run_in_that_language_goes_on_from_its_state(tiny, tmp_path):
    config = replace(QUICK, checkpoint_seconds=0.0, precision="float32")
    whole, _ = fine_tune(tiny, [chinese_task()], config, RunFolder(tmp_path / "whole", "d"), silent)

    def report(progress):
        if progress.batch == 9:
            raise Killed

    folder = RunFolder(tmp_path / "broken", "d")
    with pytest.raises(Killed):
        fine_tune(tiny, [chinese_task()], config, folder, report)
    again, _ = fine_tune(tiny, [chinese_task()], config, folder, silent)
    texts = [text for text, _ in reviews(9)]
    np.testing.assert_allclose(again.embed(texts), whole.embed(texts), atol=1e-4)


def test_a_run_keeps_the_characters_that_it_began_with(tiny, tmp_path):
    """Texts without labels come and go while it lies there."""
    config = replace(QUICK, checkpoint_seconds=0.0, precision="float32", retention=1.0, plain_texts=0.5)

    def report(progress):
        if progress.batch == 9:
            raise Killed

    folder, texts = RunFolder(tmp_path, "d"), [text for text, _ in reviews(60)]
    with pytest.raises(Killed):
        fine_tune(tiny, [mood_task()], config, folder, report, texts)
    state = folder.read_state()
    assert state is not None and state["characters"]
    tuned, _ = fine_tune(tiny, [mood_task()], config, folder, silent, ["a text that it can read"] * 60)
    assert size_of(tuned.tokenizer) == size_of(tiny.tokenizer) + len(state["characters"])


def test_two_processes_learn_the_same_tokens(tiny, tmp_path):
    config = replace(QUICK, precision="float32", dropout=0.0, evaluations=1, average=1)
    one, _ = fine_tune(tiny, [chinese_task()], replace(config, accumulate=2), RunFolder(tmp_path / "one", "d"), silent)
    both, _ = fine_tune(tiny, [chinese_task()], replace(config, processes=2), RunFolder(tmp_path / "both", "d"), silent)
    words = [each.model.get_input_embeddings().weight for each in (one, both)]
    start = grown(tiny, unread(tiny.tokenizer, [text for text, _ in chinese_task().train], MOST))
    assert not torch.allclose(words[0], start.model.get_input_embeddings().weight, atol=0.01)
    torch.testing.assert_close(*words, rtol=1e-2, atol=1e-3)


def test_a_student_gets_no_tokens_that_its_teacher_lacks(tmp_path):
    teacher = Encoder.load(str(write_tiny(tmp_path / "teacher", layers=3)), threads=1)
    config = replace(QUICK, epochs=1, layers=2)
    small, _ = fine_tune(teacher, [chinese_task()], config, RunFolder(tmp_path / "run", "d"), silent)
    assert small.tokenizer.to_str() == teacher.tokenizer.to_str()


def test_a_text_with_one_new_character_is_held_where_it_was(tiny, tmp_path):
    ids = [[5, 6, 7, 8, 9, 1000], [5, 1000, 1001], []]
    assert unreadable(1000, ids) == {1}
    retained = Retained({0}, lambda texts: torch.eye(3)[: len(texts)], free={1})
    assert retained.holds([0, 1, 2]) and not retained.holds([0, 1])
    vectors = torch.eye(3, requires_grad=True)
    assert retained.distance([0, 1], vectors[:2]).item() == 0  # of the first alone
    retained.distance([1], vectors[1:2]).backward()
    assert vectors.grad is not None and not vectors.grad.any()


def test_a_body_that_reads_first_keeps_its_new_tokens(tiny, tmp_path):
    texts = [text for text, _ in reviews(120)]
    config = replace(DEFAULT, minutes=0, epochs=2, batch_size=16, evaluations=2)
    read, _ = pretrain(tiny, texts, config, RunFolder(tmp_path / "read", "d"), silent)
    assert size_of(read.tokenizer) > size_of(tiny.tokenizer)
    assert unread(read.tokenizer, texts, MOST) == []
    tuned, _ = fine_tune(read, [chinese_task()], QUICK, RunFolder(tmp_path / "tuned", "d"), silent)
    assert tuned.tokenizer.to_str() == read.tokenizer.to_str()


def test_english_is_read_as_before(tiny, tmp_path):
    tuned, _ = fine_tune(tiny, [mood_task()], replace(QUICK, epochs=1), RunFolder(tmp_path, "d"), silent)
    assert tuned.tokenizer.to_str() == tiny.tokenizer.to_str()
