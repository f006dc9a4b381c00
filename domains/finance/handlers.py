"""What a worker does with the events of finance: it reads articles, a batch in one pass of the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domains.finance.models import Article
from domains.finance.news import services
from domains.finance.news.scoring import Reading, read
from domains.finance.news.selectors import entity_table
from suite.domain import Handler
from suite.events.models import Event
from suite.releases.runtime import active_encoder


def read_articles(events: Sequence[Event]) -> tuple[list[Reading], str]:
    """What the articles say as they are now, and the release that says so."""
    keys = {event.data["article_id"] for event in events}
    encoder = active_encoder()
    articles = list(Article.objects.filter(key__in=keys).order_by("pk"))
    return read(articles, encoder, entity_table()), encoder.fingerprint


def apply_readings(events: Sequence[Event], prepared: Any) -> None:
    services.apply(*prepared)


HANDLERS = {"finance.article.published": Handler(apply_readings, read_articles)}
