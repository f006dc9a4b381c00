"""What the commands that train share: files of records, the configuration, and lines of progress."""

from __future__ import annotations

import fcntl
import shutil
import time
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.encoder import checkpoint
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.training.config import ConfigError, TrainingConfig, read_config
from suite.encoder.training.progress import Progress
from suite.encoder.training.tasks import TrainingError
from suite.events.database import UNAVAILABLE
from suite.management.promoting import Teller
from suite.releases import runs, selectors, services
from suite.releases.models import TrainingRun
from suite.releases.snapshot import SnapshotError, Source

POLL_SECONDS = 1.0
LOCK = "lock"  # in a working folder: held by who works in it
TELL_SECONDS = 5.0  # between two lines of progress
FILES: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME=FILE"}


def add_data(parser: CommandParser) -> None:
    parser.add_argument("--data", type=source, help="records to learn from", **FILES)
    parser.add_argument(
        "--validation", type=source, help="records to validate on, instead of a part of --data", **FILES
    )
    parser.add_argument("--rows", action="store_true", help="learn from the applications' own rows beside --data")


def add_config(parser: CommandParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="JSON or TOML; docs/training.md has the fields")
    parser.add_argument("--body", default="", help="what is tuned: a checkpoint folder or a name, before SUITE_ENCODER")


def config_of(options: dict[str, Any], default: TrainingConfig) -> TrainingConfig:
    """Raises `ConfigError`."""
    config = read_config(options["config"], default) if options["config"] else default
    body = options["body"] or config.body
    return replace(config, body=str(Path(body).absolute()) if Path(body).is_dir() and body else body)


def source(text: str) -> Source:
    name, separator, path = text.partition("=")
    if not separator or not name or not path:
        raise ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return Source(name, Path(path))


def carried_out(
    options: dict[str, Any], config: TrainingConfig, teller: Teller, *, by: str, trials: int = 0
) -> TrainingRun:
    """A run of rows, seen through. Raises `CommandError` where it is not done."""
    data, validation = (named(options[name]) for name in ("data", "validation"))
    has_rows = options["rows"] or not data
    run = services.request_training(
        data, validation, has_rows=has_rows, config=config.changes(), trials=trials, by=by, is_rung=False
    )
    return seen_through(run, teller)


def named(sources: Iterable[Source]) -> list[tuple[str, str]]:
    """Format and path of files, as a run's row has them."""
    return [(one.name, str(one.path.absolute())) for one in sources]


def seen_through(run: TrainingRun, teller: Teller) -> TrainingRun:
    """The run, worked on here, or watched where a worker does. Raises `CommandError` where it is not done."""
    progress = ProgressTeller(teller)
    try:
        while run.state in selectors.OUTSTANDING_RUNS:
            first = selectors.outstanding_runs().first() or run
            if first != run:
                teller.say_once(f"{first} goes before {run}; `manage.py runs --stop NUMBER` ends one, or its page does")
            if not runs.carry_out_requested(teller.say, progress.report):
                teller.say_once(f"Another process works on {first}")
                time.sleep(POLL_SECONDS)
            run.refresh_from_db()
            if run.state == TrainingRun.State.RUNNING and "batches" in run.progress:
                progress.report(Progress(**{name: run.progress[name] for name in Progress.__slots__}))
    except KeyboardInterrupt as error:
        raise CommandError(f"interrupted; {run} goes on from its last checkpoint when any worker runs, and "
                           f"`manage.py runs --stop {run.pk}` ends it", returncode=130) from error  # fmt: skip
    except UNAVAILABLE as error:
        raise CommandError(
            f"the database does not answer ({type(error).__name__}); {run} goes on from its last checkpoint when any "
            "worker runs"
        ) from error
    if run.state != TrainingRun.State.DONE:
        raise CommandError(f"{run.message}")
    return run


@contextmanager
def clear_errors() -> Iterator[None]:
    """What is wrong with data, configuration, model or disk ends a command with one line."""
    try:
        yield
    except (ConfigError, SnapshotError, TrainingError, CheckpointError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error


@contextmanager
def working_folder(output: Path) -> Iterator[Path]:
    """The folder beside `output` that a killed run goes on from; it is gone once the work is done."""
    if output.exists() and not is_replaceable(output):
        raise CommandError(f"{output}: is there already and is no release; name an empty or a new folder")
    if output.is_mount() or output.resolve() == Path.cwd():  # neither can be put in another one's place
        raise CommandError(f"{output}: is the current folder or a mounted disk; name a folder in it")
    folder = output.absolute().with_name(f".{output.name}.training")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"{output}: another process trains for this folder; name another one") from None
        try:
            yield folder
        except BaseException as error:
            if all(path.name == LOCK for path in folder.iterdir()):  # there is nothing to go on from
                shutil.rmtree(folder, ignore_errors=True)
            elif isinstance(error, KeyboardInterrupt):
                raise CommandError(
                    "interrupted; the same command goes on from the last checkpoint", returncode=130
                ) from error
            raise
        shutil.rmtree(folder, ignore_errors=True)


def is_replaceable(folder: Path) -> bool:
    return folder.is_dir() and (checkpoint.is_checkpoint(folder) or not any(folder.iterdir()))


class ProgressTeller:
    """A line of progress now and then, one where a run goes on, and one for every look at the validation examples."""

    def __init__(self, teller: Teller) -> None:
        self.teller = teller
        self.told_at = float("-inf")
        self.told = 0  # evaluations

    def report(self, progress: Progress) -> None:
        for one in progress.evaluations[self.told :]:
            metrics = ", ".join(f"{name} {value:.3f}" for name, value in one["metrics"].items())
            self.teller.say(f"Validation after {one['batch']:,} batches: mean {one['mean']:.3f}; {metrics}")
            if one["worse"]:
                self.teller.say(f"Worse than before training: {', '.join(one['worse'])}")
        self.told = len(progress.evaluations)
        if time.monotonic() - self.told_at < TELL_SECONDS:
            return
        self.told_at = time.monotonic()
        losses = ", ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        self.teller.say(
            f"Batch {progress.batch:,} of {progress.batches:,}, {progress.examples_a_second:,.0f} examples/s, "
            f"{progress.seconds_left / 60:.1f} minutes left; losses: {losses}"
        )
