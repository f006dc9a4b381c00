"""The socket, spoken to as a page speaks to it. Rows are really committed, so these tests are transactional."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core import signing
from django.db import transaction
from django.template import Context, Template

from suite.live import consumer
from suite.live.broadcast import SALT, broadcast, token, topic_of
from suite.live.consumer import TopicConsumer
from suite.live.models import Topic
from suite.live.selectors import live_topic, sequences

pytestmark = pytest.mark.django_db(transaction=True)
SCOPE = {"type": "websocket", "path": "/live/", "headers": [], "query_string": b"", "subprotocols": []}


class Socket(ApplicationCommunicator):
    """A page's end of the websocket."""

    def __init__(self) -> None:
        super().__init__(TopicConsumer.as_asgi(), SCOPE)

    async def open(self) -> Socket:
        await self.send_input({"type": "websocket.connect"})
        assert (await self.receive_output(5))["type"] == "websocket.accept"
        return self

    async def say(self, text: str | None = None, **content: Any) -> None:
        await self.send_input({"type": "websocket.receive", "text": text if text is not None else json.dumps(content)})

    async def hear(self, timeout: float = 5) -> dict[str, Any]:
        return json.loads((await self.receive_output(timeout))["text"])

    async def hear_topic(self, name: str, sequence: int) -> dict[str, Any]:
        """The first frame that puts the topic at `sequence`, whatever comes before it."""
        while True:
            frame = await self.hear()
            if frame.get("topic") == name and frame["sequence"] >= sequence:
                return frame

    async def close(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(5)


@pytest.fixture
async def socket() -> AsyncIterator[Socket]:
    page = await Socket().open()
    yield page
    await page.close()


async def moved(*topics: str) -> None:
    await sync_to_async(broadcast)(topics)


async def test_a_page_is_told_where_its_topics_stand_and_then_what_moves(socket: Socket) -> None:
    await moved("shop.a")
    await moved("shop.a")
    await socket.say(subscribe=[token("shop.a"), token("shop.b")])
    first = await socket.hear()
    assert (first["topic"], first["sequence"]) == ("shop.a", 2)
    assert await socket.hear() | {"at": 0} == {"topic": "shop.b", "sequence": 0, "at": 0}

    await moved("shop.b")
    assert (await socket.hear_topic("shop.b", 1))["sequence"] == 1


async def test_a_rolled_back_transaction_tells_nobody(socket: Socket) -> None:
    await socket.say(subscribe=[token("shop.a")])
    await socket.hear()

    def fail() -> None:
        with transaction.atomic():
            broadcast(["shop.a"])
            raise LookupError

    with pytest.raises(LookupError):
        await sync_to_async(fail)()
    assert await socket.receive_nothing(0.3)
    assert await sync_to_async(Topic.objects.count)() == 0


async def test_a_burst_becomes_few_frames_and_ends_at_the_last_sequence(socket: Socket) -> None:
    await socket.say(subscribe=[token("shop.a")])
    await socket.hear()
    for _ in range(30):
        await moved("shop.a")
    frames = [await socket.hear_topic("shop.a", 1)]
    while frames[-1]["sequence"] < 30:
        frames.append(await socket.hear_topic("shop.a", 1))
    told = [frame["sequence"] for frame in frames]
    assert told == sorted(set(told))
    assert all(later["at"] - sooner["at"] >= 0.095 for sooner, later in pairwise(frames))


async def test_the_heartbeat_finds_what_no_frame_told(socket: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "HEARTBEAT_SECONDS", 0.2)
    page = await Socket().open()
    await page.say(subscribe=[token("shop.a"), token("shop.b")])
    await page.hear()
    await page.hear()
    monkeypatch.setattr("suite.live.broadcast.get_channel_layer", lambda: None)  # as from a process without Redis
    await moved("shop.a")
    for _ in range(20):
        frame = await page.hear()
        if frame["sequences"]["shop.a"]:
            break
    assert frame["sequences"] == {"shop.a": 1, "shop.b": 0}
    await page.close()


async def test_news_from_a_thread_with_its_own_loop_wakes_the_page_at_once(
    socket: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "HEARTBEAT_SECONDS", 600)  # only the frame can bring it
    page = await Socket().open()
    await page.say(subscribe=[token("shop.a")])
    await page.hear()
    hearing = asyncio.create_task(page.hear_topic("shop.a", 1))
    await asyncio.sleep(0.05)
    worker = threading.Thread(target=broadcast, args=(["shop.a"],))
    worker.start()
    assert (await asyncio.wait_for(hearing, 5))["sequence"] == 1
    worker.join()
    await page.close()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "bad-frame"),
        ("[" * 100_000, "bad-frame"),
        ('"subscribe"', "bad-frame"),
        ('{"subscribe": "shop.a"}', "bad-frame"),
        ('{"subscribe": [1]}', "bad-frame"),
        ('{"subscribe": ["shop.a"]}', "bad-token"),
        ("x" * 70_000, "bad-frame"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_socket_goes_on(socket: Socket, text: str, code: str) -> None:
    await socket.say(text)
    answer = await socket.hear()
    assert answer["error"] == code
    assert answer["detail"]
    await socket.say(subscribe=[token("shop.a")])
    assert (await socket.hear_topic("shop.a", 0))["sequence"] == 0


async def test_a_binary_frame_is_answered(socket: Socket) -> None:
    await socket.send_input({"type": "websocket.receive", "bytes": b"\x00"})
    assert (await socket.hear())["error"] == "bad-frame"


async def test_a_socket_listens_to_a_bounded_number_of_topics(socket: Socket) -> None:
    await socket.say(subscribe=[token(f"shop.{n}") for n in range(consumer.MAX_TOPICS + 1)])
    assert (await socket.hear())["error"] == "too-many-topics"


async def test_a_page_that_shows_another_topic_leaves_the_one_before(socket: Socket) -> None:
    for number in range(consumer.MAX_TOPICS + 1):  # one after the other, as many as anybody opens in a day
        await socket.say(subscribe=[token("shop.list"), token(f"shop.{number}")])
        assert (await socket.hear_topic(f"shop.{number}", 0))["sequence"] == 0
    await moved("shop.0", "shop.list")
    assert (await socket.hear_topic("shop.list", 1))["sequence"] == 1
    while "sequences" not in (frame := await socket.hear()):
        assert frame["topic"] != "shop.0"
    assert frame["sequences"].keys() == {"shop.list", f"shop.{consumer.MAX_TOPICS}"}


async def test_a_token_of_another_server_or_of_last_week_opens_nothing(socket: Socket) -> None:
    await socket.say(subscribe=[signing.dumps("shop.a", key="another", salt=SALT)])
    assert (await socket.hear())["error"] == "bad-token"
    old = signing.TimestampSigner(salt=SALT)
    old.timestamp = lambda: signing.b62_encode(1_600_000_000)  # type: ignore[method-assign]
    await socket.say(subscribe=[old.sign_object("shop.a")])
    assert (await socket.hear())["error"] == "expired"


async def test_subscribing_again_is_a_resync(socket: Socket) -> None:
    await socket.say(subscribe=[token("shop.a")])
    await socket.hear()
    await moved("shop.a")
    await socket.hear_topic("shop.a", 1)
    await socket.say(subscribe=[token("shop.a")])
    assert (await socket.hear_topic("shop.a", 1))["sequence"] == 1


def test_sequences_are_counted_for_every_topic_of_a_large_broadcast() -> None:
    names = [f"shop.{n}" for n in range(2_500)]
    broadcast([*names, "shop.0"])
    broadcast(["shop.7"])
    assert Topic.objects.count() == 2_500
    assert sequences(["shop.0", "shop.7", "shop.never"]) == {"shop.0": 1, "shop.7": 2, "shop.never": 0}


def test_the_template_tag_signs_the_name_and_says_where_the_topic_stood() -> None:
    broadcast(['shop.<"&>'])
    topic = live_topic('shop.<"&>')
    html = Template("{% load live %}<p {% live_topic topic %}></p>").render(Context({"topic": topic}))
    assert 'data-live-sequence="1"' in html
    assert 'data-live-topic="shop.&lt;&quot;&amp;&gt;"' in html
    assert topic_of(topic.token) == 'shop.<"&>'
