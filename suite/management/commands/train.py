"""Train a release: `manage.py train --data NAME=FILE`."""

from __future__ import annotations

import json
from argparse import SUPPRESS
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from suite.encoder.training.config import TrainingConfig
from suite.management.plain import PlainCommand
from suite.management.promoting import Teller
from suite.management.training import (
    ProgressTeller,
    add_config,
    add_data,
    carried_out,
    clear_errors,
    config_of,
    working_folder,
)
from suite.releases import processes, runs, snapshot
from suite.releases.pseudo_labels import with_pseudo_labels
from suite.releases.training import train


class Command(PlainCommand):
    help = (
        "Train on records of plain formats, or on the applications' own rows where no --data is given: tune the body,\n"
        "fit, calibrate and measure the heads. With --output the release is left in that folder and nothing else\n"
        "changes; without, it becomes a candidate that `manage.py promote` can let serve. A run that was killed goes\n"
        "on from its last checkpoint: with --output when it is given again, without when any worker runs.\n"
        "Exit status 1 where nothing can be learned from the data.\n\n"
        "Example:\n  manage.py train --data finance.sentiment=headlines.jsonl --output trained\n"
        "  manage.py evaluate finance.sentiment --data held_out.jsonl --release trained"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_data(parser)
        add_config(parser)
        parser.add_argument("--output", type=Path, metavar="DIR", help="leave the release in this folder only")
        parser.add_argument("--json", action="store_true", help="print the release as one JSON object")
        parser.add_argument("--requested", action="store_true", help=SUPPRESS)  # what workers start, for runs of rows

    def handle(self, *args: Any, **options: Any) -> None:
        teller = Teller(self, options["verbosity"] > 0)
        if options["requested"]:
            processes.end_with_parent()
            runs.carry_out_requested()
            return
        with clear_errors():
            config = config_of(options, TrainingConfig())
            answer = (
                self.to_folder(options, config, teller) if options["output"] else self.as_run(options, config, teller)
            )
        if options["json"]:
            self.stdout.write(json.dumps(answer))
            return
        name, folder = answer["release"], answer["folder"]
        advice = f"--release {folder} takes it" if options["output"] else f"`manage.py promote {name}` lets it serve"
        self.stdout.write(f"Release {name} is trained; {advice}")

    def to_folder(self, options: dict[str, Any], config: TrainingConfig, teller: Teller) -> dict[str, Any]:
        output: Path = options["output"]
        with working_folder(output) as folder:
            taken = snapshot.take(options["data"], options["validation"], with_rows=options["rows"])
            taken = with_pseudo_labels(taken, config, teller.say)
            for note in taken.notes:
                teller.say(note)
            trained = train(
                taken, config, folder, has_other_heads=False, say=teller.say, report=ProgressTeller(teller).report
            )
            trained.encoder.save(output, trained.metrics)
        return {"release": trained.encoder.fingerprint, "folder": str(output), "metrics": trained.metrics}

    def as_run(self, options: dict[str, Any], config: TrainingConfig, teller: Teller) -> dict[str, Any]:
        """A run of rows, worked on here, or watched where a worker does."""
        run = carried_out(options, config, teller, by="manage.py train")
        if run.release is None:
            raise CommandError(f"{run.message}")
        folder = settings.RELEASES_DIR / run.release.path
        made = {"release": run.release_id, "folder": str(folder), "metrics": run.release.metrics}
        return made | {"run": run.pk, "comparison": run.release.comparison}
