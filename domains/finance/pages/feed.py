"""The feed: stories, the newest first, that never move under somebody who reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from domains.finance.models import Entity, Mention, Story
from domains.finance.pages.lean import Lean, lean_of
from domains.finance.pages.selection import Selection, members

ROWS, MOST_ROWS = 30, 210
MAX_WAITING = 99  # stories that are counted behind the pill


@dataclass(frozen=True, slots=True)
class NamedEntity:
    symbol: str
    name: str
    lean: Lean


@dataclass(frozen=True, slots=True)
class StoryRow:
    id: int
    title: str
    at: datetime
    language: str
    source: str
    others: int  # other outlets that carried it
    topic: str
    lean: Lean | None  # of the text as a whole; None until it is read
    entities: tuple[NamedEntity, ...]


@dataclass(frozen=True, slots=True)
class Feed:
    stories: list[StoryRow]
    waiting: int = 0  # newer stories that are not shown yet, at most MAX_WAITING
    is_more_waiting: bool = False
    upto: int = 0  # the newest story that is shown
    older_than: int = 0  # for the next page; 0 where there is none


def feed(selection: Selection, *, upto: int = 0, before: int = 0, rows: int = ROWS) -> Feed:
    """The newest stories; with `upto` none newer than that one, but their number; with `before` those before it."""
    rows = min(max(rows, ROWS), MOST_ROWS)
    stories = matching(selection)
    waiting = len(stories.filter(id__gt=upto).values_list("id")[: MAX_WAITING + 1]) if upto else 0
    if upto:
        stories = stories.filter(id__lte=upto)
    if before:
        stories = stories.filter(id__lt=before)
    found = list(stories.select_related("lead").order_by("-id")[: rows + 1])
    shown = found[:rows]
    return Feed(
        story_rows(shown),
        waiting=min(waiting, MAX_WAITING),
        is_more_waiting=waiting > MAX_WAITING,
        upto=upto or (shown[0].id if shown else 0),
        older_than=shown[-1].id if len(found) > rows else 0,
    )


def matching(selection: Selection) -> QuerySet[Story]:
    """Stories of the selection's entity, topic and watch list, of any time."""
    stories = Story.objects.filter(merged_into=None)
    if selection.topic:
        stories = stories.filter(topic=selection.topic)
    named = Mention.objects.filter(story=OuterRef("pk"))
    if selection.entity:
        stories = stories.filter(Exists(named.filter(entity_id=selection.entity_id)))
    elif selection.unknown_entity:
        return stories.none()
    if selection.watch_list:
        stories = stories.filter(Exists(named.filter(entity_id__in=members(selection))))
    return stories


def story_rows(stories: Sequence[Story]) -> list[StoryRow]:
    leans, entities = mentions_of([story.pk for story in stories])
    return [
        StoryRow(
            story.pk,
            story.title,
            story.first_published_at,
            story.language,
            story.lead.source_name if story.lead else "",
            max(0, story.source_count - 1),
            story.topic,
            leans.get(story.pk),
            tuple(entities.get(story.pk, ())),
        )
        for story in stories
    ]


def mentions_of(stories: Collection[int]) -> tuple[dict[int, Lean], dict[int, list[NamedEntity]]]:
    """What each story leans to as a whole, and to each entity named in it, by its id."""
    mentions = list(Mention.objects.filter(story__in=stories).order_by("id"))
    known = Entity.objects.in_bulk({mention.entity_id for mention in mentions if mention.entity_id})
    leans: dict[int, Lean] = {}
    entities: dict[int, list[NamedEntity]] = defaultdict(list)
    for mention in mentions:
        lean = lean_of(mention)
        if not mention.entity_id:
            leans[mention.story_id] = lean
        elif mention.entity_id in known:
            entity = known[mention.entity_id]
            entities[mention.story_id].append(NamedEntity(entity.symbol, entity.name, lean))
    return leans, entities


def stories_between(selection: Selection, start: datetime, end: datetime) -> list[StoryRow]:
    """Stories first published in [start, end), the most negative first: what to look at in a point of the series."""
    stories = matching(selection).filter(first_published_at__gte=start, first_published_at__lt=end)
    rows = story_rows(list(stories.select_related("lead").order_by("-first_published_at")[:MOST_ROWS]))
    return sorted(rows, key=lambda row: row.lean.sentiment if row.lean else 0.0)
