"""The analyst's dashboard on 30 days of one-minute buckets: seconds from the request to the whole page, by window.

The rival adds up the tiles of 30 days from the minutes themselves, as a dashboard without coarser buckets would, and
draws nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection
from django.db.models import Sum
from django.test import Client
from django.utils import timezone

from benchmarks.ingest import scratch_database
from benchmarks.rules import store
from domains.finance.alerting.series import DAY, HOUR, MINUTE, ceiling, moment, unix
from domains.finance.models import Alert, AlertRule, Article, Bucket, Entity, Mention, Story

NAME = "dashboard"
HELP = "seconds until the analyst's dashboard stands, with 30 days of minute buckets (entities=100 stories=2000)"
DAYS = 30
PATHS = {
    "1 hour": "/finance/?window=1h",
    "1 day": "/finance/",
    "7 days": "/finance/?window=7d",
    "30 days": "/finance/?window=30d",
    "30 days of an entity": "/finance/?window=30d&entity=E0",
}


def run(entities: int = 100, stories: int = 2_000, times: int = 5) -> dict[str, Any]:
    """{"ours" (the slowest page's median), "rival", "ratio", a page: its median seconds, ...}"""
    with scratch_database():
        now = unix(timezone.now())
        make_buckets(entities, ceiling(now, DAY))
        make_stories(stories, entities, now)
        settings.IS_DEMO, settings.ALLOWED_HOSTS = True, ["testserver"]
        client = Client()
        client.get("/finance/")  # templates are read once, as in a server that runs
        pages = {name: median(lambda path=path: opened(client, path), times) for name, path in PATHS.items()}
        rival = median(lambda: from_minutes(now), times)
        ours = max(pages.values())
        return {
            "unit": "s",
            "ours": round(ours, 3),
            "rival": round(rival, 3),
            "ratio": round(rival / ours, 2),
            **{name: round(seconds, 3) for name, seconds in pages.items()},
            "minute buckets": Bucket.objects.filter(seconds=MINUTE).count(),
            "database": connection.vendor,
        }


def median(work: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def opened(client: Client, path: str) -> None:
    response = client.get(path)
    if response.status_code != 200:
        raise RuntimeError(f"{path} answered {response.status_code}")


def make_buckets(entities: int, end: int) -> None:
    """Entities with long-tailed rates, the first one with a story every other minute; buckets of every size."""
    random = np.random.default_rng(0)
    Entity.objects.bulk_create(Entity(pk=i + 1, symbol=f"E{i}", name=f"Entity {i}") for i in range(entities))
    rate = np.exp(random.normal(np.log(1.0), 1.2, entities)) / 60  # stories a minute
    rate[0] = 0.5
    minutes = random.poisson(np.repeat(rate[:, None], DAYS * DAY // MINUTE, axis=1))
    for seconds in (MINUTE, HOUR, DAY):
        counts = minutes.reshape(entities, -1, seconds // MINUTE).sum(axis=2)
        store(counts, seconds, end - DAYS * DAY)


def make_stories(count: int, entities: int, now: int) -> None:
    """Stories for the feed, and some alerts."""
    times = [moment(now - i * 30) for i in range(count)][::-1]
    common = {"source_name": "Wire", "changed_by": "benchmark"}
    articles = Article.objects.bulk_create(
        Article(key=f"a{i}", title=f"Headline {i}", published_at=at, received_at=at, changed_at=at, **common)
        for i, at in enumerate(times)
    )
    made = Story.objects.bulk_create(
        Story(lead=article, title=article.title, topic="trade", first_published_at=at, last_published_at=at)
        for article, at in zip(articles, times, strict=True)
    )
    leaning = {"negative": 0.5, "neutral": 0.25, "positive": 0.25, "topic": "trade"}
    Mention.objects.bulk_create(
        Mention(story=story, entity_id=entity, published_at=at, article=article, **leaning)
        for i, (story, article, at) in enumerate(zip(made, articles, times, strict=True))
        for entity in (0, i % entities + 1)
    )
    rule = AlertRule.objects.create(name="surge")
    figures = {"value": 5.0, "stories": 9, "expected": 1.0, "low": 0, "high": 3, "from": now - HOUR, "to": now}
    spec = {"metric": "surge", "comparison": "above", "threshold": 4.0}
    for i in range(20):
        fired = moment(now) - timedelta(minutes=i)
        Alert.objects.create(
            rule=rule, rule_name="surge", rule_version=1, spec=spec, severity="warning", group_key=f"{i + 1}/",
            entity_id=i % entities + 1, started_at=fired, fired_at=fired, decided_at=fired, figures=figures, seen=[],
        )  # fmt: skip


def from_minutes(now: int) -> list[dict[str, Any]]:
    """The tiles' sums and lines from the minutes alone."""
    since = moment(now - DAYS * DAY)
    rows = Bucket.objects.filter(seconds=MINUTE, topic="", entity_id__gt=0, start__gte=since)
    figures = {name: Sum(name) for name in ("stories", "negative", "neutral", "positive")}
    busiest = list(rows.values("entity_id").annotate(**{f"all_{k}": v for k, v in figures.items()}))
    busiest.sort(key=lambda row: -row["all_stories"])
    ids = [row["entity_id"] for row in busiest[:10]]
    return list(rows.filter(entity_id__in=ids).values("entity_id", "start", "stories", "negative"))
