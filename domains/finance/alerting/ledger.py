"""What is written down of decisions: alerts, and the ledger that is only ever added to. All of it happens in the
transaction of whoever decides, and `tell` comes last in it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from domains.finance.alerting import notifications
from domains.finance.alerting.explain import why
from domains.finance.alerting.history import rule_spec
from domains.finance.alerting.rules import FIRING, RESOLVED
from domains.finance.alerting.series import Group, moment
from domains.finance.models import Alert, AlertRule, Entity, Mention, Score, Transition
from suite.events.envelope import Envelope
from suite.events.services import record_events
from suite.live.broadcast import broadcast

MOST_STORIES = 500  # ids that an alert keeps; the figures count all


def line(
    rule: AlertRule | None,
    at: int,
    before: str,
    after: str,
    *,
    group: Group | None = None,
    alert: Alert | None = None,
    figures: dict[str, Any] | None = None,
    by: str = "",
    note: str = "",
) -> Transition:
    """A line of the ledger, not written yet. Without a group it is of the rule as a whole."""
    return Transition(
        rule=rule,
        rule_name=rule.name if rule else alert.rule_name if alert else "",
        rule_version=rule.version if rule else alert.rule_version if alert else 0,
        group_key=group.key if group else "",
        alert=alert,
        at=moment(at),
        before=before,
        after=after,
        figures=figures or {},
        by=by,
        note=note,
        decided_at=timezone.now(),
    )


def append(lines: Iterable[Transition]) -> None:
    """Write lines; what the evaluator wrote before is not written again."""
    Transition.objects.bulk_create(lines, ignore_conflicts=True)


def write(rule: AlertRule, at: int, before: str, after: str, note: str) -> None:
    """A line about the rule as a whole."""
    append([line(rule, at, before, after, note=note)])


def open_alert(
    rule: AlertRule,
    group: Group,
    started_at: int,
    fired_at: int,
    figures: dict[str, Any],
    seen: list[list[Any]],
    rested_until: datetime | None,
) -> tuple[Alert, bool]:
    """The alert of a firing, and whether it is new. One that fired in the same minute before, under a clock that was
    then put back, fires on, and nobody is told a second time."""
    mentions = Mention.objects.filter(
        entity_id=group.entity_id, published_at__gte=moment(figures["from"]), published_at__lt=moment(figures["to"])
    )
    if group.topic:
        mentions = mentions.filter(topic=group.topic)
    counted = list(mentions.order_by("-published_at", "-story_id").values_list("story_id", "article_id")[:MOST_STORIES])
    scored = Score.objects.filter(article__in=[article for _, article in counted[:1]], is_current=True)
    entity = Entity.objects.filter(pk=group.entity_id).first() if group.entity_id else None
    spec = rule_spec(rule)
    alert, is_new = Alert.objects.get_or_create(
        rule=rule,
        group_key=group.key,
        fired_at=moment(fired_at),
        defaults={
            "rule_name": rule.name,
            "rule_version": rule.version,
            "spec": spec.as_json(),
            "severity": rule.severity,
            "entity": entity,
            "topic": group.topic,
            "started_at": moment(started_at),
            "decided_at": timezone.now(),
            "figures": figures,
            "seen": seen,
            "rested_until": rested_until,
            "story_ids": [story for story, _ in counted],
            "release": scored.values_list("release", flat=True).first() or "",
            "why": why(spec, figures),
        },
    )
    if not is_new and alert.state == Alert.RESOLVED:
        alert.state, alert.resolved_at, alert.resolution = Alert.FIRING, None, ""
        alert.save(update_fields=["state", "resolved_at", "resolution"])
    return alert, is_new


def close_alert(alert: Alert, at: int, resolution: str = "") -> None:
    alert.state, alert.resolved_at, alert.resolution = Alert.RESOLVED, moment(at), resolution
    alert.save(update_fields=["state", "resolved_at", "resolution"])


def end_alerts(alerts: QuerySet[Alert], at: int, resolution: str) -> None:
    """Resolve alerts that no figures will end any more, for a reason that people can read."""
    ended = list(alerts.select_related("rule", "entity"))
    for alert in ended:
        close_alert(alert, at, resolution)
    append(
        line(alert.rule, at, FIRING, RESOLVED, group=Group.from_key(alert.group_key), alert=alert, note=resolution)
        for alert in ended
    )
    tell([], ended)


def tell(fired: Sequence[Alert], resolved: Sequence[Alert]) -> None:
    """Everybody who is to know: channels, pages, and whoever reads events. Last in the transaction."""
    if not fired and not resolved:
        return
    notifications.plan(fired, resolved)
    tell_pages((*fired, *resolved))
    record_events([as_event(alert, FIRING) for alert in fired] + [as_event(alert, RESOLVED) for alert in resolved])


def tell_pages(alerts: Iterable[Alert]) -> None:
    symbols = {alert.entity.symbol for alert in alerts if alert.entity}
    broadcast({"finance.alerts", *(f"finance.entity:{symbol}" for symbol in symbols)})


def as_event(alert: Alert, happened: str) -> Envelope:
    """`finance.alert.fired` or `finance.alert.resolved`."""
    at = alert.fired_at if happened == FIRING else alert.resolved_at or alert.fired_at
    return Envelope(
        id=f"alert-{alert.pk}-{'fired' if happened == FIRING else 'resolved'}-{time.time_ns()}",
        source="suite",
        type=f"finance.alert.{'fired' if happened == FIRING else 'resolved'}",
        subject=str(alert.pk),
        time=at,
        data={
            "alert_id": alert.pk,
            "rule": alert.rule_name,
            "severity": alert.severity,
            "entity": alert.entity.symbol if alert.entity else "",
            "topic": alert.topic,
            "fired_at": alert.fired_at.isoformat(),
            "resolved_at": alert.resolved_at.isoformat() if alert.resolved_at else None,
            "figures": alert.figures,
            "why": alert.why,
        },
    )
