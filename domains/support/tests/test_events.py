"""Events of support: what is refused and how, and that any order and number of them ends in the same rows."""

from __future__ import annotations

import random
from typing import Any

import pytest

from domains.support.models import Answer, Conversation, Message
from domains.support.tests.events import answer, event, message, state, take
from suite.events.ingestion import ingest

pytestmark = pytest.mark.django_db


def rows() -> Any:
    conversations = Conversation.objects.order_by("key").values_list(
        "key", "state", "waiting_since", "opened_at", "last_message_at", "revision", "customer", "set_state"
    )
    messages = Message.objects.order_by("conversation__key", "key").values_list("key", "author", "text", "customer")
    answers = Answer.objects.order_by("key").values_list("key", "title", "text", "is_removed", "changed_by")
    return list(conversations), list(messages), list(answers)


STREAM = [
    answer("a", "old", minute=1),
    answer("a", "new", minute=3),
    event("answer.removed", {"answer_id": "b"}, minute=4),
    answer("b", "gone", minute=2),
    message("hello?", minute=5, id="1", customer={"name": "Bo", "order": "7"}),
    message("anybody?", minute=6, id="2", customer={"name": "Bodo"}),
    message("Yes!", minute=8, id="3", author="agent"),
    state("solved", minute=9),
    message("it is back", minute=11, id="4"),
    message("other", "d", minute=1, id="1"),
    state("solved", "d", minute=2),
    state("open", "d", minute=3),
]


@pytest.mark.parametrize("seed", range(6))
def test_any_order_and_any_number_of_times_end_in_the_same_rows(seed: int) -> None:
    take(*STREAM)
    expected = rows()
    Conversation.objects.all().delete()
    Answer.objects.all().delete()
    shuffled = [{**one, "source": f"again {seed}"} for one in STREAM]
    random.Random(seed).shuffle(shuffled)
    for one in shuffled:
        take(one)
    take(*shuffled)
    conversations, messages, answers = rows()
    assert (conversations, messages) == expected[:2]
    assert [one[:4] for one in answers] == [one[:4] for one in expected[2]]


def test_what_the_stream_says() -> None:
    take(*STREAM)
    first = Conversation.objects.get(key="c")
    assert (first.state, first.revision, first.customer) == ("waiting", 3, {"name": "Bodo", "order": "7"})
    assert first.waiting_since is not None and first.waiting_since.minute == 11  # the reply answered what came before
    assert Conversation.objects.get(key="d").state == "open"
    assert Answer.objects.get(key="a").text == "new" and Answer.objects.get(key="b").is_removed


WRONG = [
    ("answer.changed", {"text": "x"}, "data.answer_id", "is required"),
    ("answer.changed", {"answer_id": "a"}, "data.text", "is required"),
    ("answer.changed", {"answer_id": "a", "text": " \n"}, "data.text", "white space"),
    ("answer.changed", {"answer_id": "a", "text": "x" * 20_001}, "data.text", "the limit is 20,000"),
    ("answer.removed", {"answer_id": 7}, "data.answer_id", "must be a text"),
    ("message.received", {"conversation_id": "c", "message_id": "m", "text": ""}, "data.text", "is required"),
    ("message.received", {"conversation_id": "c", "message_id": "m", "text": "x" * 100_000}, "data.text", "100,000"),
    (
        "message.received",
        {"conversation_id": "c", "message_id": "m", "text": "a", "author": "bot"},
        "data.author",
        "one of",
    ),
    (
        "message.received",
        {"conversation_id": "c", "message_id": "m", "text": "a", "customer": 3},
        "data.customer",
        "object",
    ),
    (
        "message.received",
        {"conversation_id": "c", "message_id": "m", "text": "a", "customer": {"x": []}},
        "data.customer.x",
        "must be",
    ),
    (
        "message.received",
        {"conversation_id": "c", "message_id": "m", "text": "a", "sent_at": "then"},
        "data.sent_at",
        "ISO",
    ),
    ("conversation.changed", {"conversation_id": "c", "state": "lost"}, "data.state", "open, waiting, solved"),
    ("suggestion.accepted", {"suggestion_id": "none"}, "data.suggestion_id", "is not known"),
]


@pytest.mark.parametrize(("kind", "data", "field", "words"), WRONG)
def test_what_is_wrong_is_named(kind: str, data: dict[str, Any], field: str, words: str) -> None:
    [result] = ingest([event(kind, data)])
    assert (result.status, result.field) == ("rejected", field)
    assert words in result.reason and len(result.reason) < 200


def test_html_and_script_are_text_and_stay_text() -> None:
    text = "<script>alert(1)</script> & {{ customer.name }} \u202e"
    take(message(text))
    assert Message.objects.get().text == text
