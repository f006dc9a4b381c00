"""Let the sample's people go on in a running Suite, through its API: `manage.py play`."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from suite.events.auth import create_key
from suite.events.playing import live_streams, merged
from suite.management.plain import PlainCommand

TIMEOUT = 30.0  # seconds
RETRIED = {429, 503}
MOST_RETRIES = 10


class Command(PlainCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        streams = "\n".join(f"  {name}" for name in sorted(live_streams()))
        return (
            "Send what the sample's people do from now on into a running Suite, event by event, until stopped.\n\n"
            f"streams:\n{streams or '  none'}\n\nExample:\n  manage.py play --speed 5 --seconds 60"
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="STREAM", help="of the list above; default: all")
        parser.add_argument("--url", default=f"http://localhost:{os.environ.get('PORT') or 8000}", help="of the server")
        parser.add_argument("--key", default="", help="an API key with the scope ingest; default: one for this run")
        parser.add_argument("--speed", type=float, default=1.0, help="how many times faster than people are")
        parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long; default: never")
        parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        streams = live_streams()
        names = options["names"] or sorted(streams)
        if unknown := sorted(set(names) - streams.keys()):
            raise CommandError(f"there is no stream {unknown[0]!r}; streams: {', '.join(sorted(streams)) or 'none'}")
        if not options["speed"] > 0:
            raise CommandError("--speed must be above 0")
        counts: Counter[str] = Counter()
        schedule = ((moment / options["speed"], event) for moment, event in merged(streams, names))
        started = time.monotonic()
        try:
            with ingest_key(options["key"]) as key, tqdm(desc="playing", unit=" events", disable=None) as bar:
                server = Server(options["url"], key)
                for moment, event in takewhile(lambda due: due[0] <= options["seconds"], schedule):
                    time.sleep(max(0.0, started + moment - time.monotonic()))
                    result = server.send(event)
                    counts[result["status"]] += 1
                    if result["status"] == "rejected" and counts["rejected"] == 1:  # the others will be, too
                        bar.write(f"rejected: {result['field']} {result['reason']}", file=self.stderr)
                    bar.update()
        except KeyboardInterrupt:
            pass
        seconds = round(time.monotonic() - started, 1)
        if options["json"]:
            self.stdout.write(json.dumps({"seconds": seconds, **counts}))
        else:
            told = ", ".join(f"{count:,} {status}" for status, count in counts.most_common()) or "no events"
            self.stdout.write(f"{told} in {seconds:,.0f} s")


@contextmanager
def ingest_key(given: str) -> Iterator[str]:
    """The given key, or one that lives as long as this run."""
    if given:
        yield given
        return
    row, text = create_key(f"play {uuid.uuid4().hex[:12]}", ["ingest"])
    try:
        yield text
    finally:
        row.delete()


class Server:
    """One kept connection to the events API."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CommandError(f"--url {url!r} is not an address such as http://localhost:8000")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self.url = url
        self.path = f"{parts.path.rstrip('/')}/api/events"
        self.connection = kind(parts.hostname, parts.port, timeout=TIMEOUT)
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}

    def send(self, event: dict[str, Any]) -> dict[str, str]:
        """The event's result: its status, and field and reason where it was rejected. Raises `CommandError`."""
        body = json.dumps({"specversion": "1.0", **event})
        for _ in range(MOST_RETRIES):
            try:
                response, answer = self.ask(body)
            except (OSError, HTTPException) as error:
                raise CommandError(f"{self.url} does not answer ({type(error).__name__}); is `make run` up?") from error
            if response.status not in RETRIED:
                break
            time.sleep(float(response.headers.get("Retry-After") or 1))
        if response.status != 202:
            raise CommandError(f"{self.url} answered {response.status} {response.reason}")
        return json.loads(answer)["results"][0]

    def ask(self, body: str) -> tuple[HTTPResponse, bytes]:
        """The response and its body. A kept connection that the server closed in a pause is opened again; an event that
        it took all the same is a duplicate the second time. Raises `OSError` or `HTTPException`."""
        was_open = self.connection.sock is not None
        try:
            self.connection.request("POST", self.path, body, self.headers)
            response = self.connection.getresponse()
            return response, response.read()
        except (OSError, HTTPException):
            self.connection.close()
            if not was_open:
                raise
        return self.ask(body)
