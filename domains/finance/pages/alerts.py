"""Alerts as cards: what the rule saw against what was to be expected, how it was before, and who took it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from domains.finance.alerting.notifications import active_silences, is_acknowledged, silence_of
from domains.finance.alerting.series import Group
from domains.finance.models import Alert, AlertRule, Entity, RuleState, Silence
from domains.finance.pages.selection import Selection, members, topic_words

HISTORY_HOURS = 24
MOST_CARDS = 50
RECENT = timedelta(hours=1)  # how long a resolved alert stays on the dashboard
STATES = ("firing", "pending", "resolved")
SEVERITIES = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class AlertCard:
    """`key` names the card on the page; `id` is None while the rule only waits (pending)."""

    key: str
    id: int | None
    state: str  # firing, pending, resolved
    group: str
    rule: str
    rule_id: int | None
    severity: str
    since: datetime
    headline: str  # what the rule saw
    versus: str  # what was to be expected, or the level that was passed
    why: str = ""
    fired: tuple[str, ...] = ()  # of each of the last 24 hours: "fired", or nothing
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None
    acknowledged_until: datetime | None = None
    note: str = ""
    silence: Silence | None = None

    @property
    def tone(self) -> str:
        """The class of the card: one that somebody took on is quieter."""
        return "quiet" if self.state == "firing" and (self.acknowledged_by or self.silence) else self.state

    @property
    def state_tone(self) -> str:
        return {"firing": "bad", "pending": "warn", "resolved": "good"}[self.state]

    @property
    def history_words(self) -> str:
        hours = sum(bool(block) for block in self.fired)
        return f"Fired in {hours} of the last {HISTORY_HOURS} hours"


def cards(selection: Selection) -> list[AlertCard]:
    """What fires, what is pending, what resolved a moment ago; of each the worst first."""
    now = timezone.now()
    is_shown = Q(state=Alert.FIRING) | Q(resolved_at__gt=now - RECENT)
    alerts = of_selection(Alert.objects.filter(is_shown), selection).select_related("entity")
    found = [*alert_cards(list(alerts.order_by("-fired_at")[:MOST_CARDS])), *pending_cards(selection)]
    return sorted(found, key=lambda card: STATES.index(card.state))


def of_selection(alerts: QuerySet[Alert], selection: Selection) -> QuerySet[Alert]:
    if selection.entity:
        alerts = alerts.filter(entity__symbol=selection.entity)
    elif selection.unknown_entity:
        return alerts.none()
    if selection.topic:
        alerts = alerts.filter(topic=selection.topic)
    if selection.watch_list:
        alerts = alerts.filter(entity__in=members(selection))
    return alerts


def alert_cards(alerts: Sequence[Alert]) -> list[AlertCard]:
    """Firing before resolved, critical before the rest, what nobody took on before what somebody did."""
    now = timezone.now()
    silences, fired = active_silences(now), firing_hours(alerts)
    made = [card_of(alert, now, silences, fired.get((alert.rule_id, alert.group_key), ())) for alert in alerts]

    def order(card: AlertCard) -> tuple[Any, ...]:
        is_taken = bool(card.acknowledged_by or card.silence)
        return card.state != "firing", is_taken, SEVERITIES.get(card.severity, 9), -card.since.timestamp()

    return sorted(made, key=order)


def card_of(alert: Alert, now: datetime, silences: Sequence[Silence], fired: Sequence[str]) -> AlertCard:
    is_firing = alert.state == Alert.FIRING
    saw, versus = figure_words(alert.spec, alert.figures)
    return AlertCard(
        f"alert-{alert.pk}",
        alert.pk,
        alert.state,
        group_words(alert),
        alert.rule_name,
        alert.rule_id,
        alert.severity,
        alert.fired_at if is_firing else alert.resolved_at or alert.fired_at,
        saw,
        versus,
        alert.why,
        tuple(fired),
        alert.acknowledged_by if is_acknowledged(alert, now) else "",
        alert.acknowledged_at,
        alert.acknowledged_until,
        alert.acknowledged_note,
        silence_of(alert, silences) if is_firing else None,
    )


def group_words(alert: Alert) -> str:
    """What the alert is about: `ACME`, `ACME · earnings`, or `all stories`."""
    parts = (alert.entity.symbol if alert.entity else "", topic_words(alert.topic))
    return " · ".join(filter(None, parts)) or "all stories"


def figure_words(spec: dict[str, Any], figures: dict[str, Any]) -> tuple[str, str]:
    """(what the rule saw, against what), as short as can be: `17 stories`, `vs 4.2 expected`."""
    stories, value = figures.get("stories", 0), figures.get("value")
    counted = f"{stories} stor{'y' if stories == 1 else 'ies'}"
    threshold, side = spec["threshold"], "or more" if spec["comparison"] == "above" else "or less"
    if spec["metric"] == "surge":
        return counted, f"vs {expected_words(figures['expected'])} expected"
    if spec["metric"] == "volume":
        return counted, f"at {threshold:g} {side}"
    if value is None:
        return counted, ""
    if spec["metric"] == "negative_share":
        return f"{value:.0%} negative", f"of {counted}, at {threshold:.0%} {side}"
    return f"{value:+.2f} sentiment".replace("-", "−"), f"of {counted}, at {threshold:+.2f} {side}".replace("-", "−")


def expected_words(count: float) -> str:
    """A number of stories that is hardly ever whole: `4.2`, `17`, `under 0.1`."""
    return "under 0.1" if count < 0.05 else f"{count:.1f}".removesuffix(".0")


def pending_cards(selection: Selection) -> list[AlertCard]:
    states = list(RuleState.objects.filter(name="pending").select_related("rule").order_by("since")[:MOST_CARDS])
    groups = {state.pk: Group.from_key(state.group_key) for state in states}
    entities = Entity.objects.in_bulk({group.entity_id for group in groups.values() if group.entity_id})
    made = []
    for state in states:
        group = groups[state.pk]
        entity = entities.get(group.entity_id)
        if selection.entity and (entity is None or entity.symbol != selection.entity):
            continue
        if selection.topic and group.topic != selection.topic:
            continue
        name = " · ".join(filter(None, (entity.symbol if entity else "", topic_words(group.topic)))) or "all stories"
        rule: AlertRule = state.rule
        key, wait = f"state-{state.pk}", f"fires after {rule.for_seconds // 60} min beyond its level"
        made.append(AlertCard(key, None, "pending", name, rule.name, rule.pk, rule.severity, state.since, "", wait))
    return made


def taken_on() -> Q:
    """Alerts that somebody acknowledged, and whose acknowledgement holds."""
    return ~Q(acknowledged_by="") & (Q(acknowledged_until=None) | Q(acknowledged_until__gt=timezone.now()))


def firing_hours(alerts: Sequence[Alert]) -> dict[tuple[int | None, str], list[str]]:
    """For each alert's rule and group, which of the last 24 hours it fired in, oldest first."""
    now = timezone.now()
    start = now - timedelta(hours=HISTORY_HOURS)
    rows = Alert.objects.filter(
        Q(resolved_at=None) | Q(resolved_at__gt=start),
        rule__in={alert.rule_id for alert in alerts},
        group_key__in={alert.group_key for alert in alerts},
    )
    hours: dict[tuple[int | None, str], list[str]] = {}
    for rule, group, fired_at, resolved_at in rows.values_list("rule", "group_key", "fired_at", "resolved_at"):
        blocks = hours.setdefault((rule, group), [""] * HISTORY_HOURS)
        first = max(0, int((fired_at - start) // timedelta(hours=1)))
        last = int(((resolved_at or now) - start) // timedelta(hours=1))
        for hour in range(first, min(HISTORY_HOURS - 1, last) + 1):
            blocks[hour] = "fired"
    return hours
