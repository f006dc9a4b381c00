"""The dashboard, whole and panel by panel. A panel is fetched again when the socket says that there is news."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from domains.finance.analysts import for_analysts
from domains.finance.models import AlertRule
from domains.finance.pages import alerts as alert_pages
from domains.finance.pages.choices import choices
from domains.finance.pages.feed import feed
from domains.finance.pages.selection import Selection, selection_of
from domains.finance.pages.series import chosen_series, series_table
from domains.finance.pages.states import states
from domains.finance.pages.stream import stream
from domains.finance.pages.tiles import tiles
from domains.finance.views.alerts import drawer_alert
from domains.finance.views.frame import frame, whole_number
from domains.finance.views.stories import drawer_story
from suite.live.selectors import live_topic

STORIES, ALERTS = "finance.stories", "finance.alerts"
Panel = Callable[[HttpRequest, Selection], dict[str, Any]]


@require_GET
@for_analysts()
def board(request: HttpRequest) -> HttpResponse:
    """The whole page; the board alone where the selection changes."""
    selection = selection_of(request.GET)
    topics = {"stories": live_topic(STORIES), "alerts": live_topic(ALERTS)}  # before any row is read: no news is missed
    context = frame(request, "board") | {
        "selection": selection,
        "choices": choices(),
        "topics": topics,
        "is_board": True,
    }
    for panel in ("states", "alerts", "tiles", "series", "feed"):
        context |= PANELS[panel](request, selection)
    if request.headers.get("HX-Target") == "board":
        response = render(request, "finance/_board.html", context)
    else:
        context |= {"stream": stream(), **opened(request)}
        response = render(request, "finance/board.html", context)
    patch_vary_headers(response, ["HX-Target", "Cookie"])
    return response


@require_GET
@for_analysts()
def part(request: HttpRequest, name: str) -> HttpResponse:
    """One panel of the dashboard."""
    if name not in PANELS:
        raise Http404("There is no such panel.")
    selection = selection_of(request.GET)
    context = frame(request) | {"selection": selection, "choices": choices(), "is_board": True}
    return render(request, f"finance/_{name}.html", context | PANELS[name](request, selection))


@require_GET
@for_analysts()
def stream_facts(request: HttpRequest) -> HttpResponse:
    return render(request, "finance/_stream.html", {"stream": stream()})


def states_panel(request: HttpRequest, selection: Selection) -> dict[str, Any]:
    return {"states": states()}


def alerts_panel(request: HttpRequest, selection: Selection) -> dict[str, Any]:
    return {"alerts": alert_pages.cards(selection), "rule_count": AlertRule.objects.filter(is_enabled=True).count()}


def tiles_panel(request: HttpRequest, selection: Selection) -> dict[str, Any]:
    return {"tiles": tiles(selection)}


def series_panel(request: HttpRequest, selection: Selection) -> dict[str, Any]:
    return {"series": chosen_series(selection)}


def table_panel(request: HttpRequest, selection: Selection) -> dict[str, Any]:
    series = chosen_series(selection)
    return {"series": series, "rows": series_table(series)}


def feed_panel(request: HttpRequest, selection: Selection) -> dict[str, Any]:
    upto, before, rows = (whole_number(request, name) for name in ("upto", "before", "rows"))
    found = feed(selection, upto=upto, before=before, rows=rows)
    older = f"{reverse('finance:part', args=['feed'])}?{selection.query()}&{urlencode({'before': found.older_than})}"
    return {"feed": found, "older": older if found.older_than else ""}


PANELS: dict[str, Panel] = {
    "states": states_panel,
    "alerts": alerts_panel,
    "tiles": tiles_panel,
    "series": series_panel,
    "table": table_panel,
    "feed": feed_panel,
}


def opened(request: HttpRequest) -> dict[str, Any]:
    """What stands in the drawer when the page is loaded: the alert or the story that the address names."""
    if alert := whole_number(request, "alert"):
        return drawer_alert(alert)
    if story := whole_number(request, "story"):
        return drawer_story(story)
    return {}
