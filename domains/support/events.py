"""What comes in for support: answers as they change, messages, states of conversations, and what agents did with
suggestions.

`validate_*` turn an envelope into the data to store, field by field. The rows are written by `services`, in the
transaction that stores the events.
"""

from __future__ import annotations

from typing import Any

from domains.support import services
from domains.support.learning.labels import record_labels
from domains.support.models import Conversation, Feedback, Message, Suggestion
from domains.support.privacy import mask
from suite.domain import EventType
from suite.events.envelope import Envelope, Rejected, kind_of, parse_time, text_field

MAX_KEY = 200
MAX_TITLE = 300
MAX_TEXT = 20_000  # characters of an answer or a message
MAX_SOURCE = 500
MAX_LANGUAGE = 20
MAX_REASON = 200
MAX_LABEL = 100
MAX_FACTS = 40  # of a customer
MAX_FACT = 1_000  # characters
AUTHORS = tuple(Message.Author.values)
STATES = tuple(Conversation.State.values)
KINDS = tuple(Feedback.Kind.values)


def validate_answer(envelope: Envelope) -> dict[str, Any]:
    """The fields of `support.answers`. A whole answer: what is left out is empty afterwards."""
    data = envelope.data
    text = text_field(data, "text", MAX_TEXT, prefix="data.")
    if not text.strip():
        raise Rejected("data.text", "must hold more than white space")
    return {
        "answer_id": text_field(data, "answer_id", MAX_KEY, prefix="data."),
        "title": text_field(data, "title", MAX_TITLE, required=False, prefix="data.").strip(),
        "text": text.strip(),
        "source": text_field(data, "source", MAX_SOURCE, required=False, prefix="data."),
        "language": text_field(data, "language", MAX_LANGUAGE, required=False, prefix="data."),
    }


def validate_removal(envelope: Envelope) -> dict[str, Any]:
    return {"answer_id": text_field(envelope.data, "answer_id", MAX_KEY, prefix="data.")}


def validate_message(envelope: Envelope) -> dict[str, Any]:
    """One message of a conversation, which begins with its first one. `agent` is the user name of who sent it."""
    data = envelope.data
    text = text_field(data, "text", MAX_TEXT, prefix="data.")
    if not text.strip():
        raise Rejected("data.text", "must hold more than white space")
    sent_at = data.get("sent_at")
    return {
        "conversation_id": text_field(data, "conversation_id", MAX_KEY, prefix="data."),
        "message_id": text_field(data, "message_id", MAX_KEY, prefix="data."),
        "text": text,
        "author": one_of(data, "author", AUTHORS, default="customer"),
        "customer": facts(data),
        "agent": text_field(data, "agent", 150, required=False, prefix="data."),
        "sent_at": None if sent_at in (None, "") else parse_time(sent_at, "data.sent_at").isoformat(),
    }


def validate_state(envelope: Envelope) -> dict[str, Any]:
    return {
        "conversation_id": text_field(envelope.data, "conversation_id", MAX_KEY, prefix="data."),
        "state": one_of(envelope.data, "state", STATES),
    }


def validate_feedback(envelope: Envelope) -> dict[str, Any]:
    """What an agent did with a suggestion that was offered. `text` is what was sent."""
    data = envelope.data
    uid = text_field(data, "suggestion_id", 32, prefix="data.")
    suggestion = Suggestion.objects.filter(uid=uid).only("position").first()
    if suggestion is None:
        raise Rejected("data.suggestion_id", "is not known; use the id that the suggestion was offered with")
    position = data.get("position")
    if position is not None and (isinstance(position, bool) or not isinstance(position, int) or position < 1):
        raise Rejected("data.position", "must be a whole number from 1")
    return {
        "suggestion_id": uid,
        "position": position or suggestion.position,
        "text": text_field(data, "text", MAX_TEXT, required=False, prefix="data."),
        "reason": text_field(data, "reason", MAX_REASON, required=False, prefix="data."),
        "agent": text_field(data, "agent", 150, required=False, prefix="data."),
    }


def validate_withdrawn(envelope: Envelope) -> dict[str, Any]:
    """What a message is about is not known any more. The text is masked, as it is wherever something learns from it."""
    by = text_field(envelope.data, "by", 150, required=False, prefix="data.")
    text = mask(text_field(envelope.data, "text", MAX_TEXT, prefix="data."))
    return {"text": text, "label": ""} | ({"by": by} if by else {})


def validate_label(envelope: Envelope) -> dict[str, Any]:
    """What a customer's message is about, in somebody's judgement."""
    return validate_withdrawn(envelope) | {"label": text_field(envelope.data, "label", MAX_LABEL, prefix="data.")}


