"""Reads of the news: stories, articles, entities, buckets. Nothing here loads torch."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, Max, Min, OuterRef, Q

from domains.finance.documents import COLLECTION
from domains.finance.models import Alias, Article, Bucket, Entity, Mention, Revision, Score, Story
from domains.finance.news.entities import EntityTable, Name
from suite.index import selectors as index
from suite.index.engine import Filter, Query, Range, Term

MOST_MERGES = 20  # of a story into one that was merged itself
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
    companies = active.filter(kind=Entity.Kind.COMPANY).values_list("id", flat=True)
    return EntityTable.of(names, dict(active.values_list("id", "symbol")), companies)


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


# For the API ---------------------------------------------------------------------------------------------------
class NotFound(LookupError):
    """There is no such article, story or entity; the message names it."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a list is narrowed to. `after` is the cursor of the page before: what it showed last."""

    entity: str = ""
    topic: str = ""
    language: str = ""
    source: str = ""
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, int] | None = None
    limit: int = 50


def find_entity(symbol: str) -> Entity:
    """Raises `NotFound`."""
    entity = Entity.objects.filter(symbol=symbol).first()
    if entity is None:
        raise NotFound(f"There is no entity {symbol[:60]!r}.")
    return entity


def stories(page: Page) -> tuple[list[dict[str, Any]], tuple[datetime, int] | None]:
    """Stories, the newest first, and the cursor of the next page. Raises `NotFound`."""
    found = Story.objects.select_related("lead")
    if page.topic:
        found = found.filter(topic=page.topic)
    if page.language:
        found = found.filter(language=page.language)
    if page.source:
        found = found.filter(articles__source_name=page.source).distinct()
    if page.entity:
        found = found.filter(mentions__entity_id=find_entity(page.entity).pk)
    rows, cursor = _part(found, page, "first_published_at")
    return story_rows(rows), cursor


