"""The lists behind the dashboard: where articles come from, whom they are about, what was sent to whom."""

from __future__ import annotations

from datetime import timedelta

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from domains.finance.analysts import for_analysts
from domains.finance.models import Article, Channel, Entity, Notification, Source, WatchList
from domains.finance.pages.selection import text_of
from domains.finance.views.frame import page

PAGE_ROWS = 50


@require_GET
@for_analysts()
def sources(request: HttpRequest) -> HttpResponse:
    """Feeds with how they do, and every other source that articles named."""
    day = timezone.now() - timedelta(days=1)
    counts = dict(
        Article.objects.filter(received_at__gt=day).values_list("source_name").annotate(Count("id")).order_by()
    )
    feeds = list(Source.objects.order_by("-is_enabled", "name"))
    named = {feed.name for feed in feeds}
    others = sorted(((name, count) for name, count in counts.items() if name not in named), key=lambda one: -one[1])
    rows = [(feed, counts.get(feed.name, 0)) for feed in feeds]
    return page(request, "finance/sources.html", {"feeds": rows, "others": others[:PAGE_ROWS]}, "sources")


@require_GET
@for_analysts()
def entities(request: HttpRequest) -> HttpResponse:
    query = text_of(request.GET, "q")
    found = Entity.objects.order_by("symbol").prefetch_related("aliases")
    if query:
        is_meant = Q(symbol__icontains=query) | Q(name__icontains=query) | Q(aliases__text__icontains=query)
        found = found.filter(is_meant).distinct()
    shown = Paginator(found, PAGE_ROWS).get_page(request.GET.get("page"))
    lists = WatchList.objects.order_by("name").prefetch_related("entities")
    context = {"query": query, "shown": shown, "watch_lists": lists}
    return page(request, "finance/entities.html", context, "entities")


@require_GET
@for_analysts()
def notifications(request: HttpRequest) -> HttpResponse:
    """What was sent, what waits, and what did not arrive."""
    state = request.GET.get("state", "")
    found = Notification.objects.select_related("channel").prefetch_related("alerts")
    if state in Notification.STATES:
        found = found.filter(state=state)
    shown = Paginator(found, PAGE_ROWS).get_page(request.GET.get("page"))
    context = {"shown": shown, "state": state, "states": Notification.STATES, "channels": Channel.objects.all()}
    return page(request, "finance/notifications.html", context, "notifications")
