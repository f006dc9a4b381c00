"""The operator's first page: figures with their limits, each linked to where it is mended, the worst first.

A domain adds its own in `figures.py`: `FIGURES = {name: function -> list[Figure]}`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Model
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from suite.domain import declared
from suite.events import selectors as events
from suite.events.models import DeadLetter, HandledBatch, PendingEvent
from suite.index.models import Generation
from suite.releases import selectors as releases
from suite.releases.models import Release

log = logging.getLogger(__name__)
GOOD, WARN, BAD = "good", "warn", "bad"
ORDER = {BAD: 0, WARN: 1, GOOD: 2}
OLD_SECONDS = (10.0, 60.0)  # age of the oldest unhandled event that is amber, and red
SPARK_MINUTES = 60
LONG_LAG = 1_000  # documents that an index may be behind before it is amber


@dataclass(frozen=True, slots=True)
class Figure:
    """One tile. `value` is a number or a short text; `state` is good, warn or bad; `note` says why, or what is right.

    `history` is the last hour, a value a minute, oldest first; empty where none is kept.
    """

    label: str
    value: float | int | str
    note: str = ""
    href: str = ""
    state: str = GOOD
    history: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that waits for a person: what, and where it is decided."""

    text: str
    href: str


def figures() -> list[Figure]:
    """Every figure, red first. One that cannot be read is red itself, and hides no other."""
    sources: list[tuple[str, Callable[[], list[Figure]]]] = [
        ("Events", event_figures),
        ("Release", release_figures),
        ("Index", index_figures),
        *((name, source) for _, name, source in declared("figures", "FIGURES")),
    ]
    found: list[Figure] = []
    for name, source in sources:
        try:
            found += source()
        except Exception as error:  # the page that tells what is broken must not break
            log.exception("the figures of %s cannot be read", name)
            found.append(Figure(name, "unknown", f"cannot be read ({type(error).__name__})", state=BAD))
    return sorted(found, key=lambda figure: ORDER[figure.state])


def event_figures() -> list[Figure]:
    waiting = events.outstanding()[PendingEvent.HANDLE]
    age = events.oldest_outstanding_seconds(PendingEvent.HANDLE)
    dead = events.open_dead_letters()
    pending = list_page(PendingEvent)
    is_full = waiting >= settings.BACKLOG_LIMIT
    amber, red = OLD_SECONDS
    return [
        Figure(
            "Backlog", waiting, f"limit {settings.BACKLOG_LIMIT:,}", pending,
            BAD if is_full else WARN if waiting > settings.BACKLOG_LIMIT / 2 else GOOD,
        ),
        Figure(
            "Oldest unhandled", f"{age:.1f} s", f"should stay under {amber:.0f} s", pending,
            BAD if age >= red else WARN if age >= amber else GOOD,
        ),
        Figure(
            "Handled", f"{events.handled_per_second():.1f}/s", "last minute; line: last hour", list_page(HandledBatch),
            history=handled_by_minute(),
        ),
        Figure(
            "Dead letters", dead, "given up; to be mended and replayed" if dead else "none", list_page(DeadLetter),
            BAD if dead else GOOD,
        ),
    ]  # fmt: skip


def handled_by_minute() -> tuple[float, ...]:
    now = timezone.now()
    minutes = [0.0] * SPARK_MINUTES
    rows = HandledBatch.objects.filter(finished_at__gt=now - timedelta(minutes=SPARK_MINUTES))
    for finished_at, count in rows.values_list("finished_at", "events"):
        minutes[SPARK_MINUTES - 1 - minutes_before(now, finished_at)] += count
    return tuple(minutes)


def minutes_before(now: datetime, time: datetime) -> int:
    return min(SPARK_MINUTES - 1, max(0, int((now - time).total_seconds() // 60)))


def release_figures() -> list[Figure]:
    release = releases.active()
    page = list_page(Release)
    if release is None:
        return [Figure("Release", "none", "make the first one: manage.py release", page, BAD)]
    return [Figure("Release", str(release), f"{release.body}, {release.dimensions} dimensions", page)]


def index_figures() -> list[Figure]:
    active = Generation.objects.filter(state=Generation.State.ACTIVE)
    page = list_page(Generation)
    behind = F("collection__last_sequence") - F("synced_sequence")
    lags = list(active.annotate(lag=behind).values_list("lag", "last_error"))
    if not lags:
        return [Figure("Index", "none", "it is built with the first release", page, BAD)]
    lag = sum(each for each, _ in lags)
    failure = next((error for _, error in lags if error), "")
    note = f"behind: {failure[:80]}" if failure else "documents to write" if lag else "all documents are written"
    return [Figure("Index lag", lag, note, page, BAD if failure else WARN if lag > LONG_LAG else GOOD)]


def decisions() -> list[Decision]:
    """What waits for a person today."""
    return [*dead_letter_decisions(), *release_decisions()]


def dead_letter_decisions() -> Iterator[Decision]:
    dead = events.open_dead_letters()
    if dead:
        yield Decision(f"{dead:,} dead letters: read the reason, mend it, replay them", list_page(DeadLetter))


def release_decisions() -> Iterator[Decision]:
    for release in Release.objects.filter(state=Release.State.CANDIDATE)[:3]:
        yield Decision(f"Release {release} was made and is not serving: promote it, or leave it", list_page(Release))
    for release in Release.objects.filter(state=Release.State.FAILED)[:3]:
        yield Decision(f"Release {release} failed: {release.message[:120]}", list_page(Release))


def list_page(model: type[Model]) -> str:
    """The admin's list of a model; the admin's first page where it has none."""
    try:
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    except NoReverseMatch:
        return reverse("admin:index")
