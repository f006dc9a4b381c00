"""The HTTP API of support, for those who build a chat, a desk or a bot on it. A key with the scope `suggest` is needed.

What comes in is an event like any other, so a request that is sent twice with the same ids changes nothing the second
time. Ids with odd characters or slashes are percent-encoded in the path.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Concatenate, Literal, ParamSpec

from django.http import HttpRequest, JsonResponse
from ninja import Path, Query, Router, Schema
from pydantic import Field

from domains.support import bare, selectors
from domains.support.events import MAX_KEY, MAX_TEXT
from domains.support.models import Answer, Message
from domains.support.selectors import NotFound, ShownSuggestion, Suggestions
from suite.events.auth import ApiKeyAuth
from suite.events.ingestion import BacklogFull, ingest
from suite.problems import Problem, problem_responses

PLAIN = r"^[^\x00]*$"
SOURCE = "api"
BACKLOG_RETRY_SECONDS = 5
router = Router(auth=ApiKeyAuth("suggest"))
Given = ParamSpec("Given")
Key = Annotated[str, Path(min_length=1, max_length=MAX_KEY, pattern=PLAIN)]
GivenKey = Annotated[str, Field(max_length=MAX_KEY, pattern=PLAIN, description="default: a new one")]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, pattern=PLAIN)]


class NewConversation(Schema):
    """A customer's first message."""

    text: Text
    conversation_id: GivenKey = ""
    message_id: GivenKey = ""
    customer: Annotated[dict[str, Any], Field(description="name, locale and other facts; texts and numbers")] = {}


class NewMessage(Schema):
    text: Text
    message_id: GivenKey = ""
    author: Literal["customer", "agent"] = "customer"
    agent: Annotated[str, Field(max_length=150, pattern=PLAIN, description="user name of an agent who wrote it")] = ""
    customer: dict[str, Any] = {}


class Question(Schema):
    text: Text
    k: Annotated[int, Field(ge=1, le=20)] = 5


class Taken(Schema):
    """The ids under which a message was stored."""

    conversation_id: str
    message_id: str
    status: Literal["accepted", "duplicate"]


class ThreadMessage(Schema):
    message_id: str
    author: Literal["customer", "agent"]
    text: str
    sent_at: str


class ConversationThread(Schema):
    """`messages` holds the newest 500, oldest first."""

    conversation_id: str
    state: Literal["open", "waiting", "solved"]
    customer: dict[str, Any]
    messages: list[ThreadMessage]


class SuggestionPart(Schema):
    text: str
    source: str


class SuggestionRow(Schema):
    """`composed` is what taking it inserts, made of `parts`; `missing` names variables that are not known.
    `sentence` is where the sentence that answers begins and ends in `text`."""

    suggestion_id: str
    position: int
    pool: Literal["answer", "reply"]
    answer_id: str
    title: str
    text: str
    source: str
    language: str
    sentence: list[int]
    composed: str
    parts: list[SuggestionPart]
    missing: list[str]
    confidence: float
    why: list[str]
    state: str


class ConversationSuggestions(Schema):
    """`outcome` is offered, nothing_good (the best was below the threshold), withdrawn, pending (ask again in a moment,
    or listen) or none (no customer waits). `degraded` names what could not be had."""

    conversation_id: str
    outcome: Literal["offered", "nothing_good", "withdrawn", "pending", "none"]
    suggestions: list[SuggestionRow]
    best_confidence: float
    threshold: float
    release: str
    degraded: list[str]


class BareSuggestion(Schema):
    """One answer to a bare text; nothing is stored."""

    position: int
    pool: Literal["answer", "reply"]
    answer_id: str
    title: str
    text: str
    source: str
    sentence: list[int]
    confidence: float
    why: list[str]


class BareSuggestions(Schema):
    items: list[BareSuggestion]
    outcome: Literal["offered", "nothing_good"]
    best_confidence: float
    threshold: float
    release: str
    degraded: list[str]


class AnswerRow(Schema):
    answer_id: str
    title: str
    text: str
    source: str
    language: str
    changed_at: str


class Answers(Schema):
    answers: list[AnswerRow]
    after: str


ERRORS = problem_responses(401, 403, 404, 422, 429, 503)


