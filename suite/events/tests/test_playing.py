"""Live streams side by side. The whole way, over HTTP, is in tests/test_from_outside.py."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, islice
from threading import Thread
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from suite.domain import event_types
from suite.events.ingestion import checked
from suite.events.models import ApiKey
from suite.events.playing import live_streams, merged
from suite.management.commands.play import Server


def steady(name: str, pause: float) -> Any:
    return lambda: ((pause, {"id": f"{name}{number}"}) for number in count(1))


def test_streams_run_side_by_side_in_order_of_time() -> None:
    streams = {"slow": steady("s", 3.0), "quick": steady("q", 2.0), "unasked": steady("u", 0.1)}
    played = list(islice(merged(streams, ["slow", "quick"]), 5))
    assert [(moment, event["id"]) for moment, event in played] == [
        (2.0, "q1"), (3.0, "s1"), (4.0, "q2"), (6.0, "s2"), (6.0, "q3"),
    ]  # fmt: skip


def test_a_stream_that_ends_leaves_the_others_running() -> None:
    streams = {"short": lambda: iter([(1.0, {"id": "only"})]), "long": steady("l", 2.0)}
    assert [event["id"] for _, event in islice(merged(streams, ["short", "long"]), 3)] == ["only", "l1", "l2"]


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(live_streams()))
def test_every_stream_yields_events_that_are_taken_and_never_the_same_id(name: str) -> None:
    ids = set()
    for _ in range(2):
        for delay, event in islice(live_streams()[name](), 20):
            assert delay >= 0
            assert "time" not in event
            ids.add(checked({"specversion": "1.0", **event}, event_types()).id)
    assert len(ids) == 40


@pytest.mark.django_db
def test_a_server_that_does_not_answer_is_one_line_and_leaves_no_key() -> None:
    with pytest.raises(CommandError, match="does not answer"):
        call_command("play", "--url", "http://127.0.0.1:9", "--speed", "1000")
    assert not ApiKey.objects.exists()


def test_a_connection_that_was_closed_in_a_pause_is_opened_again() -> None:
    taken = []

    class Impatient(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 0.1  # seconds that it waits for the next request on a kept connection

        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["id"])
            body = b'{"results": [{"id": "e", "status": "accepted"}]}'
            self.send_response(202)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Impatient) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        sender = Server(f"http://127.0.0.1:{server.server_port}", "key")
        for name in ("one", "two"):
            assert sender.send({"id": name})["status"] == "accepted"
            time.sleep(0.5)
        sender.connection.close()
        server.shutdown()
    assert taken == ["one", "two"]


@pytest.mark.django_db
def test_an_unknown_stream_is_named_with_those_there_are() -> None:
    with pytest.raises(CommandError, match="no stream 'nowhere'; streams: "):
        call_command("play", "nowhere")
