from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from suite.encoder.training.config import ConfigError
from suite.encoder.training.pretraining import DEFAULT, NAME, Pretraining, pretrain
from suite.encoder.training.progress import Progress
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tasks import TextTask, TrainingError

COLOURS = {"tent": "green", "lamp": "yellow", "stove": "black", "rope": "white", "boot": "brown", "knife": "silver"}
TEXTS = [f"the {thing} number {number} is {colour}" for number in range(60) for thing, colour in COLOURS.items()]
QUICK = replace(DEFAULT, epochs=6, minutes=0, batch_size=16, learning_rate=5e-3, head_rate=1e-2, evaluations=3,
                layer_decay=1, precision="float32", dropout=0)  # fmt: skip


def silent(progress: Progress) -> None:
    pass


def test_a_body_learns_to_guess_what_is_masked(tiny, tmp_path):
    read, progress = pretrain(tiny, TEXTS, QUICK, RunFolder(tmp_path / "run", "d"), silent)
    first, last = (progress.evaluations[place]["metrics"][NAME] for place in (0, -1))
    assert first < 0.05 and last > 0.4  # the frame of the sentence, and the colour of the thing
    assert read.fingerprint != tiny.fingerprint and not read.heads
    read.save(tmp_path / "out")
    assert type(tiny).load(str(tmp_path / "out"), threads=1, device="cpu").fingerprint == read.fingerprint


def test_words_alone_are_masked_and_what_is_to_be_guessed_is_what_stood_there(tiny, tmp_path):
    run = Pretraining(tiny, [TextTask(NAME, TEXTS)], QUICK, RunFolder(tmp_path, "d"))
    texts = [one.texts[0] for one in run.tasks[0].train]
    special = {tiny.tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]", "[PAD]")}
    chosen_count = word_count = masks = 0
    for seen, mask, chosen, right in run.passes(texts, torch.Generator().manual_seed(1)):
        assert special.isdisjoint(right.tolist()) and not (chosen & ~mask).any()
        chosen_count, word_count = chosen_count + len(right), word_count + int(mask.sum()) - 2 * len(mask)
        masks += int((seen[chosen] == run.mask_id).sum())
        assert (seen[~chosen & mask] != run.mask_id).all()
    assert abs(chosen_count / word_count - 0.15) < 0.02
    assert abs(masks / chosen_count - 0.8) < 0.05


class Killed(Exception):
    pass


def test_pretraining_that_was_broken_off_ends_where_it_would_have(tiny, tmp_path):
    config = replace(QUICK, epochs=2, checkpoint_seconds=0.0)
    whole, _ = pretrain(tiny, TEXTS, config, RunFolder(tmp_path / "whole", "d"), silent)

    def kill(progress: Progress) -> None:
        if progress.batch == 9:
            raise Killed

    folder = RunFolder(tmp_path / "broken", "d")
    with pytest.raises(Killed):
        pretrain(tiny, TEXTS, config, folder, kill)
    seen: list[int] = []
    again, _ = pretrain(tiny, TEXTS, config, folder, lambda progress: seen.append(progress.batch))
    assert seen[0] == 9
    for name, one in whole.model.named_parameters():
        torch.testing.assert_close(dict(again.model.named_parameters())[name], one, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_read_is_said(tiny, tmp_path):
    with pytest.raises(TrainingError, match="there are 1 different texts to read, 40 at least are needed"):
        pretrain(tiny, ["a tent", "a tent ", " "], QUICK, RunFolder(tmp_path, "d"), silent)
    with pytest.raises(ConfigError, match="label_smoothing has no meaning in pretraining; the fields are body, epochs"):
        pretrain(tiny, TEXTS, replace(QUICK, label_smoothing=0.2), RunFolder(tmp_path, "d"), silent)


def test_a_tokenizer_without_a_mask_is_said(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("suite.encoder.training.pretraining.MASKS", ("[NONE]",))
    with pytest.raises(TrainingError, match=r"the tokenizer has no token \[NONE\]: this body cannot be pretrained"):
        pretrain(tiny, TEXTS, QUICK, RunFolder(tmp_path, "d"), silent)
