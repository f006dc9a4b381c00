"""The benchmark of training's speed: what the plain loop computes."""

from __future__ import annotations

import pytest
import torch

from benchmarks.training_speed import PlainRun
from suite.encoder.model import Encoder
from suite.encoder.tests.models import write_tiny
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.loop import Run
from suite.encoder.training.states import RunFolder
from suite.releases.training_data import TaskExamples

CONFIG = TrainingConfig(minutes=0, batch_size=4, max_tokens=8, precision="float32")


@pytest.fixture
def both(tmp_path):
    encoder = Encoder.load(str(write_tiny(tmp_path / "tiny")), threads=1, device="cpu")
    words = ["tent", "lamp", "stove", "rope", "boot"]
    examples = [(" ".join([word] * (1 + 3 * place)), "ab"[place % 2]) for place, word in enumerate(words * 2)]
    task = TaskExamples("things", "classification", "thing", ("a", "b"), examples, examples[:2])
    folder = RunFolder(tmp_path, "")
    return Run(encoder, [task], CONFIG, folder), PlainRun(encoder, [task], CONFIG, folder)


def test_the_plain_loop_has_the_same_batches_and_vectors(both):
    ours, plain = both
    assert [list(ours.plan[number][1]) for number in range(len(ours.plan))] == [
        list(plain.plan[number][1]) for number in range(len(plain.plan))
    ]
    texts = range(len(ours.texts.ids))
    assert max(ours.texts.lengths(texts)) == CONFIG.max_tokens  # one is cut
    assert torch.allclose(ours.body.embed(texts), plain.body.embed(texts), atol=1e-5)


def test_the_plain_loop_trains_every_embedding(both):
    for run, is_trained in zip(both, (False, True), strict=True):
        before = run.body.model.get_input_embeddings().weight.detach().clone()
        run.one_batch()
        run.one_batch()
        assert torch.equal(before, run.body.model.get_input_embeddings().weight) != is_trained


def test_the_plain_loop_encodes_a_text_as_often_as_it_stands_in_a_batch(both, monkeypatch):
    _, plain = both
    which, positions = plain.plan[0]
    task = plain.tasks[which]
    task.train[positions[1]] = task.train[positions[0]]
    seen, encoded = [], plain.body.encoded

    def noted(texts):
        seen.append(list(texts))
        return encoded(texts)

    monkeypatch.setattr(plain.body, "encoded", noted)
    plain.one_batch()
    assert seen == [[task.train[position].texts[0] for position in positions]]
    assert len(set(seen[0])) < len(seen[0])
