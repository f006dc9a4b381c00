"""Carry training runs out: take a snapshot, train, make the release and compare it with the active one; or search.

A run is worked on by a process of its own (`manage.py train --run`), so that neither a queue nor a broker's message
waits for it. The process holds a lease; where it dies, the sweep finds the run without one and starts another process,
which goes on from the last checkpoint. Imports torch: for workers and commands only.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from suite.encoder.checkpoint import CheckpointError
from suite.encoder.model import Encoder
from suite.encoder.training.config import ConfigError, TrainingConfig
from suite.encoder.training.progress import Progress, Report
from suite.encoder.training.tasks import TrainingError
from suite.encoder.training.tensorboard import logged
from suite.events.database import UNAVAILABLE, patiently
from suite.jobs import Keeper, LeaseLost, held
from suite.live.broadcast import broadcast
from suite.releases import runtime, selectors, snapshot
from suite.releases.building import HeadPlan, fit_heads, kept
from suite.releases.calibration import calibrated
from suite.releases.comparison import ACTIVE, evaluate, note
from suite.releases.compression import Compression, compress
from suite.releases.models import Release, TrainingRun
from suite.releases.pseudo_labels import with_pseudo_labels
from suite.releases.search import carry_out_search
from suite.releases.services import TRAINING_LEASE, training_topic
from suite.releases.snapshot import Snapshot, SnapshotError, Source
from suite.releases.training import SNAPSHOT, Trained, train

log = logging.getLogger(__name__)
TENSORBOARD = "tensorboard"  # folder in a run's own that stays when the run is finished
NOTE_SECONDS = 1.0  # between two notes of progress
SHORT_OF_MEMORY = "perhaps memory is short: use a smaller batch_size or max_tokens"
MAX_IDLE_LIVES = 3  # processes that may die one after another without getting further

Say = Callable[[str], None]


class Stopped(Exception):
    """A person wants the run to end."""


def carry_out_requested(say: Say = log.info, report: Report = lambda progress: None) -> bool:
    """Carry out what is outstanding, oldest first; False where another process is at it. Raises `UNAVAILABLE` where the
    database stays away: the run can be gone on with."""
    with held(TRAINING_LEASE) as lease:
        while lease and not lease.is_lost and (run := selectors.outstanding_runs().first()):
            attempt(run, say, report, lease)
    return lease is not None and not lease.is_lost


def attempt(run: TrainingRun, say: Say, report: Report, lease: Keeper) -> None:
    """Carry one out, or say on its row why it ended. Raises `UNAVAILABLE`."""
    if is_hopeless(run):
        told = run.message.removeprefix("waits: ")
        why = f"by {told}" if told else f"without a word; {SHORT_OF_MEMORY}"
        finish(run, TrainingRun.State.FAILED, f"{run.idle_lives} processes ended one after another {why}")
        return
    try:
        try:
            carry_out(run, Notebook(run, say, report, lease))
        finally:
            lease.look()  # whatever went wrong, it may come of two processes in one folder
    except LeaseLost:
        say(f"This process was held up, another one goes on with {run}")
    except Stopped:
        finish(run, TrainingRun.State.STOPPED, "stopped")
    except UNAVAILABLE as error:
        with suppress(*UNAVAILABLE):
            TrainingRun.objects.filter(pk=run.pk).update(message=f"waits: {type(error).__name__}: {error}")
        raise
    except (SnapshotError, TrainingError, CheckpointError, ConfigError, runtime.NoRelease) as error:
        finish(run, TrainingRun.State.FAILED, str(error))
    except OSError as error:
        finish(run, TrainingRun.State.FAILED, f"the run's folder cannot be written ({error.strerror})")
    except Exception as error:  # whatever it is, the active release serves on and the row says what happened
        log.exception("training run %s failed", run.pk)
        finish(run, TrainingRun.State.FAILED, f"{type(error).__name__}: {error}")


def is_hopeless(run: TrainingRun) -> bool:
    """Count this process among the run's lives; True where the last ones got no further than those before."""
    got_to, furthest = [len(run.trials), run.progress.get("batch", 0)], run.progress.get("furthest", [0, 0])
    run.idle_lives = run.idle_lives + 1 if run.lives and got_to <= furthest else 0
    run.progress["furthest"] = max(got_to, furthest)
    run.lives += 1
    run.started_at = run.started_at or timezone.now()
    run.state = TrainingRun.State.RUNNING
    run.save(update_fields=["idle_lives", "lives", "progress", "started_at", "state"])
    return run.idle_lives >= MAX_IDLE_LIVES


