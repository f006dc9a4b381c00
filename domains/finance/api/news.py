"""News as it was read: articles, the stories they tell, whom they name, and how much there was of it when."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from django.utils import timezone
from ninja import Path, Query, Router, Schema

from domains.finance.api.shared import READ, aware, with_problems
from domains.finance.models import Bucket
from domains.finance.news import selectors
from domains.finance.news.selectors import Page
from suite.problems import Problem

PLAIN = r"^[^\x00]*$"
MOST_BUCKETS = 50_000
router = Router()

Symbol = Annotated[str, Query(max_length=60, pattern=PLAIN, description="an entity's symbol")]
Topic = Annotated[str, Query(max_length=100, pattern=PLAIN)]
Language = Annotated[str, Query(max_length=20, pattern=PLAIN, description="such as en or zh")]
Outlet = Annotated[str, Query(max_length=120, pattern=PLAIN)]
Time = Annotated[datetime | None, Query(description="ISO 8601; without an offset it is UTC")]
Limit = Annotated[int, Query(ge=1, le=500)]
Size = Annotated[Literal["60", "3600", "86400"], Query(description="seconds of a bucket")]
Cursor = Annotated[str, Query(max_length=200, pattern=PLAIN, description="`next` of the page before")]


class Leaning(Schema):
    """Calibrated probabilities."""

    negative: float
    neutral: float
    positive: float


class NamedLeaning(Leaning):
    entity: str


class StoryRow(Schema):
    """`sentiment` and `topic` are of the article that told it first, those of an entity of the first that names it."""

    story_id: int
    title: str
    topic: str
    topic_probability: float
    language: str
    source: str
    url: str
    first_published_at: datetime
    last_published_at: datetime
    articles: int
    sources: int
    sentiment: Leaning | None
    entities: list[NamedLeaning]


class Stories(Schema):
    """`degraded` names what could not be had for a search, such as index_unavailable."""

    stories: list[StoryRow]
    next: str
    degraded: list[str] = []


class ScoreRow(Leaning):
    """Of the article's title (entity empty), or of an entity by the first sentence that names it."""

    entity: str
    name: str
    sentence: str
    topic: str
    topic_probability: float
    release: str


class ArticleRow(Schema):
    """`copy_of` is the earlier article that it repeats, `note` what could not be read of it."""

    article_id: str
    title: str
    url: str
    source: str
    language: str
    published_at: datetime
    received_at: datetime
    story_id: int | None
    copy_of: str
    similarity: float | None
    note: str
    scores: list[ScoreRow]


class WholeArticle(ArticleRow):
    body: str


class Articles(Schema):
    articles: list[ArticleRow]
    next: str


class WholeStory(StoryRow):
    """With its articles, oldest first."""

    told_by: list[ArticleRow]


class EntityRow(Schema):
    entity: str
    name: str
    kind: str
    active: bool
    aliases: list[str]


class Entities(Schema):
    entities: list[EntityRow]
    next: str


class BucketRow(Leaning):
    """`negative`, `neutral` and `positive` are sums of the stories' probabilities: expected numbers of stories."""

    start: datetime
    stories: int
    articles: int


class Series(Schema):
    """Buckets with stories, oldest first; where there is none, nothing was published."""

    entity: str
    topic: str
    seconds: int
    buckets: list[BucketRow]


def as_cursor(after: tuple[datetime, int] | None) -> str:
    if after is None:
        return ""
    return base64.urlsafe_b64encode(f"{after[0].isoformat()} {after[1]}".encode()).decode()


def from_cursor(text: str) -> tuple[datetime, int] | None:
    """Raises a 422 `Problem` where it is none of ours."""
    if not text:
        return None
    try:
        time, number = base64.urlsafe_b64decode(text.encode()).decode().split(" ")
        found = datetime.fromisoformat(time), int(number)
        if found[0].tzinfo is None or not 0 <= found[1] < 2**63:
            raise ValueError
    except (ValueError, binascii.Error):
        raise invalid("query.after", "must be `next` of the page before") from None
    return found


