"""One story with all that was read in it, and the stories of a stretch of time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from domains.finance.analysts import for_analysts
from domains.finance.news.selectors import row_of
from domains.finance.pages.feed import stories_between
from domains.finance.pages.selection import selection_of
from domains.finance.pages.story import told
from domains.finance.views.frame import frame, is_fragment, whole_number
from domains.finance.views.frame import page as framed

LATEST = 2**33  # Unix seconds that a year of four digits still has


@require_GET
@for_analysts()
def page(request: HttpRequest, key: int) -> HttpResponse:
    """A page of its own, or the drawer's inside."""
    context = drawer_story(key)
    if not context:
        if is_fragment(request):
            return render(request, "finance/_gone.html", {"what": "This story"})
        raise Http404("There is no such story.")
    if is_fragment(request):
        return render(request, "finance/_drawer.html", frame(request) | context)
    return framed(request, "finance/alone.html", context)


@require_GET
@for_analysts()
def of_time(request: HttpRequest) -> HttpResponse:
    """The stories of one point of the series, for the drawer."""
    selection = selection_of(request.GET)
    start, end = (datetime.fromtimestamp(min(whole_number(request, name), LATEST), UTC) for name in ("from", "to"))
    found = stories_between(selection, start, end)
    context = {
        "drawer": "finance/_stories_of_time.html",
        "selection": selection,
        "stories": found,
        "start": start,
        "end": end,
    }
    if is_fragment(request):
        return render(request, "finance/_drawer.html", frame(request) | context)
    return framed(request, "finance/alone.html", context)


def drawer_story(key: int) -> dict[str, Any]:
    """What the drawer shows of a story; nothing where there is none, and the other where it became part of another."""
    story = row_of(key)
    if story is None:
        return {}
    return {"drawer": "finance/_story.html", "address": f"story={story.pk}", "told": told(story)}
