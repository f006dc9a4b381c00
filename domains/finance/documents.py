"""Stories as the index sees them: by the title and the beginning of the article that tells them first.

A document's key is the story's id; a story that was merged into another one has no document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from domains.finance.models import Entity, Mention, Story
from suite.index.collections import Collection
from suite.index.engine import Document

COLLECTION = "finance.stories"
TEXT = 400  # characters of the body


def load_documents(keys: Sequence[str]) -> dict[str, Document]:
    ids = [int(key) for key in keys if key.isdigit()]
    symbols: dict[int, list[str]] = defaultdict(list)
    named = Mention.objects.filter(story__in=ids).exclude(entity_id=0).values_list("story", "entity_id")
    known = dict(Entity.objects.filter(pk__in={entity for _, entity in named}).values_list("pk", "symbol"))
    for story, entity in named:
        if entity in known:
            symbols[story].append(known[entity])
    return {
        str(story.pk): Document(
            key=str(story.pk),
            title=story.title,
            text=story.lead.body[:TEXT] if story.lead else "",
            attributes=attributes_of(story, sorted(symbols[story.pk])),
        )
        for story in Story.objects.filter(pk__in=ids).select_related("lead")
    }


def attributes_of(story: Story, symbols: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"published": int(story.first_published_at.timestamp())}
    if symbols:
        found["entity"] = symbols
    if story.topic:
        found["topic"] = story.topic
    if story.language:
        found["language"] = story.language
    if story.lead and story.lead.source_name:
        found["source"] = story.lead.source_name
    return found


def document_keys() -> Iterator[str]:
    yield from map(str, Story.objects.values_list("pk", flat=True).iterator(chunk_size=5_000))


COLLECTIONS = {COLLECTION: Collection(load=load_documents, keys=document_keys)}
