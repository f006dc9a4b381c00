"""Train a release: `manage.py train --data NAME=FILE`."""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from suite.encoder import checkpoint
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.training.config import ConfigError, TrainingConfig, read_config
from suite.management.promoting import Teller
from suite.releases import snapshot
from suite.releases.building import keep
from suite.releases.snapshot import SnapshotError, Source
from suite.releases.training import Trained, train


class Command(BaseCommand):
    help = (
        "Train on records of plain formats, or on the applications' own rows where no --data is given.\n"
        "With --output the release is left in that folder and nothing else changes; without, it becomes a candidate\n"
        "that `manage.py promote` can let serve. Exit status 1 where nothing can be learned from the data.\n\n"
        "Example:\n  manage.py train --data finance.sentiment=headlines.jsonl --output trained\n"
        "  manage.py evaluate finance.sentiment --data held_out.jsonl --release trained"
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        pairs = {"type": source, "action": "append", "default": [], "metavar": "NAME=FILE"}
        parser.add_argument("--data", help="records to learn from", **pairs)
        parser.add_argument("--validation", help="records to validate on, instead of a part of --data", **pairs)
        parser.add_argument("--rows", action="store_true", help="learn from the applications' own rows beside --data")
        parser.add_argument("--config", type=Path, metavar="FILE", help="JSON or TOML; docs/training.md has the fields")
        parser.add_argument("--output", type=Path, metavar="DIR", help="leave the release in this folder only")
        parser.add_argument("--json", action="store_true", help="print the release as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        teller = Teller(self, options["verbosity"] > 0)
        output: Path | None = options["output"]
        if output is not None and output.exists() and not is_replaceable(output):
            raise CommandError(f"{output}: is there already and is no release; name an empty or a new folder")
        try:
            config = read_config(options["config"]) if options["config"] else TrainingConfig()
            taken = snapshot.take(options["data"], options["validation"], with_rows=options["rows"])
            for note in taken.notes:
                teller.say(note)
            trained = train(taken, config, teller.say, has_other_heads=output is None)
            if output is not None:
                trained.encoder.save(output, trained.metrics)
            else:
                keep(trained.encoder, trained.metrics, trained.problems)
        except (ConfigError, SnapshotError, CheckpointError) as error:
            raise CommandError(str(error)) from error
        self.answer(trained, output, is_json=options["json"])

    def answer(self, trained: Trained, output: Path | None, *, is_json: bool) -> None:
        fingerprint = trained.encoder.fingerprint
        folder = output or settings.RELEASES_DIR / fingerprint
        if is_json:
            made = {"release": fingerprint, "folder": str(folder), "metrics": trained.metrics}
            self.stdout.write(json.dumps(made))
        else:
            advice = f"--release {folder} takes it" if output else f"`manage.py promote {fingerprint}` lets it serve"
            self.stdout.write(f"Release {fingerprint} is trained; {advice}")


def source(text: str) -> Source:
    name, separator, path = text.partition("=")
    if not separator or not name or not path:
        raise ValueError
    return Source(name, Path(path))


def is_replaceable(folder: Path) -> bool:
    return folder.is_dir() and (checkpoint.is_checkpoint(folder) or not any(folder.iterdir()))
