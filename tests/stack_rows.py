"""What one installation holds after the streams of `tests.streams`, for comparison with another one; runs inside it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from domains.commerce import jobs
from domains.commerce.models import Catalogue, Interaction, Item, ItemStatistics
from domains.finance.alerting import evaluation
from domains.finance.alerting.series import Group
from domains.finance.alerting.services import save_rule
from domains.finance.models import Alert, Bucket, Entity, Mention, RuleProgress, Story, Transition
from domains.support.models import Answer, Conversation, Feedback
from suite.events.models import Event
from suite.releases import selectors
from tests.streams import SOURCE


def rows() -> dict[str, Any]:
    """By name, what must be equal, without the ids of rows; `leanings` but for the last digits."""
    return {**shop_rows(), **desk_rows(), **news_rows(), **alert_rows()}


def shop_rows() -> dict[str, Any]:
    items, interactions = Item.objects.order_by("key"), Interaction.objects.order_by("event__event_id")
    statistics = ItemStatistics.objects.order_by("item_key")
    events = Event.objects.filter(source=SOURCE).order_by("event_id")
    return {
        "items": list(
            items.values_list(
                "key", "title", "description", "category", "brand", "price", "currency", "is_available",
                "attributes", "is_removed", "changed_by",
            )
        ),
        "interactions": [
            [*told, at.isoformat()]
            for *told, at in interactions.values_list(
                "event__event_id", "user_key", "item_key", "kind", "value", "timestamp"
            )
        ],
        "statistics": [[row.item_key, round(row.popularity, 9), bytes(row.neighbours).hex()] for row in statistics],
        "blend": [catalogue.blend for catalogue in Catalogue.objects.filter(slug=SOURCE)],
        "events": list(events.values_list("event_id", "type", "data")),
    }  # fmt: skip


def desk_rows() -> dict[str, Any]:
    answers, conversations = Answer.objects.order_by("key"), Conversation.objects.order_by("key")
    feedback = Feedback.objects.order_by("event__event_id")
    return {
        "answers": list(answers.values_list("key", "title", "text", "is_removed", "changed_by")),
        "conversations": list(conversations.values_list("key", "state", "revision", "customer")),
        "feedback": list(feedback.values_list("suggestion__uid", "kind", "position", "edit_distance")),
    }


def news_rows() -> dict[str, Any]:
    symbols = dict(Entity.objects.values_list("pk", "symbol")) | {0: ""}
    stories = Story.objects.select_related("lead").prefetch_related("articles")
    mentions = Mention.objects.select_related("article")
    buckets = sorted(
        [symbols[row.entity_id], row.topic, row.seconds, row.start.isoformat(), row.stories, row.articles,
         [row.negative, row.neutral, row.positive]]
        for row in Bucket.objects.filter(stories__gt=0)
    )  # fmt: skip
    return {
        "stories": sorted(
            [sorted(article.key for article in row.articles.all()), row.lead.key, row.topic, row.source_count]
            for row in stories
            if row.lead
        ),
        "mentions": sorted([row.article.key, symbols[row.entity_id], row.articles] for row in mentions),
        "buckets": [row[:-1] for row in buckets],
        "leanings": [row[-1] for row in buckets],
    }


def alert_rows() -> dict[str, Any]:
    symbols = dict(Entity.objects.values_list("pk", "symbol")) | {0: ""}
    return {
        "alerts": sorted(
            [
                row.rule_name, row.entity.symbol if row.entity else "", row.severity, row.state,
                row.started_at.isoformat(), row.fired_at.isoformat(),
                row.resolved_at.isoformat() if row.resolved_at else "", row.figures["stories"], len(row.story_ids),
            ]
            for row in Alert.objects.select_related("entity")
        ),
        "transitions": sorted(
            [row.rule_name, symbols[Group.from_key(row.group_key).entity_id], row.at.isoformat(), row.before, row.after]
            for row in Transition.objects.exclude(group_key="")
        ),
    }  # fmt: skip


def learn() -> None:
    """What the shop's jobs do now and then."""
    catalogue = Catalogue.objects.get(slug=SOURCE)
    jobs.rebuild(catalogue, Interaction.objects.latest("event_id").event_id)
    release = selectors.active()
    assert release is not None
    jobs.learn_blend(catalogue, release.fingerprint)


def watch(begin: str, rules: list[dict[str, Any]]) -> None:
    """Rules that began at that time: the evaluator of the installation brings them up to now."""
    at = datetime.fromisoformat(begin)
    with transaction.atomic():
        for fields in rules:
            rule = save_rule(fields, by="test")
            RuleProgress.objects.create(
                rule=rule, version=1, begun_at=at, evaluated_until=at, revision=evaluation.newest_revision()
            )
