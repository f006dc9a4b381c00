"""Take files in as events: `manage.py load NAME FILE...`."""

from __future__ import annotations

import json
import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.module_loading import import_string
from tqdm import tqdm

from suite.events.handling import handle_all
from suite.events.loading import BadLine, Counts, Load, loaders, write_plain
from suite.formats import FormatError, Loader, LoadOptions
from suite.management.plain import PlainCommand

SHOWN_LINES = 20  # bad lines that are told one by one; the others are counted
SHOWN_REASONS = 10


class Command(PlainCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        formats = "\n".join(f"  {name:24} {loader.help}" for name, loader in sorted(loaders().items()))
        return (
            "Take files in as events. A load that was stopped goes on where it was, and no line is taken twice.\n\n"
            f"formats:\n{formats or '  none'}\n\nExample:\n  manage.py load shop.things things.jsonl.gz"
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="a format of the list above")
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="or a folder, where the format is one")
        parser.add_argument("--catalogue", default="", help="which one to load into, where the format has catalogues")
        parser.add_argument("--dry-run", action="store_true", help="read and check everything, store nothing")
        parser.add_argument("--strict", action="store_true", help="stop at the first bad line, exit status 1")
        parser.add_argument(
            "--write",
            type=Path,
            metavar="DIR",
            help="write plain records there, a file a kind of event; store nothing",
        )
        parser.add_argument("--no-wait", action="store_true", help="leave handling and indexing to the workers")
        parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        loader = chosen_loader(options["name"], options["files"], options["catalogue"])
        if options["write"]:
            self.write_plain(loader, options)
            return
        started = time.monotonic()
        load = Load(
            options["name"], loader, options["files"],
            LoadOptions(catalogue=options["catalogue"], is_dry=options["dry_run"]), self.complain,
            is_strict=options["strict"], is_dry=options["dry_run"],
        )  # fmt: skip
        self.complaints = 0
        stopped_by = ""
        try:
            self.read(load)
        except (BadLine, FormatError) as error:
            stopped_by = str(error)
        if not options["dry_run"] and not options["no_wait"] and load.counts.accepted:
            self.drain(load.counts.accepted)
        seconds = time.monotonic() - started
        self.report(load, seconds, is_json=options["json"])
        if stopped_by:
            raise CommandError(f"stopped: {stopped_by}")
        if not load.counts.is_anything_read:
            raise CommandError("nothing could be read")

    def write_plain(self, loader: Loader, options: dict[str, Any]) -> None:
        """The data of every event as a line of DIR/<event type>.jsonl: what `evaluate` and `train` read."""
        load_options = LoadOptions(catalogue=options["catalogue"], is_dry=True)
        records = chain.from_iterable(loader.read(path, load_options) for path in options["files"])
        try:
            counts = write_plain(tqdm(records, desc="writing", unit=" records", disable=None), options["write"])
        except (FormatError, OSError) as error:
            raise CommandError(f"stopped: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps(counts))
        else:
            self.stdout.write("\n".join(f"{count:>9,}  {name}" for name, count in counts.items()))
        if not counts:
            raise CommandError("nothing could be read")

    def read(self, load: Load) -> None:
        files = [file for path in load.paths for file in (path.iterdir() if path.is_dir() else [path])]
        total = sum(file.stat().st_size for file in files if file.is_file())
        with tqdm(total=total, desc="reading", unit="B", unit_scale=True, disable=None) as bar:
            load.options.on_bytes = bar.update
            self.bar = bar
            load.run()

    def complain(self, line: str) -> None:
        self.complaints += 1
        if self.complaints <= SHOWN_LINES:
            self.write(line)
        elif self.complaints == SHOWN_LINES + 1:
            self.write("further lines are only counted")

    def write(self, line: str) -> None:
        """Above the progress bar."""
        with self.bar.external_write_mode(file=self.stderr):
            self.stderr.write(line)

    def drain(self, accepted: int) -> None:
        """Handle and index what was taken in, beside running workers or without any."""
        with tqdm(total=accepted, desc="handling", unit=" events", disable=None) as bar:
            waiting = handle_all(lambda left: bar.update(max(0, accepted - left - bar.n)))
        if waiting:
            how = "`make run` makes it by itself, else `manage.py release`"
            self.stderr.write(f"{waiting:,} events wait for the first release: {how}")
        with tqdm(desc="indexing", bar_format="{desc} {elapsed}", disable=None):
            import_string("workers.indexing.synchronise")()

    def report(self, load: Load, seconds: float, *, is_json: bool) -> None:
        counts = load.counts
        if is_json:
            figures = counts.as_dict() | {
                "name": load.name,
                "resumed_at": load.resumed_at,
                "unknown_fields": load.options.unknown_fields,
                "seconds": round(seconds, 3),
            }
            self.stdout.write(json.dumps(figures))
            return
        if load.resumed_at:
            self.stdout.write(f"went on after {load.resumed_at:,} records of an earlier run")
        rate = (counts.records - load.resumed_at) / max(seconds, 1e-9)
        self.stdout.write(f"{counts.records:,} records: {summary(counts)} ({seconds:.1f} s, {rate:,.0f} records/s)")
        for title, reasons in (
            ("skipped", counts.skipped),
            ("rejected", counts.rejected),
            ("bad line", counts.bad_lines),
            ("unknown field", Counter(load.options.unknown_fields)),
        ):
            for reason, number in reasons.most_common(SHOWN_REASONS):
                self.stdout.write(f"  {number:>9,}  {title}: {reason}")


def chosen_loader(name: str, files: list[Path], catalogue: str) -> Loader:
    """The loader of that name, with files or folders that are there. Raises `CommandError`."""
    loader = loaders().get(name)
    if loader is None:
        raise CommandError(f"there is no format {name!r}; formats: {', '.join(sorted(loaders())) or 'none'}")
    if catalogue and not loader.has_catalogues:
        raise CommandError(f"{name} has no catalogues; leave --catalogue out")
    for path in files:
        if not path.exists():
            raise CommandError(f"{path}: there is no such file")
        if path.is_dir() and not loader.takes_folder:
            raise CommandError(f"{path} is a folder; {name} reads files")
    return loader


def summary(counts: Counts) -> str:
    return (
        f"{counts.accepted:,} accepted, {counts.duplicate:,} duplicate, {counts.rejected.total():,} rejected, "
        f"{counts.skipped.total():,} skipped, {counts.bad_lines.total():,} bad lines"
    )
