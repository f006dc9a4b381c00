"""What somebody may want next, with the reasons: `manage.py recommend`."""

from __future__ import annotations

import json
import shutil
import textwrap
import time
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from domains.commerce import selectors
from domains.commerce.filters import BadFilter, parse_filters
from domains.commerce.models import Catalogue, Interaction
from domains.commerce.selectors import NotFound, Past, Person
from suite import jobs
from suite.events.envelope import Rejected, parse_time
from suite.formats import FormatError, Problem, read_records, unix_or_text
from suite.management.plain import PlainCommand


class Command(PlainCommand):
    help = (
        "Recommend items, each with its reasons, as the API does.\n\n"
        "Examples:\n"
        "  manage.py recommend --user 17850\n"
        "  manage.py recommend --session clicks.jsonl --catalogue films -k 5 --json\n"
        "  manage.py recommend --item 85123A"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--user", metavar="ID", help="for this user, by what is stored")
        who.add_argument("--session", type=Path, metavar="FILE", help="for the interactions in a file, oldest first")
        who.add_argument("--item", metavar="ID", help="items like this one")
        parser.add_argument("--catalogue", default="", help="default: where the user was last, else the first one")
        parser.add_argument("--filter", action="append", default=[], help="such as brand:Castle or price:10..50")
        parser.add_argument("-k", type=int, default=10, metavar="N", help="how many (default 10, at most 100)")
        parser.add_argument("--json", action="store_true", help="print one JSON object, as the API answers")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["k"] <= 100:
            raise CommandError("-k must be from 1 to 100")
        try:
            self.learn_first()
            answer = answered(options)
        except (NotFound, BadFilter, FormatError) as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
        else:
            self.print_table(answer)

    def learn_first(self) -> None:
        """Build statistics that were never built, where no worker has come to it yet."""
        never = Catalogue.objects.filter(statistics_at=None)
        if Interaction.objects.filter(catalogue__in=never).exists():
            self.stderr.write("Building the statistics of what was loaded ...")
            jobs.run("commerce.statistics")

    def print_table(self, answer: dict[str, Any]) -> None:
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        for place, item in enumerate(answer["items"], start=1):
            price = f"{item['price']:,.2f} {item['currency']}".strip() if item["price"] is not None else ""
            head = textwrap.shorten(f"{item['title']}  [{item['item_id']}]", width - 20, placeholder=" ...")
            self.stdout.write(f"{place:>3}  {head:<{width - 20}}{price:>14}")
            for reason in item["reasons"]:
                line = f"{reason['share']:>4.0%} {reason['channel']}: {reason['text']}"
                self.stdout.write(f"       {textwrap.shorten(line, width - 8, placeholder=' ...')}")
        self.stdout.write(
            f"{len(answer['items'])} items from {answer['catalogue']}, served by {answer['served_by']}, "
            f"from {answer['history']} interactions, release {answer['release'][:8] or 'none'}"
            + (f"; could not be had: {', '.join(answer['degraded'])}" if answer["degraded"] else "")
        )


def answered(options: dict[str, Any]) -> dict[str, Any]:
    """Raises `NotFound`, `BadFilter` or `FormatError`."""
    filters, k, name = parse_filters(options["filter"]), options["k"], options["catalogue"]
    if options["user"] is not None:
        person = Person(options["user"])
        catalogue = selectors.find_catalogue(name) if name else selectors.catalogue_of(person)
        return selectors.recommendations(catalogue, person, k, filters=filters)
    if options["item"] is not None:
        catalogue = selectors.find_catalogue(name) if name else selectors.catalogue_with(options["item"])
        return selectors.similar(catalogue, options["item"], k, filters=filters)
    return selectors.recommendations_after(
        selectors.find_catalogue(name), read_past(options["session"]), k, filters=filters
    )


def read_past(path: Path) -> Past:
    """The past in a file of `commerce.interactions`; only item_id is needed. Raises `FormatError`."""
    rows = []
    for found in read_records(path):
        if isinstance(found, Problem):
            raise FormatError(f"{path}: line {found.line} {found.reason}")
        number, record = found
        kind = record.get("kind") or "view"
        if not isinstance(record.get("item_id"), str | int) or kind not in Interaction.Kind.values:
            kinds = ", ".join(Interaction.Kind.values)
            raise FormatError(f"{path}: line {number} needs an item_id, and a kind of {kinds} where it has one")
        try:
            stamp = unix_or_text(record.get("timestamp"))
            at = parse_time(stamp, "timestamp").timestamp() if "timestamp" in record else time.time()
            value = None if record.get("value") is None else float(record["value"])
        except (Rejected, TypeError, ValueError) as error:
            raise FormatError(f"{path}: line {number}: {error}") from None
        rows.append((str(record["item_id"]), kind, value, at))
    if not rows:
        raise FormatError(f"{path} holds no interaction")
    return selectors.past_of(reversed(rows))
