"""The one websocket, at /live/. A page sends `{"subscribe": [token, ...]}`, all topics that it shows now, and is told
where each one stands; a topic that it named before and names no more is left.

Frames are `{"topic", "sequence", "at"}`, at most ten a second for a topic, only ever forward. Every two seconds a
heartbeat `{"sequences": {topic: sequence}, "at"}` reads the rows: it repairs frames that were lost, carries news
between processes that share no channel layer, and its absence tells the page that it is stale. `at` is Unix seconds.
A frame that cannot be taken is answered `{"error": code, "detail": text}`; the socket stays open.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.core import signing
from django.db import DatabaseError

from suite.live.broadcast import group, topic_of
from suite.live.selectors import sequences

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 2.0
FRAME_SECONDS = 0.1  # least time between two frames of one topic
MAX_TOPICS = 50  # of one socket
MAX_FRAME = 64 * 2**10  # characters of a frame that a page sends


class BadFrame(Exception):
    """A frame that cannot be taken: a stable code for the page, a sentence for who reads the console."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class TopicConsumer(AsyncJsonWebsocketConsumer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known: dict[str, int] = {}  # topic -> newest sequence heard of
        self.told: dict[str, int] = {}  # topic -> sequence the page was last told
        self.told_at: dict[str, float] = {}  # topic -> monotonic time of its last frame
        self.waiting: set[asyncio.Task[None]] = set()  # frames held back, at most one a topic
        self.heart: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await self.accept()
        self.heart = asyncio.create_task(self.beat())

    async def disconnect(self, code: int) -> None:
        for task in (self.heart, *self.waiting):
            if task is not None:
                task.cancel()
        for topic in self.known:
            await self.channel_layer.group_discard(group(topic), self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        try:
            await self.subscribe(subscription(text_data))
        except BadFrame as error:
            await self.send_json({"error": error.code, "detail": error.detail})

    async def subscribe(self, topics: list[str]) -> None:
        """Listen to these topics and no others, then tell where each one stands. Asking again is how a page resyncs."""
        if len(topics) > MAX_TOPICS:
            raise BadFrame("too-many-topics", f"one socket listens to at most {MAX_TOPICS} topics")
        for topic in self.known.keys() - set(topics):
            del self.known[topic]
            await self.channel_layer.group_discard(group(topic), self.channel_name)
        for topic in [topic for topic in topics if topic not in self.known]:
            self.known[topic] = 0
            await self.channel_layer.group_add(group(topic), self.channel_name)
        for topic, sequence in (await self.read(topics)).items():
            self.known[topic] = max(sequence, self.known[topic])
            await self.tell(topic)

    async def topic_moved(self, message: dict[str, Any]) -> None:
        """From `broadcast`, through the channel layer."""
        topic, sequence = message["topic"], message["sequence"]
        if sequence <= self.known.get(topic, sequence):
            return
        is_quiet = self.known[topic] == self.told.get(topic)
        self.known[topic] = sequence
        if is_quiet:  # otherwise a frame is held back already and will carry this sequence
            task = asyncio.create_task(self.tell_soon(topic))
            self.waiting.add(task)
            task.add_done_callback(self.waiting.discard)

    async def tell_soon(self, topic: str) -> None:
        await asyncio.sleep(max(0.0, self.told_at.get(topic, 0.0) + FRAME_SECONDS - time.monotonic()))
        if topic in self.known and self.told.get(topic) != self.known[topic]:  # else a heartbeat was quicker
            await self.tell(topic)

    async def tell(self, topic: str) -> None:
        self.told[topic] = self.known[topic]
        self.told_at[topic] = time.monotonic()
        await self.send_json({"topic": topic, "sequence": self.known[topic], "at": now()})

    async def send_json(self, content: Any, close: bool = False) -> None:
        """Nothing is to be done where the page has gone meanwhile: `disconnect` follows."""
        with suppress(OSError):
            await super().send_json(content, close)

    async def beat(self) -> None:
        """While the rows cannot be read no heartbeat goes out, and the page says that it is stale."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                current = await self.read(list(self.known))
            except BadFrame:
                continue
            current = {topic: sequence for topic, sequence in current.items() if topic in self.known}  # not left since
            for topic, sequence in current.items():
                self.known[topic] = self.told[topic] = max(sequence, self.known[topic])
            await self.send_json({"sequences": {topic: self.known[topic] for topic in current}, "at": now()})

    async def read(self, topics: list[str]) -> dict[str, int]:
        try:
            return await database_sync_to_async(sequences)(topics)
        except DatabaseError as error:
            log.warning("live topics could not be read (%s)", type(error).__name__)
            raise BadFrame("unavailable", "the topics cannot be read now; ask again") from error


def now() -> float:
    return round(time.time(), 3)


def subscription(text: str | None) -> list[str]:
    """The topics that a frame asks for. Raises `BadFrame`."""
    if text is None or len(text) > MAX_FRAME:
        raise BadFrame("bad-frame", f"send a JSON text of at most {MAX_FRAME:,} characters")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFrame("bad-frame", "the frame is not JSON") from None
    tokens = content.get("subscribe") if isinstance(content, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(item, str) for item in tokens):
        raise BadFrame("bad-frame", 'send {"subscribe": [token, ...]}')
    try:
        return list(dict.fromkeys(topic_of(item) for item in tokens))
    except signing.SignatureExpired:
        raise BadFrame("expired", "a token is more than a day old; load the page again") from None
    except signing.BadSignature:
        raise BadFrame("bad-token", "a token was not made by this server") from None
