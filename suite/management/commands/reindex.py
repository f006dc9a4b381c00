"""Build the candidates anew beside the ones that serve, and switch: `manage.py reindex shop`."""

from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from tqdm import tqdm

from suite.encoder.checkpoint import CheckpointError
from suite.index import services
from suite.index.collections import collections
from suite.index.engine import EngineError
from suite.index.models import Generation
from suite.jobs import held
from suite.management.plain import PlainCommand
from suite.releases import gate, runtime, selectors
from suite.releases.models import Release
from suite.releases.promotion import LEASE


class Command(PlainCommand):
    help = (
        "Build a fresh generation of the active release from the rows, gate it, and switch to it. What serves now\n"
        "serves on until then. Texts that are unchanged are not encoded again.\n\n"
        "Examples:\n  manage.py reindex\n  manage.py reindex shop\n  manage.py reindex shop.things --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", metavar="COLLECTION|DOMAIN", help="without it, every collection")
        parser.add_argument("--json", action="store_true", help="print the outcome as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        names = chosen(options["name"])
        with held(LEASE) as is_ours:  # else a promotion may switch meanwhile, and this one back
            if not is_ours:
                raise CommandError("A promotion is under way: try again when it is done.")
            release = selectors.active()
            if release is None:
                raise CommandError("No release is active yet: run `manage.py release` first.")
            outcomes = {name: self.rebuild(name, release, options["json"]) for name in names}
        if options["json"]:
            self.stdout.write(json.dumps({"release": release.fingerprint, "collections": outcomes}))

    def rebuild(self, name: str, release: Release, is_json: bool) -> dict[str, Any]:
        started = time.monotonic()
        services.touch_forgotten(name)
        generation = services.create_generation(name, release.fingerprint, release.dimensions)
        try:
            with tqdm(desc=name, unit=" documents", disable=None) as bar:
                fill(generation, bar)
            outcome = gate.examine(generation)
            if outcome.reason:
                raise CommandError(f"{name}: {outcome.reason}; the generation before serves on.")
            with transaction.atomic():
                if not Release.objects.select_for_update().filter(pk=release.pk, state=Release.State.ACTIVE).exists():
                    raise CommandError(f"{name}: release {release} does not serve any more; run it again for the one "
                                       "that does.")  # fmt: skip
                services.activate(generation)
            services.switch_alias(generation)
        except (EngineError, CheckpointError) as error:
            raise CommandError(f"{name}: {error}") from error
        finally:
            generation.refresh_from_db()
            if generation.state == Generation.State.BUILDING:
                services.drop_generation(generation)
        if not is_json:
            self.stdout.write(f"{name}: {outcome.documents:,} documents in {time.monotonic() - started:.1f} s")
        return {"generation": generation.name, "seconds": round(time.monotonic() - started, 3), **outcome.as_dict()}


def chosen(name: str | None) -> list[str]:
    """The collections of a name. Raises `CommandError` where there are none."""
    found = [each for each in sorted(collections()) if name is None or name in (each, each.split(".")[0])]
    if not found:
        raise CommandError(f"There is no collection or domain {name!r}; there are: {', '.join(sorted(collections()))}")
    return found


def fill(generation: Generation, bar: tqdm) -> None:
    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    def encode(texts: list[str]) -> Any:
        return runtime.encoder_for(generation.fingerprint).embed(texts)

    services.synchronise_generation(generation, encode, progress)
