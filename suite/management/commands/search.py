"""Search for better settings of training: `manage.py search --trials 12`."""

from __future__ import annotations

import json
import os
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.search import described, space_of
from suite.management.plain import PlainCommand
from suite.management.promoting import Teller
from suite.management.training import add_config, add_data, carried_out, clear_errors, config_of

MOST = 500  # trials


def trials(text: str) -> int:
    if not 1 <= int(text) <= MOST:
        raise ArgumentTypeError(f"must be from 1 to {MOST}")
    return int(text)


class Command(PlainCommand):
    help = (
        "Train again and again with other settings, each time as `manage.py train` would but without a release, and\n"
        "say which were the best on validation examples. Trials that are worse than the others are stopped early. The\n"
        "first one has the settings of --config. A search that was killed goes on from the last checkpoint of its\n"
        "trial when any worker runs. Needs the extra `search`.\n\n"
        f'Searched are, unless --config has other ranges ({{"search": {{FIELD: [LOW, HIGH]}}}}):\n{described()}\n\n'
        "Example:\n  manage.py search --trials 12 --data finance.sentiment=headlines.jsonl --output best.json\n"
        "  manage.py train --data finance.sentiment=headlines.jsonl --config best.json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--trials", type=trials, default=12, help=f"how many, from 1 to {MOST}; 12 if left out")
        add_data(parser)
        add_config(parser)
        parser.add_argument("--output", type=Path, metavar="FILE", help="write the best settings here, as JSON")
        parser.add_argument("--json", action="store_true", help="print the search as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        output: Path | None = options["output"]
        if output and output.suffix != ".json":
            raise CommandError(f"{output}: the name must end in .json")
        if output and not os.access(output.absolute().parent, os.W_OK):
            raise CommandError(f"{output}: the folder is not there, or cannot be written into")
        with clear_errors():
            config = config_of(options, TrainingConfig())
            space_of(config)  # what is wrong with it is said before the data is read
            teller = Teller(self, options["verbosity"] > 0)
            run = carried_out(options, config, teller, by="manage.py search", trials=options["trials"])
            best = json.dumps(run.best_config)
            if output:
                output.write_text(best, encoding="utf-8")
        if options["json"]:
            self.stdout.write(json.dumps({"run": run.pk, "best": run.best_config, "trials": run.trials}))
            return
        self.stdout.write(f"{run}: {run.message}")
        self.stdout.write(f"`manage.py train --config {output}` takes it" if output else best)
