"""What people do about alerts, as it comes in: from our pages and from other systems alike."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from domains.finance.alerting import services
from domains.finance.models import Alert, Silence
from suite.domain import EventType
from suite.events.envelope import Envelope, Rejected, kind_of, parse_time, text_field

MAX_NAME, MAX_REASON = 150, 500


def validate_acknowledged(envelope: Envelope) -> dict[str, Any]:
    return {
        "alert_id": known_alert(envelope.data),
        "until": end_of(envelope, required=False),
        "reason": text_field(envelope.data, "reason", MAX_REASON, required=False, prefix="data."),
        "by": person(envelope),
    }


def validate_silenced(envelope: Envelope) -> dict[str, Any]:
    alert_id = known_alert(envelope.data)
    if not Alert.objects.filter(pk=alert_id, rule__isnull=False).exists():
        raise Rejected("data.alert_id", "is of a rule that is gone, so no other alert is like it")
    return {
        "alert_id": alert_id,
        "until": end_of(envelope, required=True),
        "reason": text_field(envelope.data, "reason", MAX_REASON, prefix="data."),
        "by": person(envelope),
    }


def known_alert(data: dict[str, Any]) -> int:
    """The number of an alert that there is, as a number or as its text."""
    value = data.get("alert_id")
    if value is None:
        raise Rejected("data.alert_id", "is required")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int):
        raise Rejected("data.alert_id", f"must be the number of an alert, not {kind_of(value)}")
    if not 0 < value < 2**63 or not Alert.objects.filter(pk=value).exists():
        raise Rejected("data.alert_id", "is not known")
    return value


def end_of(envelope: Envelope, *, required: bool) -> str | None:
    value = envelope.data.get("until")
    if value in (None, ""):
        if required:
            raise Rejected("data.until", "is required")
        return None
    until, begin = parse_time(value, "data.until"), envelope.time or timezone.now()
    if not begin < until <= begin + timedelta(days=Silence.LONGEST_DAYS):
        raise Rejected("data.until", f"must be after the event, by at most {Silence.LONGEST_DAYS} days")
    return until.isoformat()


def person(envelope: Envelope) -> str:
    """Who did it, as the sender says; else the sender."""
    return text_field(envelope.data, "by", MAX_NAME, required=False, prefix="data.") or envelope.source[:MAX_NAME]


ALERT: dict[str, Any] = {"type": ["integer", "string"], "description": "the alert's number"}
TIME: dict[str, Any] = {"type": ["string", "number"], "description": "ISO 8601, or Unix seconds"}
PROPERTIES = {
    "alert_id": ALERT,
    "until": TIME,
    "reason": {"type": "string", "maxLength": MAX_REASON},
    "by": {"type": "string", "maxLength": MAX_NAME, "description": "who; default: the event's source"},
}
ACKNOWLEDGED_SCHEMA = {"type": "object", "required": ["alert_id"], "properties": PROPERTIES}
SILENCED_SCHEMA = {"type": "object", "required": ["alert_id", "until", "reason"], "properties": PROPERTIES}
EVENT_TYPES = {
    "finance.alert.acknowledged": EventType(
        validate_acknowledged, services.record_acknowledgements, False, ACKNOWLEDGED_SCHEMA
    ),
    "finance.alert.silenced": EventType(validate_silenced, services.record_silences, False, SILENCED_SCHEMA),
}
