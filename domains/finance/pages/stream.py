"""How the stream does: the age of its newest article, articles a minute, the release that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from domains.finance.models import Article
from suite.releases import selectors as releases

RATE_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Stream:
    newest_at: datetime | None  # when the newest article came in
    per_minute: float  # over the last five minutes
    release: str  # the beginning of its fingerprint; empty until there is one


def stream() -> Stream:
    received = Article.objects.order_by("-received_at").values_list("received_at", flat=True)
    recent = received.filter(received_at__gt=timezone.now() - timedelta(minutes=RATE_MINUTES)).count()
    release = releases.active()
    return Stream(received.first(), recent / RATE_MINUTES, release.fingerprint[:8] if release else "")
