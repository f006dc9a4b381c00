"""Make a smaller release: `manage.py compress --layers 3`."""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from suite.encoder.checkpoint import CheckpointError
from suite.encoder.training.tasks import TrainingError
from suite.management.promoting import Teller
from suite.management.training import source
from suite.releases import selectors, snapshot
from suite.releases.compression import compress
from suite.releases.runtime import NoRelease
from suite.releases.snapshot import SnapshotError


class Command(BaseCommand):
    help = (
        "Make a candidate with fewer layers than a release has, taught to give its vectors, with heads and an\n"
        "evaluation of its own. `manage.py promote` can let it serve.\n\n"
        "Example:\n  manage.py compress --layers 3 --minutes 10 --data finance.sentiment=headlines.jsonl"
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--layers", type=int, required=True, help="how many layers it is to have")
        parser.add_argument("--minutes", type=float, default=10.0, help="that it is taught for, at most")
        parser.add_argument("--release", default="", help="the teacher; the active one where it is left out")
        parser.add_argument(
            "--data", type=source, action="append", default=[], metavar="NAME=FILE", help="records to learn from"
        )
        parser.add_argument("--rows", action="store_true", help="learn from the applications' own rows beside --data")
        parser.add_argument("--json", action="store_true", help="print the release as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        teller = Teller(self, options["verbosity"] > 0)
        if not options["minutes"] > 0:
            raise CommandError(f"--minutes must be more than 0, not {options['minutes']:g}")
        try:
            teacher = selectors.find(options["release"]) if options["release"] else selectors.active()
            if teacher is None:
                raise NoRelease("no release is active yet; `manage.py release` makes the first one")
            taken = snapshot.take(options["data"], with_rows=options["rows"])
            release = compress(teacher, options["layers"], taken, minutes=options["minutes"], say=teller.say)
        except (selectors.NoSuchRelease, NoRelease, SnapshotError, TrainingError, CheckpointError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            names = ("fingerprint", "body", "metrics", "comparison", "message")
            self.stdout.write(json.dumps({name: getattr(release, name) for name in names}))
        else:
            self.stdout.write(f"Release {release.fingerprint} is made; `manage.py promote {release}` lets it serve")
