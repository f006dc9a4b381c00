"""The HTTP API of commerce, for shop developers. A key with the scope `recommend` is needed.

Lists are made from the rows as they are at the request, so the one after a click knows of it. An id that holds odd
characters or slashes is percent-encoded in the path; ids of sessions travel in the query.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Concatenate, Literal, ParamSpec

from django.http import HttpRequest, JsonResponse
from ninja import Path, Query, Router, Schema

from domains.commerce import selectors
from domains.commerce.exposures import record_exposure
from domains.commerce.filters import BadFilter, parse_filters
from domains.commerce.models import Catalogue
from domains.commerce.selectors import EXCLUSIONS, NotFound, Person
from suite.events.auth import ApiKeyAuth
from suite.index.engine import Filter
from suite.problems import Problem, problem_responses

PLAIN = r"^[^\x00]*$"
router = Router(auth=ApiKeyAuth("recommend"))
Given = ParamSpec("Given")

Key = Annotated[str, Path(min_length=1, max_length=200, pattern=PLAIN)]
Amount = Annotated[int, Query(ge=1, le=100, description="how many items")]
CatalogueName = Annotated[str, Query(max_length=60, pattern=PLAIN, description="default: the first catalogue")]
Filters = Annotated[
    list[Annotated[str, Query(max_length=1_300)]],
    Query(
        description="`field:value` or `field:low..high`, on brand, category (any level), price, available and the "
        "item's own attributes. One field several times means any of the values; different fields must all hold.",
        examples=["brand:Castle", "price:10..50"],
    ),
]
Exclude = Annotated[
    str,
    Query(
        max_length=60,
        pattern=r"^(none|((seen|bought|dismissed),?)+)$",
        description="what to leave out: any of seen, bought, dismissed, joined by commas; or none",
    ),
]


class ItemBehind(Schema):
    """One of the person's own items behind a reason; `strength` is its share of the score."""

    item_id: str
    title: str
    kind: Literal["view", "cart", "purchase", "rating", "asked"]
    strength: float


class Reason(Schema):
    """What one channel says for an item: its share of the score, a sentence, and the items behind it."""

    channel: Literal["text", "together", "popular", "graph", "newest"]
    share: float
    text: str
    items: list[ItemBehind]


class ShownItem(Schema):
    item_id: str
    title: str
    category: str
    brand: str
    price: float | None
    currency: str
    available: bool
    score: float


class RecommendedItem(ShownItem):
    reasons: list[Reason]


class Recommendations(Schema):
    """`served_by` is blend where the person's own items decided, popular or newest where they could not. `degraded`
    names what could not be had, such as index_unavailable; the answer is made from the rest."""

    items: list[RecommendedItem]
    served_by: Literal["blend", "popular", "newest"]
    release: str
    degraded: list[str]
    catalogue: str
    history: int
    excluded: int


class SearchResults(Schema):
    items: list[ShownItem]
    served_by: Literal["index", "titles"]
    release: str
    degraded: list[str]
    catalogue: str


class CatalogueRow(Schema):
    catalogue: str
    title: str
    kind: str
    items: int


class Catalogues(Schema):
    catalogues: list[CatalogueRow]


class WholeItem(Schema):
    item_id: str
    title: str
    description: str
    category: str
    brand: str
    price: float | None
    currency: str
    available: bool
    attributes: dict[str, Any]
    created_at: str | None
    changed_at: str


EXAMPLE = {
    "items": [
        {
            "item_id": "chess-board-oak",
            "title": "Solid Oak Chess Board",
            "category": "Games > Chess",
            "brand": "Rookhaven",
            "price": 89.0,
            "currency": "EUR",
            "available": True,
            "score": 2.41,
            "reasons": [
                {
                    "channel": "together",
                    "share": 0.62,
                    "text": "Often chosen together, because you viewed “Boxwood Chess Pieces”",
                    "items": [
                        {
                            "item_id": "chess-pieces-boxwood",
                            "title": "Boxwood Chess Pieces",
                            "kind": "view",
                            "strength": 0.58,
                        }
                    ],
                }
            ],
        }
    ],
    "served_by": "blend",
    "release": "7f3a0c5d9b1e2f44",
    "degraded": [],
    "catalogue": "shop",
    "history": 3,
    "excluded": 3,
}
ERRORS = problem_responses(401, 403, 404, 422, 503)
LIST = ERRORS | {
    "responses": ERRORS["responses"]
    | {200: {"description": "OK", "content": {"application/json": {"example": EXAMPLE}}}}
}


