"""Where a release's decisions on live news stand: the scores of articles, and of entities in them."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet
from django.urls import reverse

from domains.finance.models import Score
from suite.marking import mark_entity
from suite.releases.decisions import Decision, LiveDecisions


def scores() -> QuerySet[Score]:
    return Score.objects.select_related("article")


def titles() -> QuerySet[Score]:
    """Of whole articles: they have a topic."""
    return scores().filter(entity=None).exclude(topic="")


def sentiments(rows: Sequence[Score]) -> list[Decision]:
    found = []
    for row in rows:
        leaning = {"negative": row.p_negative, "neutral": row.p_neutral, "positive": row.p_positive}
        label = max(leaning, key=leaning.__getitem__)
        found.append(Decision(row.pk, mark_entity(row.sentence, row.name), label, leaning[label], page_of(row)))
    return found


def topics(rows: Sequence[Score]) -> list[Decision]:
    return [Decision(row.pk, row.sentence, row.topic, row.topic_probability, page_of(row)) for row in rows]


def page_of(row: Score) -> str:
    return reverse("finance:story", args=[row.article.story_id]) if row.article.story_id else ""


DECISIONS = {"sentiment": LiveDecisions(scores, sentiments), "topic": LiveDecisions(titles, topics)}
