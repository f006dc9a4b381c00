"""Reads of alerting as plain data: alerts with their evidence, rules with how they do, what was to be expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from domains.finance.alerting.backtest import BackTest
from domains.finance.alerting.baseline import band
from domains.finance.alerting.history import Scope, expected, stored_series
from domains.finance.alerting.notifications import active_silences, is_acknowledged, silence_of
from domains.finance.alerting.series import DAY, HOUR, MINUTE, PARTS, Group, Series, floor, moment, unix
from domains.finance.models import Alert, AlertRule, Entity, Mention, Score, Silence, Transition

MOST_STORIES = 100  # of an alert's evidence
RECENT = 30 * DAY
WEEK = 7 * DAY


def alerts(*, state: str = "", symbol: str = "", topic: str = "", rule_id: int | None = None) -> QuerySet[Alert]:
    """Newest first; `state` is firing, resolved or empty."""
    found = Alert.objects.select_related("entity").order_by("-fired_at", "-id")
    wanted = {"state": state, "entity__symbol": symbol, "topic": topic, "rule": rule_id}
    return found.filter(**{name: value for name, value in wanted.items() if value})


def alert_rows(rows: Sequence[Alert]) -> list[dict[str, Any]]:
    """Alerts as the API shows them."""
    now = timezone.now()
    silences = active_silences(now)
    return [alert_row(alert, silences, now) for alert in rows]


def alert_row(alert: Alert, silences: Sequence[Silence], now: datetime) -> dict[str, Any]:
    silence = silence_of(alert, silences) if alert.state == Alert.FIRING else None
    return {
        "alert_id": alert.pk,
        "state": alert.state,
        "rule": alert.rule_name,
        "rule_id": alert.rule_id,
        "rule_version": alert.rule_version,
        "severity": alert.severity,
        "entity": alert.entity.symbol if alert.entity else "",
        "topic": alert.topic,
        "started_at": alert.started_at.isoformat(),
        "fired_at": alert.fired_at.isoformat(),
        "resolved_at": alert.resolved_at.isoformat() if alert.resolved_at else None,
        "resolution": alert.resolution,
        "why": alert.why,
        "figures": alert.figures,
        "late": alert.late.get("words", ""),
        "acknowledged_by": alert.acknowledged_by if is_acknowledged(alert, now) else "",
        "acknowledged_until": alert.acknowledged_until.isoformat() if alert.acknowledged_until else None,
        "silenced_by": silence.by if silence else "",
        "silence_reason": silence.reason if silence else "",
    }


def evidence(alert: Alert) -> dict[str, Any]:
    """What an alert was decided on: the rule, the minutes, the stories that were counted, the same hours a week before,
    and everything that happened since."""
    return {
        "spec": alert.spec,
        "release": alert.release,
        "minutes": [{"at": moment(at).isoformat(), "value": value} for at, value, _, _ in alert.seen],
        "stories": counted_stories(alert),
        "week_before": week_before(alert),
        "timeline": timeline(alert),
    }


def counted_stories(alert: Alert) -> list[dict[str, Any]]:
    """The stories that were counted, those first that were most negative, each with the sentence that was scored."""
    entity_id = Group.from_key(alert.group_key).entity_id
    mentions = Mention.objects.filter(story__in=alert.story_ids, entity_id=entity_id).select_related("story", "article")
    found = list(mentions.order_by("-negative", "story_id")[:MOST_STORIES])
    sentences = sentences_of([mention.article_id for mention in found], entity_id)
    return [
        {
            "story_id": mention.story_id,
            "title": mention.story.title,
            "url": mention.article.url,
            "source": mention.article.source_name,
            "outlets": mention.story.source_count,
            "topic": mention.story.topic,
            "published_at": mention.published_at.isoformat(),
            "negative": round(mention.negative, 4),
            "neutral": round(mention.neutral, 4),
            "positive": round(mention.positive, 4),
            "sentence": sentences.get(mention.article_id, ""),
        }
        for mention in found
    ]


def sentences_of(articles: Sequence[int], entity_id: int) -> dict[int, str]:
    scores = Score.objects.filter(article__in=articles, entity=entity_id or None, is_current=True)
    return dict(scores.values_list("article", "sentence"))


def week_before(alert: Alert) -> dict[str, Any]:
    """The figures of the same window a week before."""
    end = floor(unix(alert.fired_at), MINUTE) - WEEK
    window = alert.spec["window"]
    cells = stored_series(Scope.of_groups([Group.from_key(alert.group_key)]), end - window, end, MINUTE).cells
    stories, negative, neutral, positive = (int(figure) for figure in cells[0].sum(axis=1))
    return {
        "from": end - window,
        "to": end,
        "stories": stories,
        "negative": negative / PARTS,
        "neutral": neutral / PARTS,
        "positive": positive / PARTS,
    }


def timeline(alert: Alert) -> list[dict[str, Any]]:
    """The ledger's lines of an alert, in order; that it was pending stands before it had a number."""
    lines = Transition.objects.filter(
        Q(alert=alert)
        | Q(rule=alert.rule_id, rule_version=alert.rule_version, group_key=alert.group_key, at=alert.started_at, by="")
    )
    return [
        {
            "at": line.at.isoformat(),
            "before": line.before,
            "after": line.after,
            "by": line.by,
            "note": line.note,
            "decided_at": line.decided_at.isoformat(),
        }
        for line in lines.order_by("at", "id")
    ]