def with_problems(
    view: Callable[Concatenate[HttpRequest, Given], dict[str, Any]],
) -> Callable[Concatenate[HttpRequest, Given], JsonResponse]:
    """Answer what is missing with 404 and a filter that cannot be read with 422; the dictionaries are ours and of the
    declared shape, so they are not validated once more on the way out."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Given.args, **kwargs: Given.kwargs) -> JsonResponse:
        try:
            return JsonResponse(view(request, *args, **kwargs))
        except NotFound as error:
            raise Problem(404, "Not found", str(error)) from None
        except BadFilter as error:
            errors = [{"field": "query.filter", "reason": str(error)}]
            raise Problem(422, "The request is not valid", f"filter: {error}", errors=errors) from None

    return answered


def asked(catalogue: str, filters: list[str]) -> tuple[Catalogue, tuple[Filter, ...]]:
    return selectors.find_catalogue(catalogue), parse_filters(filters)


@router.get("/users/{path:user_id}/recommendations", response={200: Recommendations}, openapi_extra=LIST)
@with_problems
def user_recommendations(
    request: HttpRequest,
    user_id: Key,
    k: Amount = 10,
    catalogue: CatalogueName = "",
    filter: Filters = [],  # noqa: B006  ninja copies it
    exclude: Exclude = "seen,bought,dismissed",
) -> dict[str, Any]:
    """What this user may want next, best first, each item with its reasons. Somebody unknown gets what is popular."""
    return recommended(Person(user_id), k, catalogue, filter, exclude)


@router.get("/sessions/recommendations", response={200: Recommendations}, openapi_extra=LIST)
@with_problems
def session_recommendations(
    request: HttpRequest,
    session_id: Annotated[str, Query(min_length=1, max_length=200, pattern=PLAIN)],
    k: Amount = 10,
    catalogue: CatalogueName = "",
    filter: Filters = [],  # noqa: B006
    exclude: Exclude = "seen,bought,dismissed",
) -> dict[str, Any]:
    """The same for somebody without an account, by what was done in this session."""
    return recommended(Person(session_id, is_session=True), k, catalogue, filter, exclude)


def recommended(person: Person, k: int, catalogue: str, filters: list[str], exclude: str) -> dict[str, Any]:
    """The list of one person, noted as shown to them."""
    found, conditions = asked(catalogue, filters)
    names = [name for name in exclude.split(",") if name in EXCLUSIONS]
    answer = selectors.recommendations(found, person, k, filters=conditions, exclude=names)
    record_exposure(person, "session" if person.is_session else "user", answer)
    return answer


@router.get("/items/{path:item_id}/similar", response={200: Recommendations}, openapi_extra=LIST)
@with_problems
def similar_items(
    request: HttpRequest,
    item_id: Key,
    k: Amount = 10,
    catalogue: CatalogueName = "",
    filter: Filters = [],  # noqa: B006
) -> dict[str, Any]:
    """Items like this one, by their text and by what people chose together."""
    found, filters = asked(catalogue, filter)
    answer = selectors.similar(found, item_id, k, filters=filters)
    record_exposure(None, "similar", answer)
    return answer


@router.get("/search", response={200: SearchResults}, openapi_extra=ERRORS)
@with_problems
def search_items(
    request: HttpRequest,
    q: Annotated[str, Query(min_length=1, max_length=2_000, pattern=PLAIN)],
    k: Amount = 20,
    catalogue: CatalogueName = "",
    filter: Filters = [],  # noqa: B006
) -> dict[str, Any]:
    """Items that match a text, by its words and by its meaning."""
    found, filters = asked(catalogue, filter)
    return selectors.search(found, q, k, filters=filters)


@router.get("/catalogues", response={200: Catalogues}, openapi_extra=problem_responses(401, 403, 503))
@with_problems
def list_catalogues(request: HttpRequest) -> dict[str, Any]:
    """Every catalogue, the default one first."""
    return {"catalogues": selectors.catalogues()}


@router.get("/items/{path:item_id}", response={200: WholeItem}, openapi_extra=ERRORS)
@with_problems
def get_item(request: HttpRequest, item_id: Key, catalogue: CatalogueName = "") -> dict[str, Any]:
    """Everything that is known of one item, as its newest event says."""
    return selectors.find_item(selectors.find_catalogue(catalogue), item_id)
