"""Show what was found under `domains/`: `manage.py domains`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from suite.domain import DomainError, domains

PARTS = {
    "event types": ("events", "EVENT_TYPES"),
    "handlers": ("handlers", "HANDLERS"),
    "collections": ("documents", "COLLECTIONS"),
    "heads": ("heads", "HEADS"),
    "jobs": ("jobs", "JOBS"),
    "loaders": ("loaders", "LOADERS"),
    "live streams": ("loaders", "LIVE"),
    "evaluations": ("evaluations", "EVALUATIONS"),
    "benchmarks": ("benchmarks", "BENCHMARKS"),
}


class Command(BaseCommand):
    help = "Show the domains that were found, and what each declares. Example: manage.py domains --json"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = {
                label: {name: sorted(domain.declared(*part)) for name, part in PARTS.items()}
                | {"title": domain.title, "api": bool(domain.part("api")), "pages": bool(domain.part("urls"))}
                for label, domain in domains().items()
            }
        except DomainError as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(found))
            return
        for label, parts in found.items():
            self.stdout.write(f"{label}: {parts['title']}")
            for name in PARTS:
                if parts[name]:
                    self.stdout.write(f"  {name:13}{', '.join(parts[name])}")  # type: ignore[arg-type]
            addresses = [f"/api/{label}/"] * bool(parts["api"]) + [f"/{label}/"] * bool(parts["pages"])
            self.stdout.write(f"  {'addresses':13}{', '.join(addresses) or 'none'}")