def rules() -> QuerySet[Any]:
    """Every rule with how it does: `firing`, `pending` and `recent`, its alerts of the last 30 days."""
    since = timezone.now().timestamp() - RECENT
    return AlertRule.objects.select_related("progress", "entity", "watch_list").annotate(
        firing=Count("alerts", filter=Q(alerts__state=Alert.FIRING), distinct=True),
        recent=Count("alerts", filter=Q(alerts__fired_at__gte=moment(int(since))), distinct=True),
        pending=Count("states", filter=Q(states__name="pending"), distinct=True),
    )


def rule_row(rule: Any) -> dict[str, Any]:
    """A row of `rules()` as the API shows it."""
    progress = getattr(rule, "progress", None)
    return {
        "rule_id": rule.pk,
        "name": rule.name,
        "enabled": rule.is_enabled,
        "metric": rule.metric,
        "scope": rule.scope,
        "entity": rule.entity.symbol if rule.entity else "",
        "watch_list": rule.watch_list.name if rule.watch_list else "",
        "topic": rule.topic,
        "window_seconds": rule.window_seconds,
        "comparison": rule.comparison,
        "threshold": rule.threshold,
        "clear_threshold": rule.clear_threshold,
        "for_seconds": rule.for_seconds,
        "cool_down_seconds": rule.cool_down_seconds,
        "min_stories": rule.min_stories,
        "severity": rule.severity,
        "version": rule.version,
        "changed_by": rule.changed_by,
        "firing": rule.firing,
        "pending": rule.pending,
        "alerts_30_days": rule.recent,
        "evaluated_until": progress.evaluated_until.isoformat() if progress else None,
        "no_data_since": progress.silent_since.isoformat() if progress and progress.silent_since else None,
        "last_error": progress.last_error if progress else "",
    }


def back_test_row(found: BackTest) -> dict[str, Any]:
    """A back-test as the API shows it."""
    ids = {each.group.entity_id for each in found.firings}
    symbols = dict(Entity.objects.filter(pk__in=ids).values_list("id", "symbol"))
    return {
        "from": moment(found.start).isoformat(),
        "to": moment(found.end).isoformat(),
        "groups": found.groups,
        "count": found.count,
        "alerts_per_week": found.alerts_per_week,
        "seconds_firing": found.seconds_firing,
        "seconds": found.seconds,
        "firings": [
            {
                "entity": symbols.get(each.group.entity_id, ""),
                "topic": each.group.topic,
                "started_at": moment(each.started_at).isoformat(),
                "fired_at": moment(each.fired_at).isoformat(),
                "resolved_at": moment(each.resolved_at).isoformat() if each.resolved_at else None,
                "figures": each.figures,
            }
            for each in found.firings
        ],
    }


@dataclass(frozen=True, slots=True)
class Band:
    """A group's stories in steps of `series.seconds`, and what was to be expected of each: (steps,) all."""

    series: Series
    expected: np.ndarray
    low: np.ndarray
    high: np.ndarray


def series_with_band(entity_id: int, topic: str, start: int, end: int, seconds: int) -> Band:
    """Steps of whole minutes, hours or days, from Unix seconds `start` on, a multiple of the step."""
    group = Group(entity_id, topic)
    size = next(size for size in (DAY, HOUR, MINUTE) if seconds % size == 0)
    series = stored_series(Scope.of_groups([group]), start, end, size)
    width = seconds // size
    cells = series.cells[:, :, : series.steps - series.steps % width]
    series = Series(series.groups, start, seconds, cells.reshape(1, 4, -1, width).sum(axis=3))
    ends = np.arange(start + seconds, series.end + 1, seconds)
    awaited, spread = expected([group], start, series.end).window(seconds, ends)
    low, high = band(awaited[0], spread[0])
    return Band(series, awaited[0], low, high)
