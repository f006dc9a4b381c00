"""From an accepted article to its scored row: read by the encoder, put in a story, counted, told.

A real one-process server on a scratch state, and the sample's press, which names companies and repeats itself as real
outlets do. An article counts as scored when its `finance.sentiment.scored` event can be read back over the API.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import CommandError

from benchmarks.live import figures, send, server
from domains.finance.sample.stream import live

NAME = "news"
HELP = "ms from an accepted article to its scored row, at a rate of articles"
ENTITIES = Path(settings.BASE_DIR) / "domains/finance/sample/entities.jsonl"
POLL_SECONDS = 0.05
LONGEST_SECONDS = 60.0


def run(articles: int = 400, rate: float = 20.0, warm: int = 40) -> dict[str, Any]:
    """{"p50", "p95", "p99" (ms), "lost", "articles_per_second" (scored), ...}; the first `warm` are not counted."""
    events = list(itertools.islice(written_now(), articles + warm))
    with (
        server("ingest,read", ("finance.entities", str(ENTITIES))) as (address, key, _),
        httpx.Client(timeout=30) as client,
    ):
        accepted: dict[str, float] = {}
        scored: dict[str, float] = {}
        begin = time.monotonic()
        after = 0
        waiting = iter(events)
        due = next(waiting, None)
        number = 0
        while len(scored) < len(events) and time.monotonic() - begin < len(events) / rate + LONGEST_SECONDS:
            now = time.monotonic()
            while due is not None and now >= begin + number / rate:
                send(address, key, [due], client)
                accepted[due["data"]["article_id"]] = time.monotonic()
                due, number, now = next(waiting, None), number + 1, time.monotonic()
            after = note_scored(address, key, client, after, scored)
            time.sleep(POLL_SECONDS)
    counted = [event["data"]["article_id"] for event in events[warm:]]
    heard = [1_000 * (scored[name] - accepted[name]) for name in counted if name in scored]
    if len(heard) < 2:
        raise CommandError("The server scored no articles; does its release have the heads of finance?")
    span = max(scored.values()) - min(accepted[name] for name in counted)
    return {
        **figures("", heard),
        "lost": len(counted) - len(heard),
        "articles": articles,
        "rate": rate,
        "articles_per_second": round(len(heard) / span, 1),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
    }


def written_now() -> Iterator[dict[str, Any]]:
    for _, event in live():
        event["data"]["published_at"] = datetime.now(UTC).isoformat()
        yield event


def note_scored(address: str, key: str, client: httpx.Client, after: int, scored: dict[str, float]) -> int:
    """Note the time of every article that was scored after this sequence; returns the last sequence."""
    while True:
        answer = client.get(
            f"{address}/api/events",
            params={"after": after, "type": "finance.sentiment.scored", "limit": 500},
            headers={"Authorization": f"Bearer {key}"},
        )
        answer.raise_for_status()
        found, after = answer.json()["events"], answer.json()["after"]
        now = time.monotonic()
        for event in found:
            scored.setdefault(event["data"]["article_id"], now)
        if len(found) < 500:
            return after
