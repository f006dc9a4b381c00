"""Reads of the news: stories, articles, entities, buckets. Nothing here loads torch."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min

from domains.finance.models import Alias, Article, Bucket, Entity, Revision
from domains.finance.news.entities import EntityTable, Name

_lock = threading.Lock()
_table: tuple[Any, EntityTable] = (None, EntityTable())


def entity_table() -> EntityTable:
    """The names of all active entities, compiled; compiled again when one changed."""
    global _table
    aliases, entities = (
        rows.aggregate(Count("id"), Max("id"), Max("changed_at")) for rows in (Alias.objects, Entity.objects)
    )
    with _lock:
        if _table[0] != (aliases, entities):
            _table = ((aliases, entities), read_entity_table())
        return _table[1]


def read_entity_table() -> EntityTable:
    active = Entity.objects.filter(is_active=True)
    rows = Alias.objects.filter(entity__is_active=True).values_list(
        "entity", "text", "is_case_sensitive", "needs_context", "context_words", "reject_words"
    )
    names = [
        Name(entity, text, is_exact, needs_context, tuple(map(str, context)), tuple(map(str, reject)))
        for entity, text, is_exact, needs_context, context, reject in rows
    ]
    return EntityTable.of(names, dict(active.values_list("id", "symbol")))


@dataclass(frozen=True, slots=True)
class Changes:
    """Minute buckets that changed after a revision: whose, between which times, and the revision that was looked at."""

    entity_ids: frozenset[int]  # 0: all stories together
    first: datetime | None  # start of the earliest changed minute; None where nothing changed
    last: datetime | None
    revision: int


def changed_since(revision: int) -> Changes:
    """What changed since; ask again with the answer's revision. Revisions become visible in order."""
    now = Revision.objects.values_list("number", flat=True).first() or 0
    rows = Bucket.objects.filter(seconds=Bucket.MINUTE, revision__gt=revision, revision__lte=now)
    span = rows.aggregate(first=Min("start"), last=Max("start"))
    ids = frozenset(rows.values_list("entity_id", flat=True).distinct()) if span["first"] else frozenset()
    return Changes(ids, span["first"], span["last"], now)


def newest_article_at() -> tuple[datetime | None, datetime | None]:
    """When the newest article was published, and when the newest one came in."""
    found = Article.objects.aggregate(published=Max("published_at"), received=Max("received_at"))
    return found["published"], found["received"]
