"""Make, list and revoke API keys: `manage.py api-key create shop --scope ingest,recommend`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from suite.events.auth import create_key, revoke_key
from suite.events.models import ApiKey
from suite.management.plain import ActionCommand


class Command(ActionCommand):
    help = (
        "Make, list and revoke API keys. A new key is printed once, alone on standard output.\n\n"
        "  manage.py api-key create shop --scope ingest,recommend\n"
        "  manage.py api-key list --json\n"
        "  manage.py api-key revoke shop"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key and print it")
        create.add_argument("name")
        create.add_argument(
            "--scope", required=True, help=f"what it may do, joined by commas: {', '.join(ApiKey.SCOPES)}"
        )
        listing = actions.add_parser("list", help="names, scopes and last use of all keys")
        listing.add_argument("--json", action="store_true")
        actions.add_parser("revoke", help="refuse a key from now on").add_argument("name")

    def create(self, options: dict[str, Any]) -> None:
        scopes = [scope.strip() for scope in options["scope"].split(",") if scope.strip()]
        try:
            _, text = create_key(options["name"], scopes)
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stderr.write("Keep this key: it cannot be shown again. Send it as 'Authorization: Bearer KEY'.")
        self.stdout.write(text)

    def list(self, options: dict[str, Any]) -> None:
        rows = [
            {
                "name": key.name,
                "prefix": key.prefix,
                "scopes": key.scopes,
                "last_used_at": key.last_used_at and key.last_used_at.isoformat(timespec="seconds"),
                "is_revoked": key.revoked_at is not None,
            }
            for key in ApiKey.objects.all()
        ]
        if options["json"]:
            self.stdout.write(json.dumps(rows))
            return
        for row in rows:
            state = "revoked" if row["is_revoked"] else f"last used {row['last_used_at'] or 'never'}"
            self.stdout.write(f"{row['name']:30} {row['prefix']}…  {','.join(row['scopes']):32} {state}")

    def revoke(self, options: dict[str, Any]) -> None:
        key = ApiKey.objects.filter(name=options["name"]).first()
        if key is None:
            names = ", ".join(ApiKey.objects.values_list("name", flat=True)[:20])
            raise CommandError(f"there is no key named {options['name']!r}; keys: {names or 'none'}")
        revoke_key(key)
        self.stdout.write(f"{key.name} is refused from now on, by every process within 5 seconds.")
