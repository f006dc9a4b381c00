"""How commands tell of a promotion that is under way."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from suite.releases.models import Promotion
from suite.releases.promotion import see_through


class Teller:
    """Lines on standard error, so that standard output holds the answer alone; none twice in a row."""

    def __init__(self, command: BaseCommand, is_loud: bool = True) -> None:
        self.command = command
        self.is_loud = is_loud
        self.last = ""
        self.once: set[str] = set()

    def say(self, line: str) -> None:
        if self.is_loud and line != self.last:
            self.last = line
            self.command.stderr.write(line, style_func=str)

    def say_once(self, line: str) -> None:
        if line not in self.once:
            self.once.add(line)
            self.say(line)

    def progress(self, promotion: Promotion) -> None:
        documents = f"{promotion.documents_done:,} of {promotion.documents_total:,} documents"
        self.say(f"{promotion}: {promotion.state}, {documents} {promotion.message}".rstrip())


def carry_out(command: BaseCommand, promotion: Promotion, *, does_wait: bool, is_json: bool) -> None:
    """Tell of a request, or see it through. Raises `CommandError` where it is refused."""
    if does_wait:
        see_through(promotion, Teller(command).progress)
    if is_json:
        command.stdout.write(json.dumps(as_json(promotion)))
    elif promotion.state == Promotion.State.DONE:
        command.stdout.write(f"Release {promotion.release_id} serves")
    elif promotion.state != Promotion.State.REFUSED:
        command.stdout.write(f"Asked for: {promotion}. A worker carries it out; --wait sees it through.")
    if promotion.state == Promotion.State.REFUSED:
        raise CommandError(f"Refused, the active release serves on: {promotion.message}")


def as_json(promotion: Promotion) -> dict[str, Any]:
    names = ("state", "is_rollback", "documents_done", "documents_total", "gate", "message")
    answer = {name: getattr(promotion, name) for name in names}
    return {"release": promotion.release_id, "previous": promotion.previous_id} | answer
