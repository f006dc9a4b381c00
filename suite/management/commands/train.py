"""Train a release: `manage.py train --data NAME=FILE`."""

from __future__ import annotations

import json
import shutil
import time
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from suite.encoder import checkpoint
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.training.config import ConfigError, TrainingConfig, read_config
from suite.encoder.training.loop import Progress
from suite.encoder.training.tasks import TrainingError
from suite.management.promoting import Teller
from suite.releases import processes, runs, selectors, services, snapshot
from suite.releases.models import TrainingRun
from suite.releases.snapshot import SnapshotError, Source
from suite.releases.training import train

TELL_SECONDS = 5.0  # between two lines of progress
POLL_SECONDS = 1.0


class Command(BaseCommand):
    help = (
        "Train on records of plain formats, or on the applications' own rows where no --data is given: tune the body,\n"
        "fit, calibrate and measure the heads. With --output the release is left in that folder and nothing else\n"
        "changes; without, it becomes a candidate that `manage.py promote` can let serve. A run that was killed goes\n"
        "on from its last checkpoint: with --output when it is given again, without when any worker runs.\n"
        "Exit status 1 where nothing can be learned from the data.\n\n"
        "Example:\n  manage.py train --data finance.sentiment=headlines.jsonl --output trained\n"
        "  manage.py evaluate finance.sentiment --data held_out.jsonl --release trained"
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        files: dict[str, Any] = {"type": source, "action": "append", "default": [], "metavar": "NAME=FILE"}
        parser.add_argument("--data", help="records to learn from", **files)
        parser.add_argument("--validation", help="records to validate on, instead of a part of --data", **files)
        parser.add_argument("--rows", action="store_true", help="learn from the applications' own rows beside --data")
        parser.add_argument("--config", type=Path, metavar="FILE", help="JSON or TOML; docs/training.md has the fields")
        parser.add_argument("--output", type=Path, metavar="DIR", help="leave the release in this folder only")
        parser.add_argument("--json", action="store_true", help="print the release as one JSON object")
        parser.add_argument("--requested", action="store_true", help=SUPPRESS)  # what workers start, for runs of rows

    def handle(self, *args: Any, **options: Any) -> None:
        teller = Teller(self, options["verbosity"] > 0)
        if options["requested"]:
            processes.end_with_parent()
            runs.carry_out_requested()
            return
        try:
            config = read_config(options["config"]) if options["config"] else TrainingConfig()
            answer = (
                self.to_folder(options, config, teller) if options["output"] else self.as_run(options, config, teller)
            )
        except (ConfigError, SnapshotError, TrainingError, CheckpointError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from error
        if options["json"]:
            self.stdout.write(json.dumps(answer))
            return
        name, folder = answer["release"], answer["folder"]
        advice = f"--release {folder} takes it" if options["output"] else f"`manage.py promote {name}` lets it serve"
        self.stdout.write(f"Release {name} is trained; {advice}")

    def to_folder(self, options: dict[str, Any], config: TrainingConfig, teller: Teller) -> dict[str, Any]:
        output: Path = options["output"]
        if output.exists() and not is_replaceable(output):
            raise CommandError(f"{output}: is there already and is no release; name an empty or a new folder")
        taken = snapshot.take(options["data"], options["validation"], with_rows=options["rows"])
        for note in taken.notes:
            teller.say(note)
        folder = output.absolute().with_name(f".{output.name}.training")  # kept until the run is finished
        trained = train(
            taken, config, folder, has_other_heads=False, say=teller.say, report=ProgressTeller(teller).report
        )
        trained.encoder.save(output, trained.metrics)
        shutil.rmtree(folder, ignore_errors=True)
        return {"release": trained.encoder.fingerprint, "folder": str(output), "metrics": trained.metrics}

    def as_run(self, options: dict[str, Any], config: TrainingConfig, teller: Teller) -> dict[str, Any]:
        """A run of rows, worked on here, or watched where a worker does."""
        data, validation = (
            [(one.name, str(one.path.absolute())) for one in options[name]] for name in ("data", "validation")
        )
        has_rows = options["rows"] or not data
        by = "manage.py train"
        run = services.request_training(
            data, validation, has_rows=has_rows, config=changed(config), by=by, is_rung=False
        )
        progress = ProgressTeller(teller)
        while run.state in selectors.OUTSTANDING_RUNS:
            if not runs.carry_out_requested(teller.say, progress.report):
                time.sleep(POLL_SECONDS)
            run.refresh_from_db()
        if run.state != TrainingRun.State.DONE or run.release is None:
            raise CommandError(f"{run.message}")
        folder = settings.RELEASES_DIR / run.release.path
        made = {"release": run.release_id, "folder": str(folder), "metrics": run.release.metrics}
        return made | {"run": run.pk, "comparison": run.release.comparison}


class ProgressTeller:
    """A line of progress now and then."""

    def __init__(self, teller: Teller) -> None:
        self.teller = teller
        self.told_at = time.monotonic()

    def report(self, progress: Progress) -> None:
        if time.monotonic() - self.told_at < TELL_SECONDS:
            return
        self.told_at = time.monotonic()
        losses = ", ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        self.teller.say(
            f"Batch {progress.batch:,} of {progress.batches:,}, {progress.examples_a_second:,.0f} examples/s, "
            f"{progress.seconds_left / 60:.1f} minutes left; losses: {losses}"
        )


def changed(config: TrainingConfig) -> dict[str, Any]:
    """The fields that are not the default."""
    default = asdict(TrainingConfig())
    return {name: value for name, value in config.as_dict().items() if value != default[name]}


def source(text: str) -> Source:
    name, separator, path = text.partition("=")
    if not separator or not name or not path:
        raise ValueError
    return Source(name, Path(path))


def is_replaceable(folder: Path) -> bool:
    return folder.is_dir() and (checkpoint.is_checkpoint(folder) or not any(folder.iterdir()))
