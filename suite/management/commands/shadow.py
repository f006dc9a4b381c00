"""Let a release score live traffic beside the active one: `manage.py shadow ID`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.management.plain import PlainCommand
from suite.releases import selectors, services
from suite.releases.models import Shadow
from suite.releases.shadow_report import HeadReport, report


class Command(PlainCommand):
    help = (
        "Put a release in shadow: a worker scores a share of the active one's decisions with it and counts where they\n"
        "disagree. Without a release it tells what was counted last. It ends with --stop, or when another release\n"
        "comes to serve.\n\nExamples:\n  manage.py shadow 3f9c21d0 --share 0.2\n  manage.py shadow\n"
        "  manage.py shadow --stop"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("release", metavar="ID", nargs="?", help="a release's fingerprint, or its first characters")
        parser.add_argument("--share", type=float, default=0.1, help="of the decisions, up to 1 (default 0.1)")
        parser.add_argument("--stop", action="store_true", help="end what runs; what was counted stays")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["release"] and options["stop"]:
            raise CommandError("--stop ends whatever runs; give no release with it")
        try:
            shadow = self.wanted(options)
        except (selectors.NoSuchRelease, services.RequestRefused) as error:
            raise CommandError(str(error)) from error
        if shadow is None:
            raise CommandError("no release was in shadow yet; give one to put there")
        shadow.refresh_from_db()
        heads = report(shadow)
        if options["json"]:
            self.stdout.write(json.dumps(as_json(shadow, heads)))
            return
        state = "runs" if shadow.is_running else f"ended ({shadow.message})"
        self.stdout.write(f"{shadow} beside {shadow.active}, {shadow.percent} of the decisions: {state}")
        for head in heads:
            self.stdout.write(f"  {head.head}: {head.summary}")

    def wanted(self, options: dict[str, Any]) -> Shadow | None:
        if options["stop"]:
            return services.stop_shadow()
        if options["release"]:
            release = selectors.find(options["release"])
            return services.request_shadow(release, options["share"], "manage.py shadow")
        return Shadow.objects.select_related("release", "active").first()


def as_json(shadow: Shadow, heads: list[HeadReport]) -> dict[str, Any]:
    names = ("share", "is_running", "message")
    told = {name: getattr(shadow, name) for name in names}
    return (
        {"release": shadow.release_id, "active": shadow.active_id} | told | {"heads": [one.as_dict() for one in heads]}
    )
