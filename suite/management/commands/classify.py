"""Ask a head: `manage.py classify HEAD --text TEXT`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.encoder.checkpoint import CheckpointError
from suite.encoder.heads import PAIR, Head, HeadMissing, Pair, features_of
from suite.encoder.model import Encoder
from suite.formats import FormatError, Problem, read_records
from suite.management.plain import PlainCommand
from suite.releases import runtime, snapshot
from suite.releases.selectors import NoSuchRelease
from suite.releases.training_data import Labelling

RECORDS_AT_ONCE = 1_024


class Command(PlainCommand):
    help = (
        "Print the probability of every class, a line a text. Exit status 2 where the release has no such head.\n"
        "A head for pairs takes --text and --other, or the fields `text` and `other` of a record; one that judges a\n"
        "name in a text --entity, or the field `entity`.\n\n"
        "Example:\n  manage.py classify sentiment --text 'Profit doubled' --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("head", metavar="HEAD", help="the head's name")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--text", help="one text")
        source.add_argument("--data", type=Path, metavar="FILE", help="records with a field `text`: .jsonl or .csv")
        parser.add_argument("--entity", default="", metavar="NAME", help="the name in the text that is judged")
        parser.add_argument("--other", default="", metavar="TEXT", help="the second text, for a head for pairs")
        parser.add_argument("--release", default="", metavar="ID|DIR", help="default: the active release")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            encoder = runtime.resolve(options["release"])
            head = encoder.head(options["head"])
        except HeadMissing as error:
            raise CommandError(str(error), returncode=2) from error
        except (CheckpointError, NoSuchRelease) as error:
            raise CommandError(str(error)) from error
        if options["data"] is None:
            record = {name: options[name] for name in ("text", "other", "entity")}
            self.answer(encoder, head, [(0, record)], options["json"])
        else:
            self.answer_file(encoder, head, options["data"], options["json"])

    def answer_file(self, encoder: Encoder, head: Head, path: Path, is_json: bool) -> None:
        records = self.readable(path, head)
        count = 0
        try:
            while batch := list(islice(records, RECORDS_AT_ONCE)):
                self.answer(encoder, head, batch, is_json)
                count += len(batch)
        except FormatError as error:
            raise CommandError(str(error)) from error
        if not count:
            raise CommandError("nothing could be read")

    def readable(self, path: Path, head: Head) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line, record) of those that hold the texts the head wants; the others are told with their reason."""
        wanted = ("text", "other") if head.spec.kind == PAIR else ("text",)
        for record in read_records(path):
            if isinstance(record, Problem):
                self.stderr.write(f"line {record.line}: {record.reason}")
            elif missing := [name for name in wanted if not isinstance(record[1].get(name), str)]:
                self.stderr.write(f"line {record[0]}: field {missing[0]} is required and must be a text")
            else:
                yield record

    def answer(self, encoder: Encoder, head: Head, records: list[tuple[int, dict[str, Any]]], is_json: bool) -> None:
        """One line for each record: the likeliest class, and the probability of each."""
        marks = head.spec.name in snapshot.labelling()
        read = Labelling.read if marks else itemgetter("text")
        inputs: list[str | Pair] = [
            (record["text"], record["other"]) if head.spec.kind == PAIR else read(record) for _, record in records
        ]
        probabilities = head.probabilities(features_of(encoder, head.spec, inputs))
        for (line, _), row in zip(records, probabilities, strict=True):
            by_label = {label: round(float(value), 6) for label, value in zip(head.spec.labels, row, strict=True)}
            label = max(by_label, key=by_label.__getitem__)
            if is_json:
                place = {"line": line} if line else {}
                self.stdout.write(json.dumps(place | {"label": label, "probabilities": by_label}, ensure_ascii=False))
            else:
                self.stdout.write("  ".join([label, *(f"{name} {value:.3f}" for name, value in by_label.items())]))