def invalid(field: str, reason: str) -> Problem:
    return Problem(422, "The request is not valid", f"{field}: {reason}", errors=[{"field": field, "reason": reason}])


@router.get("/stories", response={200: Stories}, openapi_extra=READ)
@with_problems
def list_stories(
    request: HttpRequest,
    q: Annotated[str, Query(max_length=2_000, pattern=PLAIN, description="best match first, on one page")] = "",
    entity: Symbol = "",
    topic: Topic = "",
    language: Language = "",
    source: Outlet = "",
    since: Time = None,
    until: Time = None,
    after: Cursor = "",
    limit: Limit = 50,
) -> dict[str, Any]:
    """Stories, the newest first; with `q` those that match it, by words and by meaning."""
    page = Page(entity, topic, language, source, aware(since), aware(until), from_cursor(after), limit)
    if q.strip():
        found, degraded = selectors.search_stories(q, page)
        return {"stories": found, "next": "", "degraded": list(degraded)}
    found, cursor = selectors.stories(page)
    return {"stories": found, "next": as_cursor(cursor), "degraded": []}


@router.get("/stories/{story_id}", response={200: WholeStory}, openapi_extra=READ)
@with_problems
def get_story(request: HttpRequest, story_id: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> dict[str, Any]:
    """One story with the articles that tell it. A story that became part of another one is answered with that one."""
    return selectors.story(story_id)


@router.get("/articles", response={200: Articles}, openapi_extra=READ)
@with_problems
def list_articles(
    request: HttpRequest,
    entity: Symbol = "",
    topic: Topic = "",
    language: Language = "",
    source: Outlet = "",
    since: Time = None,
    until: Time = None,
    after: Cursor = "",
    limit: Limit = 50,
) -> dict[str, Any]:
    """Articles, the newest first."""
    page = Page(entity, topic, language, source, aware(since), aware(until), from_cursor(after), limit)
    found, cursor = selectors.articles(page)
    return {"articles": found, "next": as_cursor(cursor)}


@router.get("/articles/{path:article_id}", response={200: WholeArticle}, openapi_extra=READ)
@with_problems
def get_article(
    request: HttpRequest, article_id: Annotated[str, Path(min_length=1, max_length=200, pattern=PLAIN)]
) -> dict[str, Any]:
    """One article with all that was read in it."""
    return selectors.article(article_id)


@router.get("/entities", response={200: Entities}, openapi_extra=READ)
@with_problems
def list_entities(
    request: HttpRequest,
    q: Annotated[str, Query(max_length=200, pattern=PLAIN, description="part of a symbol or a name")] = "",
    after: Annotated[str, Query(max_length=60, pattern=PLAIN, description="`next` of the page before")] = "",
    limit: Limit = 100,
) -> dict[str, Any]:
    """Whom news is about, by symbol."""
    found, cursor = selectors.entities(q.strip(), after, limit)
    return {"entities": found, "next": cursor}


@router.get("/series", response={200: Series}, openapi_extra=READ)
@with_problems
def get_series(
    request: HttpRequest,
    entity: Symbol = "",
    topic: Topic = "",
    seconds: Size = "3600",
    since: Time = None,
    until: Time = None,
) -> dict[str, Any]:
    """Buckets of an entity, a topic, both, or of everything. By default the last 30 days, of minutes one day."""
    size, end = int(seconds), aware(until) or timezone.now()
    start = aware(since) or end - timedelta(days=1 if size == Bucket.MINUTE else 30)
    if (end - start).total_seconds() > MOST_BUCKETS * size:
        raise invalid("query.since", f"asks for more than {MOST_BUCKETS:,} buckets")
    found = selectors.series(entity, topic, size, start, end)
    return {"entity": entity, "topic": topic, "seconds": size, "buckets": found}