def one_of(data: dict[str, Any], name: str, known: tuple[str, ...], default: str = "") -> str:
    value = data.get(name) or default
    if value not in known:
        raise Rejected(f"data.{name}", f"must be one of {', '.join(known)}")
    return value


def facts(data: dict[str, Any]) -> dict[str, Any]:
    """What is known of the customer: texts, numbers, true or false by name; nulls are left out."""
    given = data.get("customer")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Rejected("data.customer", f"must be an object, not {kind_of(given)}")
    if len(given) > MAX_FACTS:
        raise Rejected("data.customer", f"has {len(given)} fields, the limit is {MAX_FACTS}")
    checked = {}
    for name, value in given.items():
        if not name or len(name) > 60:
            raise Rejected("data.customer", "has a name that is empty or longer than 60 characters")
        if isinstance(value, list | dict):
            raise Rejected(f"data.customer.{name}", f"must be a text, a number, true or false, not {kind_of(value)}")
        if isinstance(value, str) and len(value) > MAX_FACT:
            raise Rejected(f"data.customer.{name}", f"is {len(value):,} characters long, the limit is {MAX_FACT:,}")
        if value is not None and value != "":
            checked[name] = value
    return checked


TEXT: dict[str, Any] = {"type": "string"}
TIME: dict[str, Any] = {"type": ["string", "number"], "description": "ISO 8601, or Unix seconds"}
KEY: dict[str, Any] = TEXT | {"minLength": 1, "maxLength": MAX_KEY}
ANSWER_SCHEMA = {
    "type": "object",
    "required": ["answer_id", "text"],
    "properties": {
        "answer_id": KEY,
        "title": TEXT | {"maxLength": MAX_TITLE},
        "text": TEXT | {"maxLength": MAX_TEXT, "description": "may hold variables such as {{customer.name}}"},
        "source": TEXT | {"maxLength": MAX_SOURCE, "description": "where it stands"},
        "language": TEXT | {"maxLength": MAX_LANGUAGE, "description": "BCP 47, such as en or zh-Hans"},
    },
}
REMOVAL_SCHEMA = {"type": "object", "required": ["answer_id"], "properties": {"answer_id": KEY}}
MESSAGE_SCHEMA = {
    "type": "object",
    "required": ["conversation_id", "message_id", "text"],
    "properties": {
        "conversation_id": KEY,
        "message_id": KEY,
        "text": TEXT | {"minLength": 1, "maxLength": MAX_TEXT},
        "author": {"enum": list(AUTHORS), "default": "customer"},
        "customer": {"type": "object", "description": "name, locale and other facts"},
        "agent": TEXT | {"maxLength": 150, "description": "user name of the agent who sent it"},
        "sent_at": TIME | {"description": "default: the event's time"},
    },
}
STATE_SCHEMA = {
    "type": "object",
    "required": ["conversation_id", "state"],
    "properties": {"conversation_id": KEY, "state": {"enum": list(STATES)}},
}
FEEDBACK_SCHEMA = {
    "type": "object",
    "required": ["suggestion_id"],
    "properties": {
        "suggestion_id": TEXT | {"maxLength": 32},
        "position": {
            "type": "integer",
            "minimum": 1,
            "description": "where it was shown; default: where it was offered",
        },
        "text": TEXT | {"maxLength": MAX_TEXT, "description": "what was sent"},
        "reason": TEXT | {"maxLength": MAX_REASON},
        "agent": TEXT | {"maxLength": 150, "description": "user name of the agent"},
    },
}
ABOUT: dict[str, Any] = {
    "text": TEXT | {"minLength": 1, "maxLength": MAX_TEXT},
    "by": TEXT | {"maxLength": 150, "description": "user name of who says so"},
}
LABEL_SCHEMA = {
    "type": "object",
    "required": ["text", "label"],
    "properties": ABOUT | {"label": TEXT | {"minLength": 1, "maxLength": MAX_LABEL}},
}
WITHDRAWN_SCHEMA = {"type": "object", "required": ["text"], "properties": ABOUT}
EVENT_TYPES = {
    "support.answer.changed": EventType(validate_answer, services.record_answers, True, ANSWER_SCHEMA),
    "support.answer.removed": EventType(validate_removal, services.record_removals, True, REMOVAL_SCHEMA),
    "support.message.received": EventType(validate_message, services.record_messages, True, MESSAGE_SCHEMA),
    "support.conversation.changed": EventType(validate_state, services.record_states, True, STATE_SCHEMA),
    "support.intent.labelled": EventType(validate_label, record_labels, False, LABEL_SCHEMA),
    "support.intent.withdrawn": EventType(validate_withdrawn, record_labels, False, WITHDRAWN_SCHEMA),
    **{
        f"support.suggestion.{kind}": EventType(validate_feedback, services.record_feedback, True, FEEDBACK_SCHEMA)
        for kind in KINDS
    },
}
