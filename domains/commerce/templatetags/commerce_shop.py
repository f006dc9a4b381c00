"""How the storefront says prices, addresses, shares and what an answer could not have."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import reverse

from domains.commerce.models import Catalogue
from domains.commerce.views import shop_url

register = template.Library()
SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "CNY": "¥", "JPY": "¥"}
CHANNELS = {"text": "text", "together": "together", "popular": "popular", "graph": "linked", "newest": "new"}
MEANINGS = {
    "text": "described much like",
    "together": "often chosen together with",
    "popular": "chosen by many people lately",
    "newest": "among the newest here",
    "graph": "linked to",
}
KINDS = {
    "view": "viewed",
    "cart": "put in the cart",
    "purchase": "bought",
    "rating": "rated",
    "dismiss": "not for me",
}
MISSING = {
    "no_release": "The encoder's first release is being made: words are matched, meaning is not.",
    "index_unavailable": "The index does not answer.",
    "index_rebuilding": "The index is being built again.",
    "query_vector_pending": "Text search only: the meaning of these words is still being worked out.",
}
SERVED_BY = {
    "popular": "popular now: nothing is known of you yet",
    "newest": "newest first: nobody has done anything yet",
    "titles": "matched by titles alone",
}


@register.filter
def price(item: dict[str, Any]) -> str:
    """€12.50; the code before the number where there is no sign for it; empty without a price."""
    amount, currency = item.get("price"), item.get("currency", "")
    if amount is None:
        return ""
    number = f"{amount:,.2f}" if amount < 10_000 else f"{amount:,.0f}"
    return f"{SIGNS[currency]}{number}" if currency in SIGNS else f"{currency} {number}".strip()


@register.filter
def last_level(category: str) -> str:
    return category.rsplit(" > ", 1)[-1]


@register.filter
def percent(share: float) -> str:
    return f"{share:.0%}"


@register.filter
def channel(name: str) -> str:
    return CHANNELS.get(name, name)


@register.filter
def meaning(name: str) -> str:
    """What a channel says of an item, in words that its items complete."""
    return MEANINGS.get(name, "")


@register.filter
def did(kind: str) -> str:
    return KINDS.get(kind, kind)


@register.filter
def missing(reason: str) -> str:
    """What a named reason of a degraded answer means to who reads the page."""
    return MISSING.get(reason, reason.replace("_", " "))


@register.filter
def served(name: str) -> str:
    return SERVED_BY.get(name, name)


@register.simple_tag(takes_context=True)
def shop(context: template.Context, name: str, **query: Any) -> str:
    """The address of a commerce page in the page's catalogue; `key` is the item's id, the rest goes into the query."""
    catalogue: Catalogue = context["catalogue"]
    key = query.pop("key", None)
    path = reverse(f"commerce:{name}", args=[key] if key is not None else [])
    return shop_url(path, catalogue, **{field: value for field, value in query.items() if value})
