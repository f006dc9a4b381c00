"""Make the first release of the encoder, which serves where none does yet: `manage.py release`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.encoder.checkpoint import CheckpointError
from suite.management.plain import PlainCommand
from suite.management.promoting import Teller
from suite.releases import engine_choice, promotion, selectors, services
from suite.releases.building import build_first_release, measure_engines
from suite.releases.models import Promotion, Release


class Command(PlainCommand):
    help = (
        "Make a release of the body that SUITE_ENCODER names, as it is, with the heads that the domains declare.\n"
        "Where it was made before, nothing is made again. It is promoted where no release serves yet; where another\n"
        "one does, that serves on, and this one waits for `manage.py promote`.\n"
        "The engine that computes its vectors is chosen on this machine. With --engines all that are installed are\n"
        "timed anew for the release that serves, which serves on; none is made then. With --remove a candidate or a\n"
        "release of before goes, with its folder and its index, unless it is what a rollback goes back to.\n\n"
        "Examples:\n  manage.py release --json\n  manage.py release --remove 3f9c21d0"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-promote", action="store_true", help="make it only, though none serves yet")
        parser.add_argument("--engines", action="store_true", help="time every engine here for the release that serves")
        parser.add_argument("--remove", default="", metavar="ID", help="remove a release that nobody needs any more")
        parser.add_argument("--json", action="store_true", help="print the release as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["remove"]:
            self.remove(options["remove"])
            return
        teller = Teller(self, options["verbosity"] > 0)
        try:
            serving = selectors.active() if options["engines"] else None
            release = serving or build_first_release(teller.say)
            if options["engines"]:
                measure_engines(release, teller.say)
        except CheckpointError as error:
            raise CommandError(str(error)) from error
        active = selectors.active()  # now: building took a while
        if active is None and not options["no_promote"]:
            try:
                asked = services.request_promotion(release, "manage.py release")
            except services.RequestRefused as error:
                raise CommandError(str(error)) from error
            done = promotion.see_through(asked, teller.progress)
            if done.state == Promotion.State.REFUSED:
                raise CommandError(f"Release {release.fingerprint} was not promoted: {done.message}")
        release.refresh_from_db()
        if options["json"]:
            self.stdout.write(json.dumps(as_json(release)))
        else:
            teller.say(f"Release {release.fingerprint} is {release.state}")
            if active and active != release:
                how = f"manage.py promote {release.fingerprint}"
                teller.say(f"{active.fingerprint} serves on; to promote this one: {how}")

    def remove(self, name: str) -> None:
        try:
            release = selectors.find(name)
            left = services.remove(release)
        except (selectors.NoSuchRelease, services.RequestRefused) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Release {name} is removed")
        if left:
            self.stderr.write(f"{left} could not be removed; may this process write there?")


def as_json(release: Release) -> dict[str, Any]:
    names = ("fingerprint", "state", "body", "dimensions", "metrics", "message")
    choices = {machine: choice.as_dict() for machine, choice in engine_choice.read(release.folder).items()}
    return {name: getattr(release, name) for name in names} | {"folder": str(release.folder), "engines": choices}
