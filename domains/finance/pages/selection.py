"""What a page's address asks for: entity, topic, watch list, time and figure. All of the dashboard follows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.http import QueryDict
from django.utils import timezone
from django.utils.http import urlencode

from domains.finance.models import Entity, WatchList

MINUTE, HOUR, DAY = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time that ends now. `step`: seconds of a point of the series; `bucket`: the stored buckets that are
    added up for sums over the whole span; `bar`: seconds of a point of a tile's line."""

    name: str
    label: str
    seconds: int
    step: int
    bucket: int
    bar: int


WINDOWS = {
    window.name: window
    for window in (
        Window("1h", "1 h", HOUR, MINUTE, MINUTE, 2 * MINUTE),
        Window("1d", "1 d", DAY, 10 * MINUTE, HOUR, HOUR),
        Window("7d", "7 d", 7 * DAY, HOUR, HOUR, 6 * HOUR),
        Window("30d", "30 d", 30 * DAY, HOUR, DAY, DAY),
    )
}
METRICS = {
    "volume": "Stories",
    "negative_share": "Negative share",
    "mean_sentiment": "Sentiment",
    "surge": "Surge",
}
DEFAULT_WINDOW, DEFAULT_METRIC = "1d", "volume"


@dataclass(frozen=True, slots=True)
class Selection:
    """`entity` is a symbol, `watch_list` a name; empty for all. What is not known is taken as not asked for, except an
    entity's text, which is said to be unknown."""

    entity: str = ""
    topic: str = ""
    watch_list: str = ""
    window: str = DEFAULT_WINDOW
    metric: str = DEFAULT_METRIC
    unknown_entity: str = ""
    entity_id: int = 0  # 0: all

    @property
    def span(self) -> Window:
        return WINDOWS[self.window]

    @property
    def since(self) -> datetime:
        return timezone.now() - timedelta(seconds=self.span.seconds)

    @property
    def is_narrowed(self) -> bool:
        return bool(self.entity or self.topic or self.watch_list or self.unknown_entity)

    @property
    def is_of_list(self) -> bool:
        """Whether the series is of all the entities of a watch list."""
        return bool(self.watch_list) and not self.entity

    @property
    def entity_text(self) -> str:
        return self.entity or self.unknown_entity

    @property
    def words(self) -> str:
        """`ACME · earnings`, or nothing where everything is meant."""
        return " · ".join(filter(None, (self.entity_text, topic_words(self.topic), self.watch_list)))

    @property
    def title(self) -> str:
        return self.words or "Finance"

    def query(self, **changes: str) -> str:
        """The query of an address; parts that are as by default are left out."""
        named = {"list": "watch_list"}
        values: dict[str, Any] = {named.get(name, name): value for name, value in changes.items()}
        new = replace(self, **values)
        parts = {
            "entity": new.entity_text,
            "topic": new.topic,
            "list": new.watch_list,
            "window": new.window if new.window != DEFAULT_WINDOW else "",
            "metric": new.metric if new.metric != DEFAULT_METRIC else "",
        }
        return urlencode({name: value for name, value in parts.items() if value})


def selection_of(query: QueryDict) -> Selection:
    entity_text = text_of(query, "entity")
    entity = find_entity(entity_text) if entity_text else None
    watch_list = text_of(query, "list")
    window, metric = query.get("window", ""), query.get("metric", "")
    return Selection(
        entity=entity.symbol if entity else "",
        topic=text_of(query, "topic"),
        watch_list=watch_list if watch_list and WatchList.objects.filter(name=watch_list).exists() else "",
        window=window if window in WINDOWS else DEFAULT_WINDOW,
        metric=metric if metric in METRICS else DEFAULT_METRIC,
        unknown_entity="" if entity else entity_text,
        entity_id=entity.pk if entity else 0,
    )


def find_entity(text: str) -> Entity | None:
    """By symbol, then by name, then by the beginning of a name, whatever the case."""
    for by in ("symbol", "symbol__iexact", "name__iexact", "name__istartswith"):
        found = Entity.objects.filter(**{by: text}).order_by("name").first()
        if found is not None:
            return found
    return None


def text_of(query: QueryDict, name: str) -> str:
    return query.get(name, "").replace("\0", "").encode("utf-8", "ignore").decode().strip()[:200]


def topic_words(topic: str) -> str:
    """A topic's label as people read it: `central_banks` as `central banks`."""
    return topic.replace("_", " ")


def members(selection: Selection) -> list[int]:
    """Ids of the entities of the selection's watch list."""
    rows = WatchList.entities.through.objects.filter(watchlist__name=selection.watch_list)
    return list(rows.values_list("entity_id", flat=True))
