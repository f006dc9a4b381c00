"""Carry out a training run that is a search: its trials stand on its row, and the best one can be trained in full.

Imports torch: for workers and commands only.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from django.conf import settings

from suite.encoder.model import Encoder
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.loop import fine_tune
from suite.encoder.training.progress import Progress, Report
from suite.encoder.training.search import Trial, search
from suite.encoder.training.states import RunFolder
from suite.encoder.training.tensorboard import logged
from suite.releases.models import TrainingRun
from suite.releases.snapshot import Snapshot
from suite.releases.training import digest


class Book(Protocol):
    """Keeps a run's row up to date; each raises what stops the run."""

    def say(self, line: str) -> None: ...
    def report(self, progress: Progress) -> None: ...
    def note(self, *, trials: list[dict[str, object]]) -> None: ...


def carry_out_search(run: TrainingRun, config: TrainingConfig, snapshot: Snapshot, book: Book, log: Path) -> str:
    """Go on with the trials of the run's row; what came of them in a line. They are compared on the snapshot's
    validation examples. Raises `ConfigError`, `TrainingError`, `CheckpointError`, and what the book raises."""
    body = config.body or settings.ENCODER
    book.say(f"Loading {body}")
    encoder = Encoder.load(body, threads=settings.ENCODER_THREADS)
    trials = [Trial(**one) for one in run.trials]

    def folder(trial: Trial) -> Path:
        return run.folder / f"trial-{trial.number}"

    def tune(trial: Trial, config: TrainingConfig, judge: Report) -> Progress:
        book.say(f"Trial {trial.number} of {run.trials_wanted}: {settings_of(trial)}")
        with logged(log / folder(trial).name, book.say, both(book.report, judge)) as report:
            place = RunFolder(folder(trial), digest(snapshot, config, encoder))
            return fine_tune(encoder, snapshot.tasks, config, place, report, snapshot.texts)[1]

    def note() -> None:
        book.note(trials=[asdict(trial) for trial in trials])

    for trial in search(config, run.trials_wanted, trials, tune, note):
        book.say(
            f"Trial {trial.number} {trial.state}, at best {max(trial.means, default=0):.4f} {trial.message}".rstrip()
        )
        shutil.rmtree(folder(trial), ignore_errors=True)
    best = run.best_trial
    if best is None:
        return "no trial came through"
    return (
        f"trial {best['number']} of {len(trials)} is the best: {max(best['means']):.4f} on validation examples, "
        f"{max(trials[0].means, default=0):.4f} with the settings given"
    )


def both(first: Report, second: Report) -> Report:
    def report(progress: Progress) -> None:
        first(progress)
        second(progress)

    return report


def settings_of(trial: Trial) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in trial.values.items())
