"""What a worker does with the events of support: tell the index and the pages what changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from domains.support.documents import ANSWERS, QUESTIONS, REPLIES
from domains.support.models import Feedback, Message
from domains.support.services import DESK_TOPIC, conversation_topic
from suite.domain import Handler
from suite.events.models import Event
from suite.index.services import touch
from suite.live.broadcast import broadcast

KINDS = tuple(Feedback.Kind.values)


def index_answers(events: Sequence[Event], prepared: Any) -> None:
    """The documents of changed and removed answers are to be written again."""
    touch(ANSWERS, {event.data["answer_id"] for event in events})


def show_messages(events: Sequence[Event], prepared: Any) -> None:
    keys = {event.data["conversation_id"] for event in events}
    touch_replies(keys)
    tell_pages(keys)


def show_states(events: Sequence[Event], prepared: Any) -> None:
    """A conversation that is solved, or no longer, gives its replies to later ones, or takes them back."""
    keys = {event.data["conversation_id"] for event in events}
    touch_replies(keys)
    tell_pages(keys)


def learn_feedback(events: Sequence[Event], prepared: Any) -> None:
    """The question that an agent decided on teaches later ones."""
    feedback = Feedback.objects.filter(event__in=[event.pk for event in events])
    found = list(feedback.values_list("suggestion__run", "suggestion__conversation__key"))
    touch(QUESTIONS, {str(run) for run, _ in found})
    tell_pages({key for _, key in found})


def touch_replies(keys: Iterable[str]) -> None:
    replies = Message.objects.filter(conversation__key__in=list(keys), author=Message.Author.AGENT)
    touch(REPLIES, {str(pk) for pk in replies.values_list("pk", flat=True)})


def tell_pages(keys: Iterable[str]) -> None:
    topics = {conversation_topic(key) for key in keys}
    if topics:
        broadcast({DESK_TOPIC, *topics})


HANDLERS = {
    "support.answer.changed": Handler(index_answers),
    "support.answer.removed": Handler(index_answers),
    "support.message.received": Handler(show_messages),
    "support.conversation.changed": Handler(show_states),
    **{f"support.suggestion.{kind}": Handler(learn_feedback) for kind in KINDS},
}
