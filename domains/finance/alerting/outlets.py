"""How a notification leaves: a webhook in Alertmanager's format (version 4), or an e-mail.

What it says is fixed at the first try (`body`); every try sends the same with the same key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage

from domains.finance.alerting.series import Group
from domains.finance.models import Alert, Channel, Notification
from suite.outbound import BadAddress, NoAnswer, request

NOT_ENDED = "0001-01-01T00:00:00Z"  # as Alertmanager writes it
MOST_LINES = 50  # alerts that a mail lists
SECONDS, MOST_BYTES = 10.0, 65_536  # of a receiver's answer
LATER = {408, 425, 429}  # statuses that ask to come again


class Refused(Exception):
    """The message will not be taken, however often it is sent; the text says why."""


class Unreachable(Exception):
    """The message was not taken now, and may be later; the text says why."""


def body(notification: Notification, alerts: Sequence[Alert]) -> dict[str, Any]:
    """The webhook's JSON: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. Mails are written
    from the same."""
    told = [as_told(alert) for alert in alerts]
    is_firing = any(alert.state == Alert.FIRING for alert in alerts)
    return {
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": 0,
        "status": "firing" if is_firing else "resolved",
        "receiver": notification.channel.name,
        "groupLabels": {"group": notification.group_key},
        "commonLabels": common([alert["labels"] for alert in told]),
        "commonAnnotations": common([alert["annotations"] for alert in told]),
        "externalURL": f"{settings.PUBLIC_URL}/finance/",
        "alerts": told,
    }


def as_told(alert: Alert) -> dict[str, Any]:
    labels = {
        "alertname": alert.rule_name,
        "severity": alert.severity,
        "entity": alert.entity.symbol if alert.entity else "",
        "topic": alert.topic,
    }
    return {
        "status": alert.state,
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {"summary": alert.why, "alert_id": str(alert.pk)},
        "startsAt": alert.fired_at.isoformat(),
        "endsAt": alert.resolved_at.isoformat() if alert.resolved_at else NOT_ENDED,
        "generatorURL": f"{settings.PUBLIC_URL}/finance/alerts/{alert.pk}/",
        "fingerprint": f"{alert.rule_id or 0:08x}{hash_of(alert):08x}",
    }


def hash_of(alert: Alert) -> int:
    """The same number for the same group of the same rule, in every process."""
    group = Group.from_key(alert.group_key)
    return (group.entity_id * 1_000_003 + sum(ord(letter) * 31**i for i, letter in enumerate(group.topic))) % 2**32


def common(dictionaries: Sequence[dict[str, str]]) -> dict[str, str]:
    """What all of them agree on."""
    first, *rest = dictionaries
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in rest)}


def send(notification: Notification) -> str:
    """Send it now; returns what the receiver said. Raises `Refused` or `Unreachable`."""
    if notification.channel.kind == Channel.Kind.EMAIL:
        return send_mail(notification)
    return send_webhook(notification)


def send_mail(notification: Notification) -> str:
    if not settings.EMAIL_HOST:
        raise Refused("no mail server is set: SUITE_SMTP_URL")
    told = notification.body["alerts"]
    words = [f"{alert['labels'].get('entity', 'all stories')}: {alert['annotations']['summary']}" for alert in told]
    lines = [
        f"[{alert['status']}] {alert['labels']['alertname']}, {line}\n"
        f"  since {alert['startsAt']}\n  {alert['generatorURL']}"
        for alert, line in zip(told[:MOST_LINES], words, strict=False)
    ]
    if len(told) > MOST_LINES:
        lines.append(f"and {len(told) - MOST_LINES} more")
    subject = f"[{notification.body['status']}] {words[0]}" + (f" (+{len(told) - 1})" if len(told) > 1 else "")
    message = EmailMessage(
        " ".join(subject.split())[:200],
        "\n\n".join(lines),
        to=[notification.channel.target],
        headers={"Message-ID": f"<{notification.key}@suite>"},
    )
    try:
        message.send()
    except (SMTPException, OSError) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error
    return "taken by the mail server"


def send_webhook(notification: Notification) -> str:
    """Taken is what is answered with 200 to 299; what the receiver cannot take now is sent again, what it will not take
    is not."""
    try:
        answer = request(
            "POST",
            notification.channel.target,
            headers={"Content-Type": "application/json", "Idempotency-Key": notification.key},
            body=json.dumps(notification.body).encode(),
            seconds=SECONDS,
            limit=MOST_BYTES,
        )
    except BadAddress as error:
        raise Refused(f"the address is not asked: {error}") from None
    except NoAnswer as error:
        raise Unreachable(str(error)) from None
    if 200 <= answer.status < 300:
        return f"answered {answer.status}"
    words = f"answered {answer.status}: {answer.body[:200].decode(errors='replace')}"
    if answer.status in LATER or answer.status >= 500:
        raise Unreachable(words)
    raise Refused(words)
