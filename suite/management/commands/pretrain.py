"""Pretrain a body on texts without labels: `manage.py pretrain --data NAME=FILE --output DIR`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from suite.encoder.model import Encoder
from suite.encoder.training.config import TrainingConfig
from suite.encoder.training.pretraining import DEFAULT, NAME, pretrain
from suite.encoder.training.states import RunFolder
from suite.management.plain import PlainCommand
from suite.management.promoting import Teller
from suite.management.training import (
    FILES,
    ProgressTeller,
    add_config,
    clear_errors,
    config_of,
    source,
    working_folder,
)
from suite.releases import snapshot
from suite.releases.training import digest_of, on_characters


class Command(PlainCommand):
    help = (
        "Let the body read the domains' unlabelled texts, of files or of the applications' own rows where no --data\n"
        "is given, before it is tuned: it learns to guess masked tokens. What comes of it is a folder for\n"
        "`manage.py train --body`; nothing else changes. A body that was made smaller cannot learn so. A run that was\n"
        "killed goes on from its last checkpoint when the command is given again with the same texts. Exit status 1\n"
        "where nothing can be read.\n\n"
        "Example:\n  manage.py pretrain --data finance.articles=articles.jsonl --output adapted\n"
        "  manage.py train --body adapted"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--data", type=source, help="records to read the texts of", **FILES)
        parser.add_argument("--rows", action="store_true", help="read the applications' own rows beside --data")
        parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the body is left")
        parser.add_argument("--json", action="store_true", help="print what was made as one JSON object")
        add_config(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        teller = Teller(self, options["verbosity"] > 0)
        output: Path = options["output"]
        with clear_errors(), working_folder(output) as folder:
            config = config_of(options, DEFAULT)
            texts = list(snapshot.unlabelled(options["data"], with_rows=options["rows"], tell=teller.say))
            encoder, evaluations = self.pretrained(texts, config, folder, teller)
            encoder.save(output)
        kept = max(evaluations[1:], key=lambda one: one["mean"])  # the body that was saved
        first, guessed = (one["metrics"][NAME] for one in (evaluations[0], kept))
        if options["json"]:
            made = {"folder": str(output), "fingerprint": encoder.fingerprint, "guessed": guessed}
            self.stdout.write(json.dumps(made))
        else:
            self.stdout.write(
                f"{output}: guesses {guessed:.1%} of the masked tokens of held-out texts, {first:.1%} at first; "
                f"`manage.py train --body {output}` takes it"
            )

    def pretrained(
        self, texts: list[str], config: TrainingConfig, folder: Path, teller: Teller
    ) -> tuple[Encoder, list[dict[str, Any]]]:
        body = config.body or settings.ENCODER
        teller.say(f"Loading {body}")
        encoder = Encoder.load(body, threads=settings.ENCODER_THREADS)
        teller.say(f"Reading {len(texts):,} texts")
        run = RunFolder(folder, digest_of(["pretraining", texts, config.as_dict(), encoder.fingerprint]))
        tuned, progress = pretrain(encoder, texts, config, run, ProgressTeller(teller).report)
        on_characters(encoder, tuned, teller.say)
        return tuned, progress.evaluations
