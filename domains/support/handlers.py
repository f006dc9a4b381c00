"""What a worker does with the events of support: find answers for who waits, tell the index and the pages the news."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from domains.support.documents import ANSWERS, QUESTIONS, REPLIES
from domains.support.learning.rankers import ensure_ranker
from domains.support.models import Conversation, Feedback, Message, Suggestion
from domains.support.services import DESK_TOPIC, conversation_topic
from domains.support.suggesting.drafts import Draft, asked_in, prepare, store
from domains.support.suggesting.suggest import active_fingerprint
from suite.domain import Handler
from suite.events.models import Event
from suite.index.services import touch
from suite.live.broadcast import broadcast
from suite.releases.runtime import encoder_for

KINDS = tuple(Feedback.Kind.values)


def index_answers(events: Sequence[Event], prepared: Any) -> None:
    """The documents of changed and removed answers are to be written again, and who is offered one sees it no more."""
    keys = {event.data["answer_id"] for event in events}
    touch(ANSWERS, keys)
    offered = Suggestion.objects.filter(state=Suggestion.State.OFFERED, answer__key__in=keys)
    tell_pages(set(offered.values_list("conversation__key", flat=True)))


def find_answers(events: Sequence[Event]) -> list[Draft]:
    """Suggestions for the conversations that wait for an agent now; none until a release serves."""
    keys = {event.data["conversation_id"] for event in events if event.data["author"] == Message.Author.CUSTOMER}
    waiting = Conversation.objects.filter(key__in=keys, state=Conversation.State.WAITING)
    return drafts_for(waiting)


def drafts_for(waiting: Iterable[Conversation]) -> list[Draft]:
    fingerprint = active_fingerprint()
    asked = asked_in(waiting)
    if not fingerprint or not asked:
        return []
    encoder = encoder_for(fingerprint)
    return prepare(asked, ensure_ranker(fingerprint, encoder), encoder)


def offer_answers(events: Sequence[Event], drafts: list[Draft]) -> None:
    keys = {event.data["conversation_id"] for event in events}
    tell_pages(keys)
    touch_replies(keys)
    store(drafts)


def show_states(events: Sequence[Event], prepared: Any) -> None:
    """A conversation that is solved, or no longer, gives its replies to later ones, or takes them back."""
    keys = {event.data["conversation_id"] for event in events}
    tell_pages(keys)
    touch_replies(keys)


def learn_feedback(events: Sequence[Event], prepared: Any) -> None:
    """The question that an agent decided on teaches later ones."""
    feedback = Feedback.objects.filter(event__in=[event.pk for event in events])
    found = list(feedback.values_list("suggestion__run", "suggestion__conversation__key"))
    tell_pages({key for _, key in found})
    touch(QUESTIONS, {str(run) for run, _ in found})


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
    "support.message.received": Handler(offer_answers, find_answers),
    "support.conversation.changed": Handler(show_states),
    **{f"support.suggestion.{kind}": Handler(learn_feedback) for kind in KINDS},
}
