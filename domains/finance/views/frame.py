"""What every page of finance stands in: who looks, and the places there are."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from domains.finance.analysts import Analyst

PLACES = (
    ("Dashboard", "board"),
    ("Alerts", "alerts"),
    ("Rules", "rules"),
    ("Sources", "sources"),
    ("Entities", "entities"),
    ("Notifications", "notifications"),
)


def page(
    request: HttpRequest, template: str, context: dict[str, Any], place: str = "", status: int = 200
) -> HttpResponse:
    """The template with the frame's own context. `place` is the name of the place that is marked as current."""
    return render(request, template, frame(request, place) | context, status=status)


def frame(request: HttpRequest, place: str = "") -> dict[str, Any]:
    analyst: Analyst = request.analyst  # type: ignore[attr-defined]
    places = [
        {"title": title, "href": reverse(f"finance:{name}"), "is_current": name == place} for title, name in PLACES
    ]
    return {
        "analyst": analyst,
        "may_decide": analyst.may_decide,
        "may_rule": analyst.may_rule,
        "may_edit": request.user.is_staff,  # in the admin
        "places": places,
    }


def is_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks for a part of a page that stands already."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-History-Restore-Request") != "true"


def whole_number(request: HttpRequest, name: str) -> int:
    """A number of the query; 0 where there is none."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
