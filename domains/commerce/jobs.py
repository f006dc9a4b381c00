"""What commerce learns from interactions, again and again: statistics of items, and the blend of the channels;
and from links: which items they relate.

Each job limits itself: after a run that took t seconds it rests for at least `REST` times t, so that learning takes a
small part of one core however large a shop becomes. Everything written here is derived and can be built again.
"""

from __future__ import annotations

import hashlib
import logging
import struct
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

import numpy as np
from django.db import transaction
from django.utils import timezone

from domains.commerce.documents import COLLECTION, document_key, split_key
from domains.commerce.models import Catalogue, Interaction, Item, ItemStatistics, Link, RelatedItems
from domains.commerce.recommender.blend import PRIOR
from domains.commerce.recommender.fitting import HoldOut, fit_blend
from domains.commerce.recommender.graph import Graph, build_graph
from domains.commerce.recommender.log import InteractionLog
from domains.commerce.recommender.sources import ArrayText, NoText, TextSource
from domains.commerce.recommender.statistics import Statistics, build_statistics, pack
from domains.commerce.sources import graph_source
from suite.domain import Job
from suite.index.models import DocumentVector
from suite.index.selectors import active_generation, unpack

log = logging.getLogger(__name__)
REST = 20.0  # seconds of rest for each second of work
LOG_ROWS = 1_000_000  # newest interactions that are learned from
ROWS_AT_ONCE = 500
DAY = 86_400.0
Derived = TypeVar("Derived", ItemStatistics, RelatedItems)
GROWTH = 1.2  # the blend is fitted again when there is this much more to learn from


def rebuild_statistics() -> None:
    """Bring the statistics of every catalogue that has news up to date, where its rest is over."""
    newest = Interaction.objects.order_by("-event_id").values_list("event_id", flat=True).first() or 0
    for catalogue in Catalogue.objects.filter(statistics_event__lt=newest):
        news = Interaction.objects.filter(catalogue=catalogue, event_id__gt=catalogue.statistics_event)
        if not news.exists():
            Catalogue.objects.filter(pk=catalogue.pk).update(statistics_event=newest)
        elif is_rested(catalogue.statistics_at, catalogue.statistics_seconds):
            rebuild(catalogue, newest)


def is_rested(finished_at: datetime | None, seconds: float) -> bool:
    return finished_at is None or timezone.now() >= finished_at + timedelta(seconds=REST * seconds)


def rebuild(catalogue: Catalogue, newest: int) -> int:
    """Build the statistics from the interactions up to event `newest`; returns how many rows were written."""
    started = time.monotonic()
    statistics = build_statistics(interaction_log(catalogue, newest), now=end_of_day(catalogue))
    rows = statistics_rows(catalogue, statistics)
    written = store(catalogue, rows, ItemStatistics, ("popularity", "trend", "neighbours"))
    seconds = time.monotonic() - started
    Catalogue.objects.filter(pk=catalogue.pk).update(
        statistics_event=newest, statistics_at=timezone.now(), statistics_seconds=seconds
    )
    log.info("statistics of %s: %s rows changed, %.1f s", catalogue.slug, written, seconds)
    return written


