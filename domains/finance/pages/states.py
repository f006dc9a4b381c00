"""The five figures at the head of the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from domains.finance.models import Alert, RuleState, Silence, Story
from domains.finance.pages.alerts import taken_on


@dataclass(frozen=True, slots=True)
class StateTile:
    name: str
    label: str
    count: int
    href: str
    tone: str = ""  # bad, warn, or nothing


def states() -> list[StateTile]:
    now = timezone.now()
    firing = Alert.objects.filter(state=Alert.FIRING)
    acknowledged = firing.filter(taken_on()).count()
    untaken = firing.count() - acknowledged
    pending = RuleState.objects.filter(name="pending").count()
    silences = Silence.objects.filter(starts_at__lte=now, until__gt=now).count()
    stories = Story.objects.filter(first_published_at__gt=now - timedelta(hours=1), first_published_at__lte=now).count()
    page = reverse("finance:alerts")
    return [
        StateTile("firing", "firing", untaken, f"{page}?state=firing", "bad" if untaken else ""),
        StateTile("pending", "pending", pending, reverse("finance:rules"), "warn" if pending else ""),
        StateTile("acknowledged", "acknowledged", acknowledged, f"{page}?state=acknowledged"),
        StateTile("silences", f"silence{'' if silences == 1 else 's'}", silences, f"{page}#silences"),
        StateTile("stories", "stories in the last hour", stories, f"{reverse('finance:board')}?window=1h"),
    ]
