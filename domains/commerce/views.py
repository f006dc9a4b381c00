"""The storefront: search and browse, an item's page, a list "for you" that follows what the visitor does.

A click is an event like any other and goes the one way in. The list is not in its answer: it comes when the worker has
handled the event, and the page hears of it over the socket.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from domains.commerce import selectors, storefront
from domains.commerce.filters import Filter, parse_filters
from domains.commerce.models import Catalogue
from domains.commerce.visitors import Visitor, may_choose, remember, users_to_choose, visitor_of
from suite.events.ingestion import BacklogFull, ingest
from suite.index.selectors import QUERY_VECTOR_PENDING
from suite.live.selectors import live_topic

SOURCE = "storefront"
FOR_YOU_ITEMS = 10
SEARCH_ITEMS = 48
RELATED_ITEMS = 16
RELATED_SHOWN = 6
LIKENESS = {"text", "graph"}  # channels by which an item is like another one
MAX_QUERY = 200
LOOKS = 5  # at a search whose text is still being encoded
ACCEPTED = {
    "cart": "In your cart: {}",
    "purchase": "Bought: {}",
    "dismiss": "You will not see this again: {}",
}


@require_GET
def storefront_page(request: HttpRequest) -> HttpResponse:
    """Search results, a category, or everything."""
    catalogue = asked_catalogue(request)
    if catalogue is None:
        return render(request, "commerce/empty.html")
    visitor = visitor_of(request)
    query = request.GET.get("q", "").replace("\0", " ").strip()[:MAX_QUERY]
    category = request.GET.get("category", "").replace("\0", " ")[:300]
    known = selectors.past(catalogue, visitor.person)
    context: dict[str, Any] = {"query": query, "category": category, "in_cart": storefront.in_cart(known)}
    if query:
        filters: list[Filter] = list(parse_filters([f"category:{category}"] if category else []))
        answer = selectors.search(catalogue, query, SEARCH_ITEMS, filters=filters)
        context |= {"items": answer["items"], "answer": answer, "look_again": look_again(request, answer)}
    else:
        page = storefront.browse(catalogue, category, max(1, whole_number(request, "page", 1)))
        context |= {"items": page.items, "next_page": page.next}
    if request.headers.get("HX-Target") == "more":
        return render(request, "commerce/_cards.html", context | {"catalogue": catalogue})
    context["categories"] = storefront.categories(catalogue)
    return shop_page(request, "commerce/_browse.html", catalogue, visitor, context)


@require_GET
def item_page(request: HttpRequest, key: str) -> HttpResponse:
    catalogue = asked_catalogue(request)
    if catalogue is None:
        return render(request, "commerce/empty.html", status=404)
    visitor = visitor_of(request)
    try:
        item = selectors.find_item(catalogue, key)
        answer = selectors.similar(catalogue, key, RELATED_ITEMS)
    except selectors.NotFound:
        return shop_page(request, "commerce/_gone.html", catalogue, visitor, {}, status=404)
    known = selectors.past(catalogue, visitor.person)
    together = [one for one in answer["items"] if one["reasons"] and one["reasons"][0]["channel"] == "together"]
    alike = [one for one in answer["items"] if any(reason["channel"] in LIKENESS for reason in one["reasons"])]
    context = {
        "item": item,
        "attributes": readable_attributes(item["attributes"]),
        "similar": alike[:RELATED_SHOWN],
        "together": together[:RELATED_SHOWN],
        "answer": answer,
        "in_cart": storefront.in_cart(known),
        "is_dismissed": "dismiss" in known.kinds.get(key, ()),
    }
    return shop_page(request, "commerce/_item.html", catalogue, visitor, context)


@require_GET
def for_you(request: HttpRequest) -> HttpResponse:
    """The list alone: what the page fetches when the socket says that there is news."""
    catalogue = asked_catalogue(request)
    if catalogue is None:
        return HttpResponse(status=204)
    return render(request, "commerce/_for_you.html", for_you_context(catalogue, visitor_of(request)))


@require_POST
def click(request: HttpRequest) -> HttpResponse:
    """Take one interaction in. 200 with `HX-Trigger: accepted`, or an error whose reason stands in a header."""
    catalogue = asked_catalogue(request)
    if catalogue is None:
        return refused(404, "There is no catalogue.")
    visitor = visitor_of(request)
    item_id, kind = request.POST.get("item", ""), request.POST.get("kind", "view")
    event_id = uuid.uuid4().hex
    data = {"catalogue": catalogue.slug, "item_id": item_id, "kind": kind}
    person = {"session_id": visitor.session_key} if visitor.person.is_session else {"user_id": visitor.user_key}
    event = {"id": event_id, "source": SOURCE, "type": "commerce.interaction.recorded", "data": data | person}
    try:
        result = ingest([event | {"time": timezone.now().isoformat()}])[0]
    except BacklogFull:
        response = refused(429, "Too much is waiting to be handled. Try again in a moment.")
        response["Retry-After"] = "5"
        return response
    if result.status == "rejected":
        return refused(422, f"{result.field} {result.reason}")
    if not request.htmx:  # type: ignore[attr-defined]  # without scripts: the page again
        return redirect(shop_url(reverse("commerce:item", args=[item_id]), catalogue))
    return accepted(request, catalogue, visitor, item_id, kind, event_id)


def accepted(
    request: HttpRequest, catalogue: Catalogue, visitor: Visitor, item_id: str, kind: str, event_id: str
) -> HttpResponse:
    news: dict[str, Any] = {"accepted": {"event": event_id, "item": item_id, "kind": kind}}
    if kind in ACCEPTED:
        shown = selectors.shown_items(catalogue, [item_id]).get(item_id, {})
        news["toast"] = {"text": ACCEPTED[kind].format(shown.get("title", item_id))}
    response = HttpResponse()
    response["HX-Trigger"] = json.dumps(news)  # ASCII, whatever the title
    remember(response, visitor)
    return response


def refused(status: int, reason: str) -> HttpResponse:
    response = HttpResponse(reason, status=status, content_type="text/plain; charset=utf-8")
    response["X-Error-Reason"] = reason.encode("ascii", "replace").decode()
    return response


def shop_page(
    request: HttpRequest,
    pane: str,
    catalogue: Catalogue,
    visitor: Visitor,
    context: dict[str, Any],
    status: int = 200,
) -> HttpResponse:
    """The pane alone where htmx asks for it, else the whole page with the list beside it."""
    context |= {"catalogue": catalogue, "pane": pane, "visitor": visitor}
    if request.headers.get("HX-Target") == "pane":
        response = render(request, "commerce/_pane.html", context, status=status)
    else:
        context |= for_you_context(catalogue, visitor)
        context["catalogues"] = list(Catalogue.objects.all())
        context["users"] = users_to_choose(catalogue) if may_choose(request) else []
        response = render(request, "commerce/shop.html", context, status=status)
    patch_vary_headers(response, ["HX-Target", "Cookie"])
    remember(response, visitor)
    return response


def for_you_context(catalogue: Catalogue, visitor: Visitor) -> dict[str, Any]:
    person = visitor.person
    topic = live_topic(person.topic(catalogue.slug))  # before the rows are read, so no news is missed
    answer = selectors.recommendations(catalogue, person, FOR_YOU_ITEMS)
    known = selectors.past(catalogue, person)
    return {
        "catalogue": catalogue,
        "visitor": visitor,
        "topic": topic,
        "for_you": answer,
        "done": storefront.recent(catalogue, person),
        "left_out": storefront.left_out(known),
        "carted": storefront.in_cart(known),
    }


def asked_catalogue(request: HttpRequest) -> Catalogue | None:
    """The catalogue of `?catalogue=`, the first one where none or an unknown one is named, None where there is none."""
    slug = request.GET.get("catalogue", "").replace("\0", "")
    for name in dict.fromkeys((slug, "")):
        try:
            return selectors.find_catalogue(name)
        except selectors.NotFound:
            continue
    return None


def look_again(request: HttpRequest, answer: dict[str, Any]) -> int:
    """The number of the page's next look at the same search, while a worker still encodes its text; 0 for none."""
    times = whole_number(request, "again", 0)
    return times + 1 if QUERY_VECTOR_PENDING in answer["degraded"] and times < LOOKS else 0


def whole_number(request: HttpRequest, name: str, default: int) -> int:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else default


def readable_attributes(attributes: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) in words: `weight_g: 380` as ("weight g", "380")."""
    return [
        (name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in attributes.items()
    ]


def shop_url(path: str, catalogue: Catalogue, **query: str) -> str:
    return f"{path}?{urlencode({'catalogue': catalogue.slug} | query)}"