def end_of_day(catalogue: Catalogue) -> float:
    """The end of the day of the newest interaction that does not lie ahead of us, in Unix seconds. Within a day all
    ages stay the same, so items of which there is no news keep their rows."""
    past = Interaction.objects.filter(catalogue=catalogue, timestamp__lte=timezone.now())
    newest = past.order_by("-timestamp").values_list("timestamp", flat=True).first()
    return (newest.timestamp() // DAY + 1) * DAY if newest else time.time()


def interaction_log(catalogue: Catalogue, newest: int) -> InteractionLog:
    """The newest interactions up to an event, oldest first. Whoever has an account is one user in all sessions."""
    rows = Interaction.objects.filter(catalogue=catalogue, event_id__lte=newest).order_by("-event_id")
    columns = ("user_key", "session_key", "item_key", "timestamp", "kind", "value")
    found = list(rows.values_list(*columns)[:LOG_ROWS])
    return InteractionLog.from_rows(
        (f"user {user}" if user else f"session {session}", item, timestamp.timestamp(), kind, value)
        for user, session, item, timestamp, kind, value in reversed(found)
    )


def statistics_rows(catalogue: Catalogue, statistics: Statistics) -> Iterator[ItemStatistics]:
    for key, popularity, packed in statistics.rows():
        yield ItemStatistics(
            catalogue=catalogue,
            item_key=key,
            popularity=popularity.recent,
            trend=popularity.trend,
            neighbours=packed,
            digest=digest_of(struct.pack("<2d", *popularity) + packed),
        )


def digest_of(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()


def store(catalogue: Catalogue, rows: Iterator[Derived], model: type[Derived], fields: Sequence[str]) -> int:
    """Write the rows that changed, by their digests, and remove those that are gone, some at a time: a click never
    waits for long. Returns how many were written."""
    manager = model._default_manager
    stored = dict(manager.filter(catalogue=catalogue).values_list("item_key", "digest"))
    stale = set(stored)
    written = 0
    while part := list(islice(rows, ROWS_AT_ONCE)):
        stale.difference_update(row.item_key for row in part)
        changed = [row for row in part if bytes(stored.get(row.item_key, b"")) != row.digest]
        written += len(changed)
        manager.bulk_create(
            changed,
            update_conflicts=True,
            unique_fields=["catalogue", "item_key"],
            update_fields=[*fields, "digest"],
        )
    gone = sorted(stale)
    for start in range(0, len(gone), ROWS_AT_ONCE):
        manager.filter(catalogue=catalogue, item_key__in=gone[start : start + ROWS_AT_ONCE]).delete()
    return written


def rebuild_graphs() -> None:
    """Bring the related items of every catalogue up to date that has links and news of links or items."""
    for catalogue in Catalogue.objects.all():
        links = Link.objects.filter(catalogue=catalogue).order_by("-id").values_list("id", flat=True)
        items = Item.objects.filter(catalogue=catalogue).order_by("-id").values_list("id", flat=True)
        newest = (links.first() or 0, items.first() or 0)
        is_news = newest != (catalogue.graph_link, catalogue.graph_item)
        if newest[0] and is_news and is_rested(catalogue.graph_at, catalogue.graph_seconds):
            rebuild_graph(catalogue, *newest)


def rebuild_graph(catalogue: Catalogue, newest_link: int, newest_item: int) -> None:
    """Relate the items to each other by the links, both up to the newest ones."""
    started = time.monotonic()
    links = Link.objects.filter(catalogue=catalogue, id__lte=newest_link).values_list("head", "relation", "tail")
    items = Item.objects.filter(catalogue=catalogue, id__lte=newest_item).order_by("id").values_list("key", flat=True)
    graph = build_graph(links.iterator(chunk_size=10_000), list(items))
    written = store(catalogue, graph_rows(catalogue, graph), RelatedItems, ("related",))
    seconds = time.monotonic() - started
    Catalogue.objects.filter(pk=catalogue.pk).update(
        graph_link=newest_link, graph_item=newest_item, graph_at=timezone.now(), graph_seconds=seconds
    )
    log.info("graph of %s: %s rows changed, %.1f s", catalogue.slug, written, seconds)


def graph_rows(catalogue: Catalogue, graph: Graph) -> Iterator[RelatedItems]:
    for key, found in graph.rows():
        packed = pack(found)
        yield RelatedItems(catalogue=catalogue, item_key=key, related=packed, digest=digest_of(packed))


def learn_blends() -> None:
    """Fit the blend of every catalogue that has grown enough since the last time, or has another release now,
    or links."""
    generation = active_generation(COLLECTION)
    release = generation.fingerprint if generation else ""
    for catalogue in Catalogue.objects.exclude(statistics_at=None):
        known = catalogue.blend_metrics
        count = Interaction.objects.filter(catalogue=catalogue).count()
        is_grown = count >= GROWTH * known.get("interactions", 0)
        finished_at = datetime.fromisoformat(known["finished_at"]) if "finished_at" in known else None
        is_other = known.get("release") != release or known.get("has_links", False) != bool(catalogue.graph_link)
        if (is_grown or is_other) and is_rested(finished_at, known.get("seconds", 0.0)):
            learn_blend(catalogue, release)


def learn_blend(catalogue: Catalogue, release: str) -> None:
    """Fit the blend on what people did next, and keep it with what it was learned from."""
    started = time.monotonic()
    newest = Interaction.objects.order_by("-event_id").values_list("event_id", flat=True).first() or 0
    interactions = interaction_log(catalogue, newest)
    blend = fit_blend(
        interactions,
        text_source(catalogue, release),
        graph=graph_source(catalogue),
        hold_out=kind_of_history(interactions),
    )
    metrics = {
        "interactions": len(interactions),
        "people": len(interactions.user_keys),
        "release": release,
        "has_links": bool(catalogue.graph_link),
        "held_out": kind_of_history(interactions),
        "learned": blend is not PRIOR,
        "seconds": round(time.monotonic() - started, 3),
        "finished_at": timezone.now().isoformat(),
    }
    with transaction.atomic():
        stored = {} if blend is PRIOR else blend.as_json()
        Catalogue.objects.filter(pk=catalogue.pk).update(blend=stored, blend_metrics=metrics)


def kind_of_history(interactions: InteractionLog) -> HoldOut:
    """`baskets` where most interactions share their moment with another one of the same person, as order lines do."""
    same = (np.diff(interactions.users) == 0) & (np.diff(interactions.timestamps) == 0)
    return "baskets" if 2 * np.count_nonzero(same) > len(interactions) else "items"


def text_source(catalogue: Catalogue, release: str) -> TextSource:
    """The vectors of the catalogue's items under a release, in memory."""
    prefix = document_key(catalogue.slug, "")
    rows = DocumentVector.objects.filter(fingerprint=release, collection=COLLECTION, key__startswith=prefix)
    found = [row for row in rows.values_list("key", "vector") if row[0].startswith(prefix)]  # SQLite ignores case
    if not found:
        return NoText()
    return ArrayText([split_key(key)[1] for key, _ in found], np.stack([unpack(vector) for _, vector in found]))


JOBS = {
    "commerce.statistics": Job(rebuild_statistics, every=5.0),
    "commerce.graph": Job(rebuild_graphs, every=5.0),
    "commerce.blend": Job(learn_blends, every=60.0),
}
