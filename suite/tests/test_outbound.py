"""Requests to typed addresses: against a server that does what a bad one would."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from suite.outbound import Answer, BadAddress, NoAnswer, is_allowed, request

Serve = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def server(settings: Any) -> Iterator[Callable[[Serve], str]]:
    """Starts a server that answers so, and gives its address; loopback addresses are allowed."""
    settings.PRIVATE_NETWORKS = [ipaddress.ip_network("127.0.0.0/8")]
    started: list[ThreadingHTTPServer] = []

    def start(serve: Serve) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(OSError):  # the client went away
                    serve(self)

            do_POST = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running.daemon_threads = True
        started.append(running)
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{running.server_port}"

    yield start
    for running in started:
        running.shutdown()
        running.server_close()


def page(body: bytes = b"hello", status: int = 200, **headers: str) -> Serve:
    def serve(asked: BaseHTTPRequestHandler) -> None:
        asked.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            asked.send_header(name.replace("_", "-"), value)
        asked.end_headers()
        asked.wfile.write(body)

    return serve


def ask(address: str, method: str = "GET", *, seconds: float = 5, limit: int = 1_000, **more: Any) -> Answer:
    return request(method, address, headers=more.pop("headers", {}), seconds=seconds, limit=limit, **more)


def test_an_answer_comes_whole(server: Any) -> None:
    heard: dict[str, Any] = {}

    def serve(asked: BaseHTTPRequestHandler) -> None:
        heard.update(
            path=asked.path, body=asked.rfile.read(int(asked.headers["Content-Length"])), key=asked.headers["X-Key"]
        )
        page(ETag='"1"')(asked)

    answer = ask(server(serve) + "/a?b=c", "POST", headers={"X-Key": "k"}, body=b"{}")
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, b"hello", '"1"')
    assert heard == {"path": "/a?b=c", "body": b"{}", "key": "k"}


@pytest.mark.parametrize(
    "address",
    ["ftp://example.org/a", "http:///a", "http://user:word@example.org/", "http://example.org:99999/", "file:///etc/hosts",
     "http://example.org/a b", "http://example.org/\r\nHost: x", "http://ex\u00e4mple.org/", "", "http://[::1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadAddress):
        ask(address)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://10.1.2.3/", "http://169.254.169.254/", "http://0/",
     "http://[::ffff:127.0.0.1]/", "http://2130706433/", "http://224.0.0.1/", "http://[2002:7f00:1::]/", "http://100.64.0.1/"],
)  # fmt: skip
def test_private_addresses_are_refused(address: str, settings: Any) -> None:
    settings.PRIVATE_NETWORKS = []
    with pytest.raises(BadAddress, match="private"):
        ask(address, seconds=2)


def test_a_redirect_is_an_answer_and_asks_nobody_else(server: Any) -> None:
    answer = ask(server(page(status=302, Location="http://10.0.0.1/secret")) + "/")
    assert (answer.status, answer.headers["location"]) == (302, "http://10.0.0.1/secret")


def test_the_address_that_was_checked_is_the_one_that_is_asked(server: Any, monkeypatch: Any) -> None:
    """A name that resolves to a public address first and to a private one next gains nothing."""
    asked: list[Any] = []
    address = server(page())
    port = int(address.rsplit(":", 1)[1])
    real = socket.getaddrinfo

    def resolve(host: str, *more: Any, **options: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == "rebind.example" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert ask(f"http://rebind.example:{port}/").body == b"hello"
    assert asked == ["rebind.example", "127.0.0.1"]


def test_an_endless_answer_is_cut(server: Any) -> None:
    def endless(asked: BaseHTTPRequestHandler) -> None:
        asked.send_response(200)
        asked.end_headers()
        while True:
            asked.wfile.write(b"x" * 65_536)

    with pytest.raises(NoAnswer, match="longer than 100,000 bytes"):
        ask(server(endless) + "/", limit=100_000)


@pytest.mark.parametrize("part", ["body", "headers"])
def test_what_drips_is_cut_at_the_deadline(server: Any, part: str) -> None:
    def drip(asked: BaseHTTPRequestHandler) -> None:
        if part == "body":
            asked.send_response(200)
            asked.send_header("Content-Length", "1000")
            asked.end_headers()
        for letter in b"HTTP/1.0 200 OK\r\nX-Long: " + b"y" * 900:
            asked.wfile.write(bytes([letter]))
            time.sleep(0.05)

    address = server(drip)
    started = time.monotonic()
    with pytest.raises(NoAnswer, match=r"more than 0\.6 seconds"):
        ask(address + "/", seconds=0.6)
    assert time.monotonic() - started < 30  # the whole answer takes 46


def test_half_an_answer_is_none(server: Any) -> None:
    with pytest.raises(NoAnswer, match="IncompleteRead"):
        ask(server(page(b"half", Content_Length="100")) + "/")


def test_nobody_there(server: Any) -> None:
    server(page())
    with pytest.raises(NoAnswer):
        ask("http://127.0.0.1:1/", seconds=2)


def test_public_addresses_are_allowed(settings: Any) -> None:
    settings.PRIVATE_NETWORKS = []
    assert is_allowed("93.184.216.34")
    assert is_allowed("2606:2800:220:1:248:1893:25c8:1946")
