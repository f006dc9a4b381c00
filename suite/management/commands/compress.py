"""Make a smaller release: `manage.py compress --layers 4 --feed-forward 768`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.management.plain import PlainCommand
from suite.management.promoting import Teller
from suite.management.training import named, seen_through, source
from suite.releases import selectors, services


class Command(PlainCommand):
    help = (
        "Make a candidate with fewer or narrower layers than a release has, taught to give its vectors, or with\n"
        "weights in int8, or both; with heads and an evaluation of its own. `manage.py promote` can let it serve. A\n"
        "run that was killed goes on from its last checkpoint when any worker runs.\n\n"
        "Example:\n  manage.py compress --layers 4 --feed-forward 768 --data finance.sentiment=headlines.jsonl"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--layers", type=int, default=0, help="how many layers it is to have; all where left out")
        parser.add_argument(
            "--feed-forward", type=int, default=0,
            help="how wide that part of all layers but the last is to be; as it is, left out",
        )  # fmt: skip
        parser.add_argument("--int8", action="store_true", help="keep its weights in int8, a quarter of the space")
        parser.add_argument(
            "--minutes", type=float, default=services.TEACHING_MINUTES,
            help="that it is taught for, at most; %(default)g where left out",
        )  # fmt: skip
        parser.add_argument("--release", default="", help="the teacher; the active one where it is left out")
        parser.add_argument(
            "--data", type=source, action="append", default=[], metavar="NAME=FILE", help="records to learn from"
        )
        parser.add_argument("--rows", action="store_true", help="learn from the applications' own rows beside --data")
        parser.add_argument("--json", action="store_true", help="print the release as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        data = named(options["data"])
        try:
            teacher = selectors.find(options["release"]) if options["release"] else selectors.active()
            if teacher is None:
                raise CommandError("no release is active yet; `manage.py release` makes the first one")
            run = services.request_compression(
                teacher, layers=options["layers"], feed_forward=options["feed_forward"], is_int8=options["int8"],
                minutes=options["minutes"], data=data, has_rows=options["rows"] or not data, by="manage.py compress",
                is_rung=False,
            )  # fmt: skip
        except (selectors.NoSuchRelease, services.RequestRefused) as error:
            raise CommandError(str(error)) from error
        release = seen_through(run, Teller(self, options["verbosity"] > 0)).release
        if release is None:
            raise CommandError(f"{run.message}")
        if options["json"]:
            names = ("fingerprint", "body", "metrics", "comparison", "message")
            self.stdout.write(json.dumps({name: getattr(release, name) for name in names}))
        else:
            self.stdout.write(f"Release {release.fingerprint} is made; `manage.py promote {release}` lets it serve")
