"""What the dashboard can be narrowed to."""

from __future__ import annotations

from dataclasses import dataclass

from domains.finance.models import Entity, Story, WatchList
from domains.finance.pages.selection import METRICS, WINDOWS

MOST_ENTITIES = 500  # offered while one types; others are found by their whole name


@dataclass(frozen=True, slots=True)
class Choices:
    entities: list[Entity]
    watch_lists: list[str]

    @property
    def topics(self) -> list[str]:
        """Looked up by who shows them only: it reads all stories."""
        return topics()

    @property
    def windows(self) -> list[tuple[str, str]]:
        return [(window.name, window.label) for window in WINDOWS.values()]

    @property
    def metrics(self) -> list[tuple[str, str]]:
        return list(METRICS.items())


def choices() -> Choices:
    return Choices(
        list(Entity.objects.filter(is_active=True).order_by("symbol")[:MOST_ENTITIES]),
        list(WatchList.objects.order_by("name").values_list("name", flat=True)),
    )


def topics() -> list[str]:
    """Topics that stories have."""
    return list(Story.objects.exclude(topic="").order_by("topic").values_list("topic", flat=True).distinct())
