"""What commands share: help whose lines stay as they are written, and commands that are several actions."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class PlainCommand(BaseCommand):
    """A command whose help keeps its lines, so that its examples can be read."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)


class ActionCommand(PlainCommand):
    """`manage.py NAME ACTION`: `add_arguments` declares subparsers with dest="action"; each action is a method."""

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, options["action"])(options)
