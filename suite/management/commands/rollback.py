"""Let the release that served before serve again: `manage.py rollback`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.management.plain import PlainCommand
from suite.management.promoting import carry_out
from suite.releases import services


class Command(PlainCommand):
    help = (
        "Let the release that served before serve again. Its index generations are still there: they are brought to\n"
        "the end of what changed, gated, and switched back.\n\nExample:\n  manage.py rollback --wait"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--wait", action="store_true", help="end when it serves or is refused (exit status 1)")
        parser.add_argument("--json", action="store_true", help="print the outcome as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            promotion = services.request_rollback("manage.py rollback")
        except services.RequestRefused as error:
            raise CommandError(str(error)) from error
        carry_out(self, promotion, does_wait=options["wait"], is_json=options["json"])
