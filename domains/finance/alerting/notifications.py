"""Who is told of alerts. A notification is a row before it is a message: planned in the transaction of the decision,
sent by a job, tried again with the same key and the same body until the receiver has it.

Of each channel's groups the notifications form a chain: each one's key names the one before, so two workers can never
both continue it. A receiver that keeps the `Idempotency-Key` of what it took in gets no message twice, even where the
sender was killed between sending and noting it; in mails the `Message-ID` serves for that.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from domains.finance.alerting import outlets
from domains.finance.models import Alert, AlertRule, Channel, Notification, Silence

log = logging.getLogger(__name__)
LEASE = outlets.SECONDS + 5.0  # seconds after which a try whose end nobody noted is made again; a request ends before
FIRST_WAIT, LONGEST_WAIT = 10.0, 3_600.0  # seconds before the second try, doubled with every try
MOST_TRIES = 12
AT_ONCE = 50
SEVERITIES = {name: i for i, name in enumerate(AlertRule.Severity.values)}


def notify() -> None:
    """Tell again what is to be told again, and send what is due."""
    remind()
    deliver()


# Planning: in the transaction of the decision ------------------------------------------------------------------


def plan(fired: Sequence[Alert], resolved: Sequence[Alert]) -> None:
    """Have every channel tell of alerts that fired, and of those that resolved where it told that they fired."""
    for channel in Channel.objects.filter(is_enabled=True):
        wanted = [alert for alert in fired if is_for(channel, alert)]
        if channel.tells_resolved and resolved:
            told = set(
                Alert.objects.filter(
                    pk__in=[alert.pk for alert in resolved], notifications__channel=channel
                ).values_list("pk", flat=True)
            )
            wanted += [alert for alert in resolved if alert.pk in told and alert not in wanted]
        collect(channel, wanted)


def is_for(channel: Channel, alert: Alert) -> bool:
    return SEVERITIES.get(alert.severity, 0) >= SEVERITIES[channel.least_severity]


def collect(channel: Channel, alerts: Iterable[Alert], *, is_repeat: bool = False) -> None:
    """Put alerts into the notifications of their groups that are still collecting; new ones go out after the wait."""
    groups: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        groups[group_of(channel, alert)].append(alert)
    for key, members in groups.items():
        with transaction.atomic():
            notification = collecting(channel, key, is_repeat=is_repeat)
            if notification is not None:
                notification.alerts.add(*members)


def group_of(channel: Channel, alert: Alert) -> str:
    by = {
        Channel.GroupBy.RULE: f"rule {alert.rule_name}",
        Channel.GroupBy.ENTITY: f"entity {alert.entity.symbol if alert.entity else ''}",
        Channel.GroupBy.TOPIC: f"topic {alert.topic}",
        Channel.GroupBy.ALERT: f"alert {alert.pk}",
    }
    return by.get(Channel.GroupBy(channel.group_by), "all")


@transaction.atomic
def collecting(channel: Channel, group_key: str, *, is_repeat: bool = False) -> Notification | None:
    """The one notification of the group that still collects; None where another worker has just sent the next one."""
    now = timezone.now()
    found = Notification.objects.filter(channel=channel, group_key=group_key)
    last = found.select_for_update().order_by("-id").first()  # nobody sends it meanwhile without what joins it now
    if last is not None and last.state == Notification.COLLECTING:
        return last
    wait = 0 if is_repeat else channel.group_wait_seconds
    try:
        with transaction.atomic():
            return Notification.objects.create(
                channel=channel,
                key=chained_key(channel, group_key, last),
                group_key=group_key,
                is_repeat=is_repeat,
                due_at=now + timedelta(seconds=wait),
                created_at=now,
            )
    except IntegrityError:
        return found.filter(state=Notification.COLLECTING).first()


def chained_key(channel: Channel, group_key: str, last: Notification | None) -> str:
    before = last.key if last else ""
    return hashlib.sha256(f"{channel.pk} {group_key} {before}".encode()).hexdigest()


# Repeating: what still fires, and what fires again in the open when a silence ends -------------------------------


def remind(now: datetime | None = None) -> None:
    """Have channels tell (again) of alerts that fire, that nobody took on, and that they have not told of lately."""
    now = now or timezone.now()
    firing = [
        alert
        for alert in Alert.objects.filter(state=Alert.FIRING).select_related("entity")
        if not is_acknowledged(alert, now)
    ]
    silences = active_silences(now)
    firing = [alert for alert in firing if silence_of(alert, silences) is None]
    if not firing:
        return
    for channel in Channel.objects.filter(is_enabled=True):
        wanted = [alert for alert in firing if is_for(channel, alert)]
        last = last_told(channel, wanted)
        fresh = [alert for alert in wanted if alert.pk not in last]
        stale = [alert for alert in wanted if alert.pk in last and is_over(channel, last[alert.pk], now)]
        collect(channel, fresh)
        collect(channel, stale, is_repeat=True)


def last_told(channel: Channel, alerts: Sequence[Alert]) -> dict[int, datetime | None]:
    """By alert, when the channel told of it last; None where it is about to."""
    rows = (
        Notification.objects.filter(channel=channel, alerts__in=alerts)
        .exclude(state=Notification.SUPPRESSED)
        .order_by("id")
        .values_list("alerts", "finished_at")
    )
    wanted = {alert.pk for alert in alerts}
    return {pk: finished_at for pk, finished_at in rows if pk in wanted}


def is_over(channel: Channel, told_at: datetime | None, now: datetime) -> bool:
    return bool(channel.repeat_seconds and told_at and told_at + timedelta(seconds=channel.repeat_seconds) <= now)


def is_acknowledged(alert: Alert, now: datetime) -> bool:
    until = alert.acknowledged_until
    return bool(alert.acknowledged_by) and (until is None or until > now)


def active_silences(now: datetime) -> list[Silence]:
    return list(Silence.objects.filter(starts_at__lte=now, until__gt=now))


def silence_of(alert: Alert, silences: Sequence[Silence]) -> Silence | None:
    """The first silence that matches the alert."""
    return next((silence for silence in silences if silence.matches(alert)), None)


# Sending ------------------------------------------------------------------------------------------------------


def deliver(now: datetime | None = None) -> int:
    """Send what is due; returns how many tries were made. Each is claimed, sent outside any transaction, and noted.
    One whose forerunner of the group is still on its way waits: "resolved" never comes before "firing"."""
    now = now or timezone.now()
    due = Notification.objects.filter(
        state__in=(Notification.COLLECTING, Notification.SENDING), due_at__lte=now, channel__is_enabled=True
    )
    earlier = Notification.objects.filter(
        channel=OuterRef("channel"), group_key=OuterRef("group_key"), pk__lt=OuterRef("pk"), state=Notification.SENDING
    )
    due = due.filter(~Exists(earlier))
    tries = 0
    for notification in due.select_related("channel").order_by("due_at")[:AT_ONCE]:
        if claim(notification, now):
            attempt(notification)
            tries += 1
    return tries


def claim(notification: Notification, now: datetime) -> bool:
    """Make the notification ours for `LEASE` seconds, and fix what it says at the first try; False where it is
    somebody else's or has nothing to say.

    A mail may take longer than that: what keeps others from it is the lease of the job, which is kept alive meanwhile.
    """
    until = max(now, timezone.now()) + timedelta(seconds=LEASE)  # `now` may lie some tries back
    with transaction.atomic():
        ours = Notification.objects.filter(
            pk=notification.pk, state=notification.state, attempts=notification.attempts
        ).update(state=Notification.SENDING, attempts=notification.attempts + 1, due_at=until)
        if not ours:
            return False
        is_first = notification.state == Notification.COLLECTING
        notification.refresh_from_db()
        if not is_first:
            return True
        alerts, reason = tellable(notification, now)
        if not alerts:
            finish(notification, Notification.SUPPRESSED, reason)
            return False
        notification.alerts.set(alerts)
        notification.body, notification.left_out = outlets.body(notification, alerts), reason[:500]
        notification.save(update_fields=["body", "left_out"])
        return True


def tellable(notification: Notification, now: datetime) -> tuple[list[Alert], str]:
    """The alerts that the channel is to be told of now, and what was left out of them and why."""
    silences = active_silences(now)
    told: list[Alert] = []
    reasons = []
    for alert in notification.alerts.select_related("entity").order_by("fired_at", "id"):
        silence = silence_of(alert, silences)
        if silence is not None:
            reasons.append(f"alert {alert.pk}: silenced by {silence.by} ({silence.reason})")
        elif alert.state == Alert.RESOLVED and not was_told(notification, alert):
            reasons.append(f"alert {alert.pk}: resolved before anybody was told")
        elif alert.state == Alert.FIRING and notification.is_repeat and is_acknowledged(alert, now):
            reasons.append(f"alert {alert.pk}: acknowledged by {alert.acknowledged_by}")
        else:
            told.append(alert)
    return told, "; ".join(reasons)


def was_told(notification: Notification, alert: Alert) -> bool:
    before = Notification.objects.filter(channel=notification.channel, alerts=alert, pk__lt=notification.pk)
    return before.filter(state__in=(Notification.SENT, Notification.SENDING, Notification.FAILED)).exists()


def attempt(notification: Notification) -> None:
    try:
        response = outlets.send(notification)
    except outlets.Refused as error:  # it will not be taken however often it is sent
        finish(notification, Notification.FAILED, str(error))
    except outlets.Unreachable as error:
        if notification.attempts >= MOST_TRIES:
            finish(notification, Notification.FAILED, f"given up after {notification.attempts} tries: {error}")
            return
        wait = min(FIRST_WAIT * 2 ** (notification.attempts - 1), LONGEST_WAIT)
        Notification.objects.filter(pk=notification.pk, attempts=notification.attempts).update(
            due_at=timezone.now() + timedelta(seconds=wait), response=str(error)[:500]
        )
    else:
        finish(notification, Notification.SENT, response)


def finish(notification: Notification, state: str, response: str) -> None:
    Notification.objects.filter(pk=notification.pk, attempts=notification.attempts).update(
        state=state, response=response[:500], finished_at=timezone.now()
    )
    log.info("notification %s of channel %s: %s", notification.pk, notification.channel_id, state)
