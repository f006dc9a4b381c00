"""Events through the whole way, in a state folder of its own that is gone afterwards; each step is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from suite.domain import DOMAINS_FOLDER, domains
from suite.events.loading import loaders
from suite.management.plain import PlainCommand

SERVICES = ("SUITE_DATABASE_URL", "SUITE_BROKER_URL", "SUITE_REDIS_URL", "SUITE_ELASTICSEARCH_URL")


class Command(PlainCommand):
    help = (
        "Send every domain's sample through the whole way (stored, handled, encoded, indexed) and print what became of "
        "it. Needs no running Suite and touches none.\n\nExample:\n  manage.py demo --json"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        loaded = {}
        with tempfile.TemporaryDirectory() as state:
            self.say(options, "Making the release of the encoder")
            run(state, "migrate", "--verbosity", "0")
            run(state, "release")
            for domain in domains().values():
                sample = domain.declared("loaders", "LOADERS").get("sample")
                if sample is not None:
                    name = next(name for name, loader in loaders().items() if loader is sample)
                    self.say(options, f"Sending the sample events of {domain.title}")
                    folder = str(DOMAINS_FOLDER / domain.label / "sample")
                    loaded[domain.label] = json.loads(run(state, "load", name, folder, "--json"))
            findings = json.loads(run(state, "doctor", "--json"))
        outcome = {"loaded": loaded, "findings": findings}
        if options["json"]:
            self.stdout.write(json.dumps(outcome))
            return
        for label, counts in loaded.items():
            rate = counts["accepted"] / max(counts["seconds"], 1e-9)
            self.stdout.write(f"{label}: {counts['accepted']:,} events accepted, handled, indexed ({rate:,.0f}/s)")
        for finding in findings:
            self.stdout.write(f"{finding['state']:4}  {finding['name']}: {finding['message']}")
        self.stdout.write("To see it live: make run")

    def say(self, options: dict[str, Any], text: str) -> None:
        if not options["json"]:
            self.stdout.write(text)
            self.stdout.flush()


def run(state: str, *arguments: str) -> str:
    """Standard output of a command on the state folder, embedded. Raises `CommandError` with its last line."""
    environment = {name: value for name, value in os.environ.items() if name not in SERVICES} | {"SUITE_STATE": state}
    command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise CommandError(f"{arguments[0]} failed: {lines[-1] if lines else f'status {done.returncode}'}")
    return done.stdout
