"""One story, told whole: its articles, and what was read in them, sentence by sentence."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet

from domains.finance.models import Article, Score, Story
from domains.finance.pages.feed import StoryRow, story_rows
from domains.finance.pages.lean import Lean, lean_of_score

MOST_ARTICLES = 50


@dataclass(frozen=True, slots=True)
class Judged:
    """What a release says of the text (symbol empty) or of an entity in it, by one sentence."""

    symbol: str
    name: str
    sentence: str
    lean: Lean
    release: str


@dataclass(frozen=True, slots=True)
class Told:
    row: StoryRow
    topic_probability: float
    body: str
    url: str  # of the first article, where it has a safe one
    judged: list[Judged]
    articles: list[Article]  # the oldest first
    article_count: int
    note: str  # what could not be read of it


def told(story: Story) -> Told:
    [row] = story_rows([story])
    articles: QuerySet[Article] = story.articles.order_by("published_at", "id")
    lead = story.lead
    return Told(
        row,
        story.topic_probability,
        lead.body if lead else "",
        web_address(lead.url) if lead else "",
        judged(lead) if lead else [],
        list(articles[:MOST_ARTICLES]),
        story.article_count,
        lead.note if lead else "",
    )


def judged(article: Article) -> list[Judged]:
    """The text first, then the entities, what leans furthest first."""
    scores = Score.objects.filter(article=article, is_current=True).select_related("entity")
    found = [
        Judged(
            score.entity.symbol if score.entity else "",
            score.name or (score.entity.name if score.entity else ""),
            score.sentence,
            lean_of_score(score),
            score.release[:8],
        )
        for score in scores
    ]
    return sorted(found, key=lambda one: (bool(one.symbol), -abs(one.lean.sentiment)))


def web_address(url: str) -> str:
    """The address where it may stand in a link: http or https, nothing that a browser would run."""
    return url if url.startswith(("https://", "http://")) else ""
