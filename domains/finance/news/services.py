"""Writes of the news: articles as they come in, and what reading them came to.

An article row shows its newest event. Everything that follows from it (scores, its story, mentions, buckets) is written
in one transaction, by one worker at a time, and follows from the rows alone: late, repeated and changed articles end in
the same figures.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from django.db.models import F
from django.utils import timezone

from domains.finance.documents import COLLECTION
from domains.finance.models import Article, Entity, LabelledText, Mention, Revision, Score, Trace
from domains.finance.news import buckets, trees
from domains.finance.news.buckets import Counted
from domains.finance.news.scoring import Reading
from domains.finance.news.stories import as_json
from domains.finance.news.text import language_of
from suite.events.envelope import Envelope
from suite.events.models import Event
from suite.events.rows import update, upsert_newest
from suite.events.services import record_events
from suite.index.services import touch
from suite.live.broadcast import broadcast

RECENT = 86_400  # seconds; of older articles no page waits to hear
STORIES = "finance.stories"  # the live topic of all stories
ARTICLE_COLUMNS = (
    "key", "title", "body", "url", "source_name", "language", "published_at", "received_at", "changed_at", "changed_by"
)  # fmt: skip


def entity_topic(symbol: str) -> str:
    """The live topic of an entity."""
    return f"finance.entity:{symbol}"


def record_articles(events: Sequence[Event]) -> None:
    upsert_newest(Article, ARTICLE_COLUMNS, ("key",), [_article_row(event) for event in events])


def _article_row(event: Event) -> tuple:
    data = event.data
    published_at = min(datetime.fromisoformat(data["published_at"]), event.received_at)  # a clock that goes ahead
    return (
        data["article_id"], data["title"], data["body"], data["url"], data["source"],
        data["language"] or language_of(data["title"]), published_at, event.received_at,
        event.time, f"{event.source} {event.event_id}",
    )  # fmt: skip


def record_sentiments(events: Sequence[Event]) -> None:
    record_labels(events, LabelledText.SENTIMENT)


def record_topics(events: Sequence[Event]) -> None:
    record_labels(events, LabelledText.TOPIC)


def record_labels(events: Sequence[Event], kind: str) -> None:
    columns = ("digest", "kind", "text", "entity", "label", "changed_at", "changed_by")
    rows = [_label_row(event, kind) for event in events]
    upsert_newest(LabelledText, columns, ("digest",), rows)


def _label_row(event: Event, kind: str) -> tuple:
    text, entity, label = event.data["text"], event.data["entity"], event.data["label"]
    name = f"{event.source} {event.event_id}"
    return digest_of(kind, text, entity), kind, text, entity, label, event.time, name


def digest_of(kind: str, text: str, entity: str) -> str:
    """What names a labelled text: 32 hex digits."""
    return hashlib.blake2b(f"{kind}\0{text}\0{entity}".encode(), digest_size=16).hexdigest()


def next_revision() -> int:
    """Take the lock that all changes to stories and buckets hold until they are committed, and the next number."""
    Revision.objects.bulk_create([Revision(pk=1)], ignore_conflicts=True)
    Revision.objects.filter(pk=1).update(number=F("number") + 1)
    return Revision.objects.values_list("number", flat=True).get(pk=1)


def apply(readings: Sequence[Reading], release: str) -> None:
    """Make rows of what was read, in the caller's transaction. An article that changed since it was read is left to the
    event that changed it."""
    revision = next_revision()
    versions = {
        pk: version
        for pk, *version in Article.objects.filter(pk__in=[one.article_id for one in readings]).values_list(
            "pk", "changed_at", "changed_by"
        )
    }
    current = {one.article_id: one for one in readings if versions.get(one.article_id) == list(one.version)}
    if not current:
        return
    news = write_scores(list(current.values()), release)
    write_traces(current.values(), revision)
    moved = trees.relink([one.sketch for one in current.values()], revision)
    grown, empty = trees.regrow(moved, revision)
    named = recount(grown, empty, revision)
    told = [one.story.pk for one in grown if one.is_told_anew] + [story.pk for story in empty]
    if any(timezone.now().timestamp() - one.sketch.published < RECENT for one in current.values()):
        symbols = Entity.objects.filter(pk__in=named).values_list("symbol", flat=True)
        broadcast([STORIES, *map(entity_topic, symbols)])
    touch(COLLECTION, map(str, told))
    record_events(scored_events(news, release, revision))


def write_scores(readings: Sequence[Reading], release: str) -> list[Reading]:
    """Replace the scores that count; returns the readings that say something new."""
    held: dict[int, dict[int | None, tuple]] = defaultdict(dict)
    ids = [one.article_id for one in readings]
    rows = Score.objects.filter(article__in=ids, release=release, is_current=True)
    for article, entity, *said in rows.values_list("article", "entity", *_SAID):
        held[article][entity] = tuple(said)
    news = [one for one in readings if held.get(one.article_id) != _said(one)]
    changed = [one.article_id for one in news]
    Score.objects.filter(article__in=changed, release=release).delete()
    Score.objects.filter(article__in=changed, is_current=True).update(is_current=False)
    now = timezone.now()
    Score.objects.bulk_create(
        Score(
            article_id=one.article_id,
            release=release,
            scored_at=now,
            entity_id=entity,
            **dict(zip(_SAID, said, strict=True)),
        )
        for one in news
        for entity, said in _said(one).items()
    )
    update(Article, ("note",), [(one.article_id, one.note) for one in news])
    return news


_SAID = ("topic", "topic_probability", "p_negative", "p_neutral", "p_positive", "name", "sentence")


def _said(one: Reading) -> dict[int | None, tuple]:
    """What a reading says by entity, in the order of _SAID."""
    return {
        judged.entity_id: (one.topic, one.topic_probability, *judged.leaning, judged.name, judged.sentence)
        for judged in one.judgements
    }


def write_traces(readings: Iterable[Reading], revision: int) -> None:
    Trace.objects.bulk_create(
        [
            Trace(
                article_id=one.article_id,
                published_at=datetime.fromtimestamp(one.sketch.published, timezone.get_current_timezone()),
                sketch=as_json(one.sketch),
                vector=one.sketch.vector.tobytes(),
                release=one.sketch.release,
                revision=revision,
            )
            for one in readings
        ],
        update_conflicts=True,
        unique_fields=["article"],
        update_fields=["published_at", "sketch", "vector", "release", "revision"],
    )


# Counting ----------------------------------------------------------------------------------------------------
def recount(grown: Sequence[trees.Grown], empty: Sequence, revision: int) -> set[int]:
    """Bring mentions and buckets in line with the stories; returns the entities whose figures changed."""
    said: dict[int, dict[int, tuple[float, ...]]] = defaultdict(dict)
    articles = [leaf.id for one in grown for leaf in one.articles]
    scores = Score.objects.filter(article__in=articles, is_current=True)
    for article, entity, *leaning in scores.values_list("article", "entity", "p_negative", "p_neutral", "p_positive"):
        said[article][entity or 0] = tuple(leaning)
    wanted = {(one.story.pk, row.entity_id): (article, row) for one in grown for article, row in mentions(one, said)}
    ids = [one.story.pk for one in grown] + [story.pk for story in empty]
    held = {
        (story, counted[0]): (pk, article, Counted(*counted))
        for pk, story, article, *counted in Mention.objects.filter(story__in=ids).values_list(
            "pk", "story", "article", *Counted._fields
        )
    }
    gone = {key: row for key, row in held.items() if key not in wanted or wanted[key] != row[1:]}
    come = {key: row for key, row in wanted.items() if key not in held or held[key][1:] != row}
    Mention.objects.filter(pk__in=[pk for pk, *_ in gone.values()]).delete()
    Mention.objects.bulk_create(
        Mention(story_id=story, article_id=article, **row._asdict()) for (story, _), (article, row) in come.items()
    )
    buckets.move((row for *_, row in gone.values()), (row for _, row in come.values()), revision)
    return {entity for _, entity in (*gone, *come) if entity}


def mentions(one: trees.Grown, said: dict[int, dict[int, tuple[float, ...]]]) -> list[tuple[int, Counted]]:
    """What a story counts for, with the article that says so: for itself by its lead, and for each entity by the first
    article that names it."""
    story, lead = one.story, one.story.lead_id
    found: dict[int, int] = {0: lead} if lead in said and 0 in said[lead] else {}
    naming: dict[int, int] = defaultdict(int)
    for leaf in one.articles:
        for entity in said.get(leaf.id, ()):
            naming[entity] += 1
            if entity:
                found.setdefault(entity, leaf.id)
    return [
        (
            article,
            Counted(entity, story.topic, story.first_published_at, naming[entity], *said[article][entity]),
        )
        for entity, article in found.items()
    ]


# What is told ------------------------------------------------------------------------------------------------
def scored_events(news: Collection[Reading], release: str, revision: int) -> list[Envelope]:
    """`finance.sentiment.scored`, one an article, with every entity in it."""
    articles = Article.objects.in_bulk([one.article_id for one in news])
    ids = {judged.entity_id for one in news for judged in one.judgements if judged.entity_id}
    symbols = dict(Entity.objects.filter(pk__in=ids).values_list("pk", "symbol"))
    return [
        Envelope(
            id=f"scored {one.article_id} {revision}",
            source="suite",
            type="finance.sentiment.scored",
            subject=articles[one.article_id].key,
            data={
                "article_id": articles[one.article_id].key,
                "story_id": articles[one.article_id].story_id,
                "release": release,
                "topic": one.topic,
                "topic_probability": one.topic_probability,
                "sentiment": _named(one.judgements[0].leaning),
                "entities": [
                    {"entity": symbols.get(judged.entity_id or 0, ""), "name": judged.name, "sentence": judged.sentence}
                    | _named(judged.leaning)
                    for judged in one.judgements[1:]
                ],
            },
        )
        for one in news
    ]


def _named(leaning: Sequence[float]) -> dict[str, float]:
    return dict(zip(("negative", "neutral", "positive"), (round(value, 6) for value in leaning), strict=True))
