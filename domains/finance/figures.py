"""What the operator's first page says of finance: how the stream does, feeds that fail, what could not be read."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Count
from django.db.models.functions import TruncMinute
from django.utils import timezone

from domains.finance.models import Article, Entity, Source, Story
from suite.dashboard import BAD, GOOD, WARN, Figure, list_page

HOUR = timedelta(hours=1)
STALE = timedelta(hours=6)


def news_figures() -> list[Figure]:
    now = timezone.now()
    return [articles_figure(now), unread_figure(now), stories_figure(now), feeds_figure(), entities_figure()]


def articles_figure(now: datetime) -> Figure:
    recent = Article.objects.filter(received_at__gt=now - HOUR)
    by_minute = recent.annotate(minute=TruncMinute("received_at")).values_list("minute").annotate(Count("id"))
    counts = dict(by_minute.order_by("minute"))
    first = (now - HOUR).replace(second=0, microsecond=0) + timedelta(minutes=1)
    history = tuple(float(counts.get(first + timedelta(minutes=minute), 0)) for minute in range(60))
    newest = Article.objects.order_by("-received_at").values_list("received_at", flat=True).first()
    if newest is None:
        note, state = "none yet: send events, add a feed, or load a file", WARN
    else:
        note, state = f"the newest came in at {newest:%Y-%m-%d %H:%M} UTC", GOOD if now - newest < STALE else WARN
    return Figure("Articles in the last hour", sum(counts.values()), note, list_page(Article), state, history)


def unread_figure(now: datetime) -> Figure:
    """Articles that came in a minute ago and are in no story yet."""
    waiting = Article.objects.filter(story=None, received_at__lt=now - timedelta(minutes=1)).count()
    note = "the worker does not keep up, or the release has no heads for them" if waiting else "all were read"
    return Figure("Articles not read yet", waiting, note, list_page(Article), BAD if waiting else GOOD)


def stories_figure(now: datetime) -> Figure:
    today = Story.objects.filter(first_published_at__gt=now - timedelta(days=1))
    articles = Article.objects.filter(published_at__gt=now - timedelta(days=1), story__isnull=False).count()
    count = today.count()
    note = f"told by {articles:,} articles" if count else "none in the last day"
    return Figure("Stories in the last day", count, note, list_page(Story))


def feeds_figure() -> Figure:
    feeds = Source.objects.filter(is_feed=True, is_enabled=True)
    failing = list(feeds.filter(failures__gte=3).values_list("name", "last_error")[:1])
    count = feeds.filter(failures__gte=3).count()
    note = f"{failing[0][0]}: {failing[0][1]}"[:160] if failing else f"{feeds.count()} are read"
    return Figure("Feeds that fail", count, note, list_page(Source), BAD if count else GOOD)


def entities_figure() -> Figure:
    count = Entity.objects.filter(is_active=True).count()
    note = "looked for in every article" if count else "load some: manage.py load finance.entities FILE"
    return Figure("Entities", count, note, list_page(Entity), GOOD if count else WARN)


FIGURES = {"Finance": news_figures}
