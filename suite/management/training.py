"""What the commands that train share: files of records, the configuration, and lines of progress."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.encoder import checkpoint
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.training.config import ConfigError, TrainingConfig, read_config
from suite.encoder.training.loop import Progress
from suite.encoder.training.tasks import TrainingError
from suite.management.promoting import Teller
from suite.releases.snapshot import SnapshotError, Source

TELL_SECONDS = 5.0  # between two lines of progress
FILES: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME=FILE"}


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
        raise ValueError
    return Source(name, Path(path))


@contextmanager
def clear_errors() -> Iterator[None]:
    """What is wrong with data, configuration, model or disk ends a command with one line."""
    try:
        yield
    except (ConfigError, SnapshotError, TrainingError, CheckpointError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from error


@contextmanager
def working_folder(output: Path) -> Iterator[Path]:
    """The folder beside `output` that a killed run goes on from; it is gone once the work is done."""
    if output.exists() and not is_replaceable(output):
        raise CommandError(f"{output}: is there already and is no release; name an empty or a new folder")
    folder = output.absolute().with_name(f".{output.name}.training")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def is_replaceable(folder: Path) -> bool:
    return folder.is_dir() and (checkpoint.is_checkpoint(folder) or not any(folder.iterdir()))


class ProgressTeller:
    """A line of progress now and then, and one where a run goes on."""

    def __init__(self, teller: Teller) -> None:
        self.teller = teller
        self.told_at = float("-inf")

    def report(self, progress: Progress) -> None:
        if time.monotonic() - self.told_at < TELL_SECONDS:
            return
        self.told_at = time.monotonic()
        losses = ", ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        self.teller.say(
            f"Batch {progress.batch:,} of {progress.batches:,}, {progress.examples_a_second:,.0f} examples/s, "
            f"{progress.seconds_left / 60:.1f} minutes left; losses: {losses}"
        )
