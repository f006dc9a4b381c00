"""Tiles: what each entity's stories say, how many there are, and whether that is what was to be expected."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from django.db.models import Sum
from django.utils import timezone

from domains.finance.alerting.baseline import band, surprise
from domains.finance.alerting.history import Scope, expected, stored_series
from domains.finance.alerting.rules import Expectation
from domains.finance.alerting.series import HOUR, KINDS, MINUTE, PARTS, Group, floor, moment, unix
from domains.finance.models import Alert, Bucket, Entity
from domains.finance.pages.lean import tone
from domains.finance.pages.selection import Selection, members

MOST_TILES = 10  # two rows of a wide window
UNUSUAL = 3.0  # -log10 of the probability of so many stories in an hour
FEW = 3  # stories that are never unusual by themselves


@dataclass(frozen=True, slots=True)
class EntityTile:
    symbol: str
    name: str
    stories: int
    sentiment: float | None  # mean, from -1 to 1; None without stories
    counts: tuple[float, ...]  # stories of each step of the line, oldest first
    negatives: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    expected: float | None = None  # stories over the whole time
    is_unusual: bool = False
    is_firing: bool = False

    @property
    def tone(self) -> str:
        return tone(self.sentiment)

    @property
    def band_words(self) -> str:
        return f"{self.stories} stories; {self.expected:.1f} are expected in this time"

    @property
    def line_words(self) -> str:
        """The line to who cannot see it."""
        return f"{self.name}: at most {max(self.counts):.0f} stories at once, {self.counts[-1]:.0f} lately"


def tiles(selection: Selection) -> list[EntityTile]:
    """The entities that are told most about, those that fire first."""
    window, now = selection.span, unix(timezone.now())
    end = floor(now, window.bucket) + window.bucket  # of the bucket that now is in
    start = end - window.seconds
    firing = set(Alert.objects.filter(state=Alert.FIRING).exclude(entity=None).values_list("entity_id", flat=True))
    ids = busiest(selection, start, end, firing)
    if not ids:
        return []
    groups = [Group(entity_id, selection.topic) for entity_id in ids]
    series = stored_series(Scope.of_groups(groups), start, end, window.bucket).part(groups)
    bars = series.cells.reshape(len(groups), len(KINDS), -1, window.bar // window.bucket).sum(axis=3)
    ends = np.minimum(np.arange(start + window.bar, end + 1, window.bar), now)
    bands = Bands(groups, start, now, ends, window.bar)
    lately = lately_unusual(groups, now, bands.expectation)
    entities = Entity.objects.in_bulk(ids)
    return [
        tile_of(entities[group.entity_id], bars[i], bands, i, bool(lately[i]), group.entity_id in firing)
        for i, group in enumerate(groups)
        if group.entity_id in entities
    ]


def busiest(selection: Selection, start: int, end: int, firing: Collection[int]) -> list[int]:
    """Ids of entities by their stories in [start, end), firing ones first, at most MOST_TILES."""
    rows = Bucket.objects.filter(
        seconds=selection.span.bucket, start__gte=moment(start), start__lt=moment(end), topic=selection.topic
    )
    chosen = members(selection) if selection.watch_list else None
    rows = rows.filter(entity_id__in=chosen) if chosen is not None else rows.filter(entity_id__gt=0)
    counted = rows.values("entity_id").annotate(found=Sum("stories")).filter(found__gt=0)
    ids = list(counted.order_by("-found", "entity_id").values_list("entity_id", flat=True)[: MOST_TILES * 4])
    first = [entity for entity in firing if chosen is None or entity in chosen]
    asked = [selection.entity_id] if selection.entity_id else []
    return list(dict.fromkeys([*sorted(first)[:MOST_TILES], *asked, *ids]))[:MOST_TILES]


class Bands:
    """What was to be expected of some groups in the steps that end at `ends`, the last one cut off at now."""

    def __init__(self, groups: Sequence[Group], start: int, now: int, ends: np.ndarray, step: int) -> None:
        self.expectation = expected(groups, start - HOUR, now + 1)
        whole, self.size = self.expectation.window(step, ends[:-1])
        begun = start + step * (len(ends) - 1)
        last, last_size = self.expectation.window(max(1, now - begun), ends[-1:])
        self.count = np.concatenate([whole, last], axis=1)  # (groups, steps)
        self.size = np.concatenate([self.size, last_size], axis=1)
        self.low, self.high = band(self.count, self.size)


def lately_unusual(groups: Sequence[Group], now: int, expectation: Expectation) -> np.ndarray:
    """(groups,) whether the stories of the last hour are more than chance explains."""
    end = floor(now, MINUTE) + MINUTE
    counts = stored_series(Scope.of_groups(groups), end - HOUR, end, MINUTE).part(groups).stories.sum(axis=1)
    count, size = expectation.window(HOUR, np.array([now]))
    return (surprise(counts, count[:, 0], size[:, 0]) >= UNUSUAL) & (counts >= FEW)


def tile_of(
    entity: Entity, bars: np.ndarray, bands: Bands, position: int, is_unusual: bool, is_firing: bool
) -> EntityTile:
    """`bars` (kinds, steps)."""
    stories, negative, neutral, positive = bars.astype(np.float64)
    scored = (negative + neutral + positive).sum()
    return EntityTile(
        entity.symbol,
        entity.name,
        int(stories.sum()),
        float((positive - negative).sum() / scored) if scored else None,
        tuple(stories.tolist()),
        tuple((negative / PARTS).tolist()),
        tuple(bands.low[position].tolist()),
        tuple(bands.high[position].tolist()),
        float(bands.count[position].sum()),
        is_unusual,
        is_firing,
    )
