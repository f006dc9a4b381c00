"""Run the handlers of stored events once more: `manage.py replay --type shop.thing.sold`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from suite.domain import event_types
from suite.events.envelope import Rejected, parse_time
from suite.events.handling import handle_all
from suite.events.services import replay_events
from suite.management.plain import PlainCommand


class Command(PlainCommand):
    help = (
        "Run the handlers of stored events once more. The rows that they write end in the same state.\n\n"
        "  manage.py replay --since 2026-01-31 --type shop.thing.sold"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", help="events received since then (ISO 8601)")
        parser.add_argument("--after", type=int, default=0, metavar="SEQUENCE", help="events after this one")
        parser.add_argument("--type", action="append", default=[], help="this type only; may be given several times")
        parser.add_argument("--all", action="store_true", help="every stored event")
        parser.add_argument("--no-wait", action="store_true", help="leave the work to the running workers")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        handled = sorted(name for name, event_type in event_types().items() if event_type.is_handled)
        unknown = sorted(set(options["type"]) - set(handled))
        if unknown:
            raise CommandError(f"{', '.join(unknown)}: no handler; types with one: {', '.join(handled) or 'none'}")
        if not (options["since"] or options["after"] or options["type"] or options["all"]):
            raise CommandError("say which events: --since, --after or --type, or --all")
        try:
            since = parse_time(options["since"], "--since") if options["since"] else None
        except Rejected as error:
            raise CommandError(str(error)) from None
        marked = replay_events(since=since, types=options["type"], after=options["after"])
        if not options["no_wait"]:
            with tqdm(total=marked, desc="handling", unit=" events", disable=None) as bar:
                handle_all(lambda left: bar.update(max(0, marked - left - bar.n)))
        if options["json"]:
            self.stdout.write(json.dumps({"replayed": marked}))
        else:
            self.stdout.write(f"{marked:,} events {'are marked' if options['no_wait'] else 'were handled again'}")
