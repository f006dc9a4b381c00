"""How the desk says waiting times, shares, variables, and what an answer could not have."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils import timezone

register = template.Library()
WARN_SECONDS, LATE_SECONDS = 120, 300  # as in desk.js
MISSING = {
    "no_release": "The encoder's first release is being made: words are matched, meaning is not.",
    "index_unavailable": "The index does not answer: suggestions and search are not complete.",
    "index_rebuilding": "The index is being built again: suggestions and search are not complete.",
    "query_vector_pending": "Matched by words alone: the meaning is still being worked out.",
}


@register.filter
def waited(since: datetime) -> str:
    """2:10, 1:05 h or 3 d."""
    seconds = waiting_seconds(since)
    if seconds >= 86_400:
        return f"{seconds // 86_400} d"
    if seconds >= 3_600:
        return f"{seconds // 3_600}:{seconds // 60 % 60:02} h"
    return f"{seconds // 60}:{seconds % 60:02}"


@register.filter
def lateness(since: datetime) -> str:
    """The class of a waiting time: none, warn or late."""
    seconds = waiting_seconds(since)
    return "late" if seconds >= LATE_SECONDS else "warn" if seconds >= WARN_SECONDS else ""


def waiting_seconds(since: datetime) -> int:
    return max(0, int((timezone.now() - since).total_seconds()))


@register.filter
def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


@register.filter
def sortable(time: datetime) -> str:
    """ISO 8601 in UTC with microseconds: texts of it sort as times do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


@register.filter
def missing(reason: str) -> str:
    """What a named reason of a degraded answer means to who reads the page."""
    return MISSING.get(reason, reason.replace("_", " "))