def search_stories(text: str, page: Page) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Stories that match a text by words and meaning, best first; and what could not be had for the answer.

    Raises `NotFound`.
    """
    terms = {"entity": page.entity and find_entity(page.entity).symbol, "topic": page.topic, "language": page.language}
    filters: list[Filter] = [Term(name, (value,)) for name, value in terms.items() if value]
    if page.since or page.until:
        first, last = (time.timestamp() if time else None for time in (page.since, page.until))
        filters.append(Range("published", first, last))
    hits = index.search(COLLECTION, Query(text=text, filters=tuple(filters), k=page.limit))
    rows = Story.objects.select_related("lead").in_bulk([int(each.key) for each in hits.candidates])
    found = [rows[int(each.key)] for each in hits.candidates if int(each.key) in rows]
    return story_rows(found), tuple(hits.degraded)


def _part(found: Any, page: Page, column: str) -> tuple[list[Any], tuple[datetime, int] | None]:
    """One page of rows by time and id, newest first, and the cursor behind its last one."""
    if page.since:
        found = found.filter(**{f"{column}__gte": page.since})
    if page.until:
        found = found.filter(**{f"{column}__lt": page.until})
    if page.after:
        time, number = page.after
        found = found.filter(Q(**{f"{column}__lt": time}) | Q(**{column: time, "id__lt": number}))
    rows = list(found.order_by(f"-{column}", "-id")[: page.limit + 1])
    shown = rows[: page.limit]
    return shown, (getattr(shown[-1], column), shown[-1].pk) if len(rows) > page.limit else None


def story_rows(rows: Sequence[Story]) -> list[dict[str, Any]]:
    mentions: dict[int, list[Mention]] = defaultdict(list)
    for mention in Mention.objects.filter(story__in=rows).order_by("id"):
        mentions[mention.story_id].append(mention)
    symbols = symbols_of(mention.entity_id for found in mentions.values() for mention in found)
    return [
        {
            "story_id": story.pk,
            "title": story.title,
            "topic": story.topic,
            "topic_probability": story.topic_probability,
            "language": story.language,
            "source": story.lead.source_name if story.lead else "",
            "url": story.lead.url if story.lead else "",
            "first_published_at": story.first_published_at.isoformat(),
            "last_published_at": story.last_published_at.isoformat(),
            "articles": story.article_count,
            "sources": story.source_count,
            "sentiment": next((leaning(one) for one in mentions[story.pk] if not one.entity_id), None),
            "entities": [
                {"entity": symbols[one.entity_id]} | leaning(one)
                for one in mentions[story.pk]
                if one.entity_id in symbols
            ],
        }
        for story in rows
    ]


def symbols_of(ids: Iterable[int]) -> dict[int, str]:
    return dict(Entity.objects.filter(pk__in={number for number in ids if number}).values_list("pk", "symbol"))


def leaning(one: Mention) -> dict[str, float]:
    return {"negative": one.negative, "neutral": one.neutral, "positive": one.positive}


def row_of(number: int) -> Story | None:
    """A story, or the one that it became part of."""
    row = Story.everything.filter(pk=number).select_related("lead").first()
    for _ in range(MOST_MERGES):
        if row is None or row.merged_into_id is None:
            break
        row = Story.everything.filter(pk=row.merged_into_id).select_related("lead").first()
    return row


def story(number: int) -> dict[str, Any]:
    """A story with its articles in order; one that was merged is answered with the one it is part of now.

    Raises `NotFound`.
    """
    row = row_of(number)
    if row is None or row.lead is None:
        raise NotFound(f"There is no story {number}.")
    articles = list(row.articles.order_by("published_at", "key")[:500])
    return story_rows([row])[0] | {"told_by": article_rows(articles)}


def articles(page: Page) -> tuple[list[dict[str, Any]], tuple[datetime, int] | None]:
    """Articles, the newest first, and the cursor of the next page. Raises `NotFound`."""
    found = Article.objects.all()
    if page.source:
        found = found.filter(source_name=page.source)
    if page.language:
        found = found.filter(language=page.language)
    if page.topic:
        found = found.filter(scores__entity=None, scores__is_current=True, scores__topic=page.topic)
    if page.entity:
        found = found.filter(scores__entity=find_entity(page.entity), scores__is_current=True)
    rows, cursor = _part(found, page, "published_at")
    return article_rows(rows), cursor


def article(key: str) -> dict[str, Any]:
    """Everything that is known of one article. Raises `NotFound`."""
    row = Article.objects.filter(key=key).first()
    if row is None:
        raise NotFound(f"There is no article {key[:200]!r}.")
    return article_rows([row])[0] | {"body": row.body}


def article_rows(rows: Sequence[Article]) -> list[dict[str, Any]]:
    scores: dict[int, list[Score]] = defaultdict(list)
    current = Score.objects.filter(article__in=rows, is_current=True).select_related("entity")
    for score in current.order_by("id"):
        scores[score.article_id].append(score)
    originals = dict(
        Article.objects.filter(pk__in={row.original_id for row in rows if row.original_id}).values_list("pk", "key")
    )
    return [
        {
            "article_id": row.key,
            "title": row.title,
            "url": row.url,
            "source": row.source_name,
            "language": row.language,
            "published_at": row.published_at.isoformat(),
            "received_at": row.received_at.isoformat(),
            "story_id": row.story_id,
            "copy_of": originals.get(row.original_id or 0, ""),
            "similarity": row.similarity,
            "note": row.note,
            "scores": [score_row(score) for score in scores[row.pk]],
        }
        for row in rows
    ]


def score_row(score: Score) -> dict[str, Any]:
    return {
        "entity": score.entity.symbol if score.entity else "",
        "name": score.name,
        "sentence": score.sentence,
        "negative": score.p_negative,
        "neutral": score.p_neutral,
        "positive": score.p_positive,
        "topic": score.topic,
        "topic_probability": score.topic_probability,
        "release": score.release,
    }


def entities(text: str, after: str, limit: int) -> tuple[list[dict[str, Any]], str]:
    """Entities by symbol, and the symbol after which the next page begins; `text` is sought in symbols and names."""
    found = Entity.objects.order_by("symbol").prefetch_related("aliases")
    if text:
        named = Alias.objects.filter(entity=OuterRef("pk"), text__icontains=text)
        found = found.filter(Q(symbol__icontains=text) | Q(name__icontains=text) | Exists(named))
    if after:
        found = found.filter(symbol__gt=after)
    rows = list(found[: limit + 1])
    shown = [
        {
            "entity": row.symbol,
            "name": row.name,
            "kind": row.kind,
            "active": row.is_active,
            "aliases": [alias.text for alias in row.aliases.all()],
        }
        for row in rows[:limit]
    ]
    return shown, rows[limit - 1].symbol if len(rows) > limit else ""


def series(symbol: str, topic: str, seconds: int, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """The buckets of an entity (empty: all stories) and topic (empty: all), oldest first; no bucket means zero.

    Raises `NotFound`.
    """
    entity_id = find_entity(symbol).pk if symbol else 0
    rows = Bucket.objects.filter(
        entity_id=entity_id, topic=topic, seconds=seconds, start__gte=since, start__lt=until, stories__gt=0
    )
    columns = ("start", "stories", "articles", "negative", "neutral", "positive")
    return [
        dict(zip(columns, (start.isoformat(), *sums), strict=True))
        for start, *sums in rows.order_by("start").values_list(*columns)
    ]
