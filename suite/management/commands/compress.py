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
from suite.releases.compression import Compression, compress
from suite.releases.runtime import NoRelease
from suite.releases.snapshot import SnapshotError


class Command(BaseCommand):
    help = (
        "Make a candidate with fewer layers than a release has, taught to give its vectors, or with weights in int8,\n"
        "or both; with heads and an evaluation of its own. `manage.py promote` can let it serve.\n\n"
        "Example:\n  manage.py compress --layers 3 --minutes 10 --data finance.sentiment=headlines.jsonl"
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--layers", type=int, default=0, help="how many layers it is to have; all where left out")
        parser.add_argument("--int8", action="store_true", help="keep its weights in int8, a quarter of the space")
        parser.add_argument("--minutes", type=float, default=10.0, help="that it is taught for, at most")
        parser.add_argument("--release", default="", help="the teacher; the active one where it is left out")
        parser.add_argument(
            "--data", type=source, action="append", default=[], metavar="NAME=FILE", help="records to learn from"
        )
        parser.add_argument("--rows", action="store_true", help="learn from the applications' own rows beside --data")
        parser.add_argument("--json", action="store_true", help="print the release as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        teller = Teller(self, options["verbosity"] > 0)
        try:
            wanted = Compression(options["layers"], options["minutes"], options["int8"])
            teacher = selectors.find(options["release"]) if options["release"] else selectors.active()
            if teacher is None:
                raise NoRelease("no release is active yet; `manage.py release` makes the first one")
            taken = snapshot.take(options["data"], with_rows=options["rows"])
            release = compress(teacher, wanted, taken, say=teller.say)
        except (selectors.NoSuchRelease, NoRelease, SnapshotError, TrainingError, CheckpointError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            names = ("fingerprint", "body", "metrics", "comparison", "message")
            self.stdout.write(json.dumps({name: getattr(release, name) for name in names}))
        else:
            self.stdout.write(f"Release {release.fingerprint} is made; `manage.py promote {release}` lets it serve")
