"""From the bytes of a request or message to decoded events. Nothing here is stored, and nothing large is built: a batch
is read item by item and given up at the first one too many.
"""

from __future__ import annotations

import json
import re

from suite.events.envelope import Rejected

SPACE = re.compile(r"[ \t\n\r]*")


class Unreadable(Exception):
    """The bytes are not what their content type says; the message says why, without quoting them."""


class TooManyItems(Exception):
    """A batch holds more items than the limit."""


def decode(body: bytes, limit: int) -> list[object]:
    """The items of a JSON list, or the one item that any other JSON value is.

    An item with a repeated name is replaced by the `Rejected` that says so. Raises `Unreadable`, `TooManyItems`.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 (byte {error.start + 1})") from None
    start = _after_space(text, 0)
    if text.startswith("[", start):
        items, end = _items(text, start + 1, limit)
    else:
        item, end = _Reader().read(text, start)
        items = [item]
    end = _after_space(text, end)
    if end != len(text):
        raise Unreadable(f"is not JSON (more follows after its end, character {end + 1})")
    return items


def is_batch(body: bytes) -> bool:
    """Whether the first thing in the body is the bracket of a list."""
    return body[:100].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\n\r").startswith(b"[")


def _items(text: str, at: int, limit: int) -> tuple[list[object], int]:
    """The items of the list whose opening bracket stands before `at`, and where the list ends."""
    reader = _Reader()
    items: list[object] = []
    at = _after_space(text, at)
    if text.startswith("]", at):
        return items, at + 1
    while True:
        if len(items) == limit:
            raise TooManyItems
        item, at = reader.read(text, at)
        items.append(item)
        at = _after_space(text, at)
        if text.startswith("]", at):
            return items, at + 1
        if not text.startswith(",", at):
            raise Unreadable(f"is not JSON (a comma or the end of the list is missing, character {at + 1})")
        at = _after_space(text, at + 1)


class _Reader:
    """Reads one JSON value at a time and notes names that are repeated in one object."""

    def __init__(self) -> None:
        self.has_repeats = False
        self.decoder = json.JSONDecoder(object_pairs_hook=self.collect)

    def collect(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        self.has_repeats |= len(found) != len(pairs)
        return found

    def read(self, text: str, at: int) -> tuple[object, int]:
        """The value that starts at `at` and where it ends; a `Rejected` in its place where a name is repeated."""
        self.has_repeats = False
        try:
            item, end = self.decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise Unreadable(f"is not JSON ({error.msg}, character {error.pos + 1})") from None
        except ValueError:
            raise Unreadable("holds a number with too many digits") from None
        except RecursionError:
            raise Unreadable("is nested too deep") from None
        if self.has_repeats:
            return Rejected("event", "names the same field twice in one object"), end
        return item, end


def _after_space(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at