def carry_out(run: TrainingRun, notebook: Notebook) -> None:
    """The whole way. Raises what `attempt` catches; the active release serves on whatever happens."""
    if run.teacher is not None:
        taken = snapshot_of(run, TrainingConfig(), notebook.say)
        wanted = Compression(**run.config)
        with logged(run.folder / TENSORBOARD, notebook.say, notebook.report) as report:
            run.release = compress(run.teacher, wanted, taken, run.folder, say=notebook.say, report=report)
        run.save(update_fields=["release"])
        finish(run, TrainingRun.State.DONE, f"made release {run.release_id}")
        return
    config = TrainingConfig.from_mapping(run.config)
    taken = snapshot_of(run, config, notebook.say)
    for line in taken.notes:
        notebook.say(line)
    if run.trials_wanted:
        found = carry_out_search(run, config, taken, notebook, run.folder / TENSORBOARD)
        finish(run, TrainingRun.State.DONE, found)
        return
    with logged(run.folder / TENSORBOARD, notebook.say, notebook.report) as report:
        trained = train(taken, config, run.folder, has_other_heads=True, say=notebook.say, report=report)
    with kept(trained.encoder, trained.metrics, trained.remarks) as release:
        calibrated(trained.encoder, release.folder, trained.plans, say=notebook.say)
        notebook.say("Measuring it beside the active release, the body as it came and simple rivals")
        assess(release, trained, taken, config, notebook.say)
        notebook.look()
    run.release = release
    run.save(update_fields=["release"])
    finish(run, TrainingRun.State.DONE, f"made release {release.fingerprint}")


def snapshot_of(run: TrainingRun, config: TrainingConfig, say: Say) -> Snapshot:
    """What the run learns from: taken in its first life, read in the others."""
    path = run.folder / SNAPSHOT
    if path.is_file():
        return Snapshot.read(path)
    taken = snapshot.take(sources(run.data), sources(run.validation), with_rows=run.has_rows)
    taken = with_pseudo_labels(taken, config, say)
    path.parent.mkdir(parents=True, exist_ok=True)
    taken.write(path)
    return taken


def sources(pairs: Sequence[Sequence[str]]) -> list[Source]:
    return [Source(name, Path(path)) for name, path in pairs]


def assess(release: Release, trained: Trained, taken: Snapshot, config: TrainingConfig, say: Say) -> None:
    """Note on the release how good it is, beside the active one, where there is one that can be loaded, and beside the
    body that it was tuned from with heads of its own."""
    active = selectors.active()
    sample = [task.validation[0][0] for task in taken.tasks if isinstance(task.validation[0][0], str)]
    others = {}
    if active is not None and active != release:
        try:
            others[ACTIVE] = runtime.encoder_for(active.fingerprint).quickest(sample)
            release.compared_with = active.fingerprint
        except CheckpointError as error:
            say(f"Not compared with the active release, which cannot be loaded: {error}")
    if config.epochs != 0:
        others["frozen"] = frozen(config, trained.plans).quickest(sample)
    note(release, evaluate(trained.encoder.quickest(sample), trained.plans, taken.tasks, others))


def frozen(config: TrainingConfig, plans: list[HeadPlan]) -> Encoder:
    """The body as it came, with heads fitted on the same examples."""
    encoder = Encoder.load(config.body or settings.ENCODER, threads=settings.ENCODER_THREADS)
    return encoder.with_heads(fit_heads(encoder, plans, log.info)[0])


def finish(run: TrainingRun, state: TrainingRun.State, message: str) -> None:
    """End the run, where it has not ended."""
    run.state, run.message, run.finished_at = state, message, timezone.now()
    outstanding = TrainingRun.objects.filter(pk=run.pk, state__in=selectors.OUTSTANDING_RUNS)

    def write() -> int:
        with transaction.atomic():
            changed = outstanding.update(state=state, message=message, finished_at=run.finished_at)
            broadcast([training_topic(run.pk)])
            return changed

    if patiently(write):
        clear(run.folder)


def clear(folder: Path) -> None:
    """Drop what a run that is finished leaves, but for what TensorBoard shows of it."""
    for path in folder.glob("*"):
        if path.is_dir() and path.name != TENSORBOARD:
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file():
            path.unlink(missing_ok=True)
    with suppress(OSError):  # the log is in there
        folder.rmdir()


class Notebook:
    """Keeps a run's row up to date, and looks there whether a person wants it to stop. Whatever is noted may raise
    `Stopped` or `LeaseLost`, or `UNAVAILABLE` where the database stays away."""

    def __init__(self, run: TrainingRun, say: Say, report: Report, lease: Keeper) -> None:
        self.run = run
        self.tell = say
        self.show = report
        self.lease = lease
        self.lines: list[str] = []
        self.noted_at = 0.0

    def say(self, line: str) -> None:
        self.tell(line)
        self.lines.append(line)
        self.note(notes="\n".join(self.lines))

    def report(self, progress: Progress) -> None:
        self.lease.look()
        self.show(progress)
        is_last = progress.batch == progress.batches
        if is_last or time.monotonic() - self.noted_at >= NOTE_SECONDS:
            self.noted_at = time.monotonic()
            self.note(progress=progress.as_dict() | {"furthest": self.run.progress["furthest"]})

    def note(self, **changes: Any) -> None:
        def write() -> None:
            with transaction.atomic():
                TrainingRun.objects.filter(pk=self.run.pk).update(**changes)
                broadcast([training_topic(self.run.pk)])

        self.lease.look()
        patiently(write)
        for name, value in changes.items():
            setattr(self.run, name, value)
        self.look()

    def look(self) -> None:
        """Whether a person wants the run to stop, or another process has it."""
        self.lease.look()
        if patiently(TrainingRun.objects.filter(pk=self.run.pk, is_stop_wanted=True).exists):
            raise Stopped
