"""Let another release serve: `manage.py promote ID`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.management.plain import PlainCommand
from suite.management.promoting import carry_out
from suite.releases import selectors, services


class Command(PlainCommand):
    help = (
        "Let a release serve. Its index generations are built and gated first; until then, and where the gate refuses\n"
        "them, the active release serves on. A worker does the work; with --wait this command does, where none is.\n\n"
        "Example:\n  manage.py promote 3f9c21d0 --wait"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("release", metavar="ID", help="a release's fingerprint, or its first characters")
        parser.add_argument("--wait", action="store_true", help="end when it serves or is refused (exit status 1)")
        parser.add_argument("--override", default="", metavar="REASON", help="promote it though it is worse")
        parser.add_argument("--json", action="store_true", help="print the outcome as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            release = selectors.find(options["release"])
            doubts = selectors.doubts(release)
            promotion = services.request_promotion(release, "manage.py promote", options["override"])
        except (selectors.NoSuchRelease, services.RequestRefused) as error:
            raise CommandError(str(error)) from error
        for doubt in doubts:
            self.stderr.write(doubt, style_func=str)
        carry_out(self, promotion, does_wait=options["wait"], is_json=options["json"])
