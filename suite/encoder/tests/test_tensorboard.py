from __future__ import annotations

import sys

import pytest

from suite.encoder.tests.test_training import QUICK, Killed, every_task, silent
from suite.encoder.training.loop import fine_tune
from suite.encoder.training.progress import Progress
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tensorboard import logged


def test_a_run_is_logged_and_one_that_goes_on_is_logged_on(tiny, tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    said: list[str] = []

    def killed_after(batch: int):
        def report(progress: Progress) -> None:
            if progress.batch == batch:
                raise Killed

        return report

    def life(report) -> Progress:
        with logged(tmp_path / "tensorboard", said.append, report) as noted:
            return fine_tune(tiny, every_task(), QUICK, RunFolder(tmp_path, "d"), noted)[1]

    with pytest.raises(Killed):
        life(killed_after(60))
    progress = life(silent)

    log = reading.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert not said and len(progress.losses) == len(every_task())
    assert set(log.Tags()["scalars"]) == {"learning rate", "examples per second", "metric/mean"} | {
        f"{what}/{task}" for what in ("loss", "metric") for task in progress.losses
    }
    evaluations = [one for one in progress.evaluations if "averaged" not in one]
    means = {event.step: event.value for event in log.Scalars("metric/mean")}
    assert means == pytest.approx({one["batch"]: one["mean"] for one in evaluations})
    rates = log.Scalars("learning rate")
    steps = [event.step for event in rates]
    assert steps == sorted(set(steps)) and steps[-1] == progress.batches
    assert QUICK.learning_rate >= max(event.value for event in rates) > rates[-1].value >= 0


def test_without_the_package_a_run_is_not_logged_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    said: list[str] = []
    with logged(tmp_path / "tensorboard", said.append, silent) as report:
        report(Progress(batch=10))
    assert said == ["Not logged for TensorBoard: the extra `tensorboard` is not installed"]
    assert not (tmp_path / "tensorboard").exists()