def with_problems(
    view: Callable[Concatenate[HttpRequest, Given], tuple[int, dict[str, Any]]],
) -> Callable[Concatenate[HttpRequest, Given], JsonResponse]:
    """Answer what is missing with 404, a full backlog with 429; the dictionaries are ours and of the declared shape."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Given.args, **kwargs: Given.kwargs) -> JsonResponse:
        try:
            status, body = view(request, *args, **kwargs)
        except NotFound as error:
            raise Problem(404, "Not found", str(error)) from None
        except BacklogFull:
            raise Problem(
                429,
                "Too many events wait to be handled",
                "Send it again later.",
                retry_after=BACKLOG_RETRY_SECONDS,
            ) from None
        return JsonResponse(body, status=status)

    return answered


@router.post("/conversations", response={201: Taken}, openapi_extra=ERRORS)
@with_problems
def start_conversation(request: HttpRequest, body: NewConversation) -> tuple[int, dict[str, Any]]:
    """A customer begins a conversation. Suggestions for it are there a moment later."""
    return take_message(body.conversation_id or uuid.uuid4().hex, body.message_id, body.text, customer=body.customer)


@router.post("/conversations/{path:conversation_id}/messages", response={201: Taken}, openapi_extra=ERRORS)
@with_problems
def add_message(request: HttpRequest, conversation_id: Key, body: NewMessage) -> tuple[int, dict[str, Any]]:
    """One more message, of the customer or of an agent."""
    selectors.find_conversation(conversation_id)
    return take_message(
        conversation_id, body.message_id, body.text, author=body.author, agent=body.agent, customer=body.customer
    )


def take_message(key: str, message: str, text: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """Ingest it; a message id is its event's id, so the same one is taken once."""
    message = message or uuid.uuid4().hex
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{key}\n{message}").hex
    data = {"conversation_id": key, "message_id": message, "text": text} | more
    [result] = ingest([{"id": name, "source": SOURCE, "type": "support.message.received", "data": data}])
    if result.status == "rejected":
        field = result.field.removeprefix("data.")
        errors = [{"field": f"body.{field}", "reason": result.reason}]
        raise Problem(422, "The request is not valid", f"{field} {result.reason}", errors=errors)
    return 201, {"conversation_id": key, "message_id": message, "status": result.status}


@router.get(
    "/conversations/{path:conversation_id}/suggestions", response={200: ConversationSuggestions}, openapi_extra=ERRORS
)
@with_problems
def conversation_suggestions(request: HttpRequest, conversation_id: Key) -> tuple[int, dict[str, Any]]:
    """What is suggested for the customer's newest message. Answer with `support.suggestion.accepted`, `.edited`,
    `.rejected` or `.ignored` events: the ranking learns from them."""
    return 200, {"conversation_id": conversation_id} | as_json(selectors.suggestions_for(conversation_id))


@router.get("/conversations/{path:conversation_id}", response={200: ConversationThread}, openapi_extra=ERRORS)
@with_problems
def get_conversation(request: HttpRequest, conversation_id: Key) -> tuple[int, dict[str, Any]]:
    found = selectors.thread(conversation_id)
    return 200, {
        "conversation_id": conversation_id,
        "state": found.conversation.state,
        "customer": found.conversation.customer,
        "messages": [message_row(message) for message in found.messages],
    }


@router.post("/suggest", response={200: BareSuggestions}, openapi_extra=ERRORS)
@with_problems
def suggest(request: HttpRequest, body: Question) -> tuple[int, dict[str, Any]]:
    """Answers to a bare text. Nothing is stored, and nothing learns from it."""
    return 200, bare.suggest_text(body.text, body.k)


@router.get("/answers", response={200: Answers}, openapi_extra=problem_responses(401, 403, 422, 503))
@with_problems
def list_answers(
    request: HttpRequest,
    after: Annotated[
        str, Query(max_length=MAX_KEY, pattern=PLAIN, description="the `after` of the answer before")
    ] = "",
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    q: Annotated[str, Query(max_length=200, pattern=PLAIN, description="words in title, text or id")] = "",
) -> tuple[int, dict[str, Any]]:
    """Answers in the order of their ids; those that match words where `q` is given."""
    rows = selectors.answers_after(after, limit, q)
    return 200, {"answers": [answer_row(row) for row in rows], "after": rows[-1].key if rows else after}


def message_row(message: Message) -> dict[str, Any]:
    return {
        "message_id": message.key,
        "author": message.author,
        "text": message.text,
        "sent_at": message.sent_at.isoformat(),
    }


def answer_row(row: Answer) -> dict[str, Any]:
    return {
        "answer_id": row.key,
        "title": row.title,
        "text": row.text,
        "source": row.source,
        "language": row.language,
        "changed_at": row.changed_at.isoformat(),
    }


def as_json(found: Suggestions) -> dict[str, Any]:
    return {
        "outcome": found.outcome,
        "suggestions": [suggestion_row(item) for item in found.items],
        "best_confidence": round(found.best_confidence, 6),
        "threshold": found.threshold,
        "release": found.release,
        "degraded": found.degraded,
    }


def suggestion_row(item: ShownSuggestion) -> dict[str, Any]:
    return {
        "suggestion_id": item.uid,
        "position": item.position,
        "pool": item.pool,
        "answer_id": item.answer_key,
        "title": item.title,
        "text": item.text,
        "source": item.source,
        "language": item.language,
        "sentence": list(item.sentence),
        "composed": item.composed,
        "parts": item.parts,
        "missing": item.missing,
        "confidence": round(item.confidence, 6),
        "why": item.why,
        "state": item.state,
    }
