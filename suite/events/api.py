"""POST and GET /api/events: the stream's way in and its way out, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from ninja import Query, Router, Schema

from suite.domain import event_types
from suite.events.auth import ApiKeyAuth
from suite.events.decoding import TooManyItems, Unreadable, decode, is_batch
from suite.events.ingestion import BacklogFull, ingest
from suite.events.selectors import as_cloud_event, events_after
from suite.problems import Problem, problem_responses

ONE, MANY, EITHER = "application/cloudevents+json", "application/cloudevents-batch+json", "application/json"
BACKLOG_RETRY_SECONDS = 5
EVENT_SCHEMA: dict[str, Any] = {
    "title": "CloudEvent",
    "type": "object",
    "required": ["id", "source", "type", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1, "maxLength": 200},
        "source": {"type": "string", "minLength": 1, "maxLength": 200, "description": "with `id` names the event"},
        "type": {"type": "string", "enum": sorted(event_types())},
        "subject": {"type": "string", "maxLength": 200},
        "time": {"type": ["string", "number"], "description": "ISO 8601 or Unix seconds; default: now"},
        "data": {
            "type": "object",
            "anyOf": [{"title": name, **event_type.schema} for name, event_type in sorted(event_types().items())],
        },
    },
}
# Whatever is in an item, the request is answered with a result for it: so anything is valid here.
ITEM_SCHEMA = {"anyOf": [EVENT_SCHEMA, {"title": "anything else, which is answered as rejected"}]}
BATCH_SCHEMA = {"type": "array", "items": ITEM_SCHEMA, "maxItems": settings.MAX_BATCH_ITEMS}
INGEST_OPERATION = {
    "requestBody": {
        "required": True,
        "content": {
            MANY: {"schema": BATCH_SCHEMA},
            ONE: {"schema": {"not": {"type": "array"}, **ITEM_SCHEMA}},
            EITHER: {"schema": {"anyOf": [BATCH_SCHEMA, {"not": {"type": "array"}, **ITEM_SCHEMA}]}},
        },
    },
    **problem_responses(401, 403, 413, 415, 422, 429, 503),
}

router = Router()


class ItemResult(Schema):
    """`field` and `reason` are there where the event was rejected; `ignored` where its data held fields that the type
    does not have, which were not stored."""

    id: str
    status: Literal["accepted", "duplicate", "rejected"]
    field: str = ""
    reason: str = ""
    ignored: list[str] = []


class Results(Schema):
    results: list[ItemResult]


class EventPage(Schema):
    """Events as CloudEvents, each with its `sequence`; `after` is the sequence to ask on from."""

    events: list[dict[str, Any]]
    after: int


@router.post("", auth=ApiKeyAuth("ingest"), response={202: Results}, openapi_extra=INGEST_OPERATION)
def post_events(request: HttpRequest) -> JsonResponse:
    """Takes CloudEvents 1.0, one or a batch. Each item gets its own result, in order: accepted, duplicate or rejected
    with the field and the reason. A bad item does not sink its neighbours. Sending the same events again is safe."""
    kind = content_kind(request)
    body = read_body(request)
    if kind != EITHER and is_batch(body) != (kind == MANY):
        wanted = "a JSON list" if kind == MANY else "one JSON object"
        raise Problem(422, "The body does not fit its content type", f"{kind} wants {wanted}.")
    try:
        results = ingest(decode(body, settings.MAX_BATCH_ITEMS))
    except Unreadable as error:
        raise Problem(422, "The body cannot be read", f"It {error}.") from None
    except TooManyItems:
        limit = f"{settings.MAX_BATCH_ITEMS:,}"
        raise Problem(413, "Too many events in one request", f"The limit is {limit}; send several requests.") from None
    except BacklogFull:
        raise Problem(
            429, "Too many events wait to be handled", "Send these again later.", retry_after=BACKLOG_RETRY_SECONDS
        ) from None
    return JsonResponse({"results": [result.as_dict() for result in results]}, status=202)


def content_kind(request: HttpRequest) -> str:
    """The content type of the request. Raises `Problem` 415."""
    if request.content_type not in {ONE, MANY, EITHER}:
        raise Problem(415, "This content type is not taken", f"Send {MANY}, {ONE} or {EITHER}.")
    if (request.content_params or {}).get("charset", "utf-8").strip('"').lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise Problem(415, "This character set is not taken", "Send UTF-8.")
    return request.content_type


def read_body(request: HttpRequest) -> bytes:
    """The body, never more than the limit of it. Raises `Problem` 413, by the announced and by the actual size."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    announced = request.META.get("CONTENT_LENGTH") or "0"
    if not announced.isdigit() or int(announced) > limit or len(body := request.read(limit + 1)) > limit:
        raise Problem(413, "The body is too large", f"The limit is {limit:,} bytes; send several requests.")
    return body


@router.get("", auth=ApiKeyAuth("read"), response={200: EventPage}, openapi_extra=problem_responses(401, 403, 422, 503))
def get_events(
    request: HttpRequest,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="sequence of the last event that you have")] = 0,
    type: Annotated[str, Query(max_length=200, pattern=r"^[A-Za-z0-9_.-]*$", description="this type only")] = "",
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> JsonResponse:
    """Events in the order in which they were stored, those with a sequence above `after`. Ask again with the `after`
    of the answer: no event is ever missed."""
    events = events_after(after, event_type=type, limit=limit)
    items = [as_cloud_event(event) for event in events]
    return JsonResponse({"events": items, "after": events[-1].pk if events else after})
