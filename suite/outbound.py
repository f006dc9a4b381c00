"""Requests to addresses that people typed in: feeds, webhooks. Such an address must not lead into the own network.

The name is resolved once and every address that it has is looked at; the connection goes to one that was looked at, so
a name that resolves differently the next moment gains nothing. Redirects are not followed: who follows one asks again,
and so its address is looked at, too. A request has so many seconds in all and an answer so many bytes, however slowly
or endlessly it comes.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

CHUNK = 16_384
PORTS = {"http": 80, "https": 443}


class BadAddress(Exception):
    """No request is made to this address; the text says why."""


class NoAnswer(Exception):
    """The request failed, or its answer was too long or too slow; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is as it came, packed where the headers say so; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Deadline:
    """Cuts the connection that it watches when the time is over, whatever that waits for."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_over = False
        self._watched: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, opened: socket.socket) -> None:
        self._watched = opened
        if self.is_over:
            raise TimeoutError

    def _cut(self) -> None:
        self.is_over = True
        if self._watched is not None:
            try:
                self._watched.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it was closed already

    def cancel(self) -> None:
        self._timer.cancel()


def request(
    method: str, address: str, *, headers: Mapping[str, str], body: bytes | None = None, seconds: float, limit: int
) -> Answer:
    """Ask once. `limit` is in bytes of the answer's body. Raises `BadAddress` or `NoAnswer`."""
    parts = parsed(address)
    deadline = Deadline(seconds)
    connection = http.client.HTTPConnection(parts.hostname or "", port_of(parts), timeout=seconds)
    connection.default_port = PORTS[parts.scheme]
    try:
        connection.sock = connected(parts, deadline)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body, {"User-Agent": "Suite", **headers})
        response = connection.getresponse()
        received = read(response, limit)
        if deadline.is_over:
            raise TimeoutError
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, received)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if deadline.is_over or isinstance(error, TimeoutError):
            raise NoAnswer(f"it took more than {seconds:g} seconds") from None
        raise NoAnswer(f"{type(error).__name__}: {error}"[:300]) from None
    finally:
        deadline.cancel()
        connection.close()


def parsed(address: str) -> SplitResult:
    """The parts of an http or https address. Raises `BadAddress`."""
    if not re.fullmatch(r"[!-~]+", address):
        raise BadAddress("it is empty, or holds characters that must be percent-encoded in an address")
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        raise BadAddress("it cannot be read as an address") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadAddress("it must begin with http:// or https:// and name a host")
    if parts.username or parts.password:
        raise BadAddress("it must not hold a user name or a password")
    return parts


def connected(parts: SplitResult, deadline: Deadline) -> socket.socket:
    """A connection to an address of the host that may be asked."""
    host, port = parts.hostname or "", port_of(parts)
    opened = socket.create_connection((checked_address(host, port), port), timeout=deadline.seconds)
    deadline.watch(opened)
    if parts.scheme == "https":
        opened = ssl.create_default_context().wrap_socket(opened, server_hostname=host)
        deadline.watch(opened)
    return opened


def port_of(parts: SplitResult) -> int:
    return parts.port or PORTS[parts.scheme]


def checked_address(host: str, port: int) -> str:
    """An IP address of the host, where all it has may be asked. Raises `BadAddress`; `OSError` where it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise BadAddress("it names a host that cannot be") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not all(map(is_allowed, addresses)):
        raise BadAddress("it leads into a private network; SUITE_PRIVATE_NETWORKS can allow it")
    return addresses[0]


def is_allowed(address: str) -> bool:
    """Whether an IP address is public, or in a network that the settings allow."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None) or ip
    if any(inner in network for network in settings.PRIVATE_NETWORKS if network.version == inner.version):
        return True
    return inner.is_global and not inner.is_multicast


def read(response: http.client.HTTPResponse, limit: int) -> bytes:
    """The whole body. Raises `NoAnswer` where it is longer than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    while part := response.read1(CHUNK):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise NoAnswer(f"the answer is longer than {limit:,} bytes")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)
