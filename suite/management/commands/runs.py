"""Training runs, searches and compressions: `manage.py runs`, `manage.py runs --stop 7`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.management.plain import PlainCommand
from suite.releases import services
from suite.releases.models import TrainingRun


class Command(PlainCommand):
    help = (
        "List the newest training runs, searches and compressions, with how far each is and what came of it; or stop\n"
        "one that waits or is worked on.\n\nExamples:\n  manage.py runs\n  manage.py runs --stop 7"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--stop", type=int, metavar="NUMBER", help="end this run; it makes no release then")
        parser.add_argument("--limit", type=int, default=10, help="how many are listed (default 10)")
        parser.add_argument("--json", action="store_true", help="print one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        found = TrainingRun.objects.all()[: max(options["limit"], 0)]
        if options["stop"] is not None:
            found = TrainingRun.objects.filter(pk=options["stop"])
            self.stop(found.first(), options["stop"])
        elif not found:
            self.stderr.write("there is no run yet; `manage.py train` makes one", style_func=str)
        for run in found.all():
            self.stdout.write(json.dumps(as_json(run)) if options["json"] else line(run))

    def stop(self, run: TrainingRun | None, number: int) -> None:
        if run is None:
            raise CommandError(f"there is no run {number}; `manage.py runs` lists them")
        try:
            services.stop_training(run)
        except services.RequestRefused as error:
            raise CommandError(str(error)) from error


def line(run: TrainingRun) -> str:
    parts = [f"{run}: {run.state_in_words}", run.done, f"asked for {run.requested_at:%Y-%m-%d %H:%M} UTC", run.message]
    return ", ".join(part for part in parts if part)


def as_json(run: TrainingRun) -> dict[str, Any]:
    told = {"run": run.pk, "kind": run.kind, "state": run.state_in_words, "release": run.release_id}
    told |= {name: run.progress.get(name) for name in ("batch", "batches", "seconds_left")}
    return told | {"message": run.message, "requested_at": run.requested_at.isoformat()}
