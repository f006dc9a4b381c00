"""List, show and replay what was given up: `manage.py dead-letters list`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.events.models import DeadLetter
from suite.events.services import NotReplayed, replay_dead_letter
from suite.management.plain import ActionCommand

SHOWN_BYTES = 4_000


class Command(ActionCommand):
    help = (
        "List, show and replay the events and messages that were given up.\n\n"
        "  manage.py dead-letters list --json\n"
        "  manage.py dead-letters show 12\n"
        "  manage.py dead-letters replay 12 15      or: replay --all"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="the newest ones that were not replayed")
        listing.add_argument("--all", action="store_true", help="those that were replayed, too")
        listing.add_argument("--limit", type=int, default=50)
        listing.add_argument("--json", action="store_true")
        show = actions.add_parser("show", help="one of them, with its event or message")
        show.add_argument("id", type=int)
        replay = actions.add_parser("replay", help="try them again")
        replay.add_argument("ids", type=int, nargs="*")
        replay.add_argument("--all", action="store_true", help="every one that was not replayed")

    def list(self, options: dict[str, Any]) -> None:
        letters = DeadLetter.objects.select_related("event")
        if not options["all"]:
            letters = letters.filter(replayed_at=None)
        rows = [summary(letter) for letter in letters[: max(1, options["limit"])]]
        if options["json"]:
            self.stdout.write(json.dumps(rows))
            return
        for row in rows:
            self.stdout.write(
                f"{row['id']:>6}  {row['created_at']}  {row['type'] or row['channel']:34} {row['reason']}"
            )
        self.stdout.write(f"{len(rows)} shown of {letters.count()}")

    def show(self, options: dict[str, Any]) -> None:
        letter = DeadLetter.objects.select_related("event").filter(pk=options["id"]).first()
        if letter is None:
            raise CommandError(f"there is no dead letter {options['id']}")
        details = summary(letter)
        if letter.event is not None:
            details |= {"data": letter.event.data}
        else:
            details |= {"body": bytes(letter.body)[:SHOWN_BYTES].decode("utf-8", "backslashreplace")}
        self.stdout.write(json.dumps(details, indent=2, ensure_ascii=False))

    def replay(self, options: dict[str, Any]) -> None:
        if bool(options["ids"]) == options["all"]:
            raise CommandError("name the dead letters to replay, or give --all")
        letters = DeadLetter.objects.filter(replayed_at=None)
        if options["ids"]:
            letters = letters.filter(pk__in=options["ids"])
        replayed, failed = 0, 0
        for letter in letters.order_by("id").iterator():
            try:
                replay_dead_letter(letter)
                replayed += 1
            except NotReplayed as error:
                failed += 1
                self.stderr.write(f"{letter.pk}: {error}")
        self.stdout.write(f"{replayed} replayed, {failed} cannot be taken")
        if failed or (options["ids"] and replayed < len(set(options["ids"]))):
            raise CommandError("not everything was replayed: others were replayed before, or are not there")


def summary(letter: DeadLetter) -> dict[str, Any]:
    event = letter.event
    return {
        "id": letter.pk,
        "created_at": letter.created_at.isoformat(timespec="seconds"),
        "channel": letter.channel,
        "work": letter.work,
        "type": event.type if event else "",
        "source": event.source if event else "",
        "event_id": event.event_id if event else "",
        "sequence": letter.event_id,
        "attempts": letter.attempts,
        "reason": letter.reason,
        "is_replayed": letter.replayed_at is not None,
    }
