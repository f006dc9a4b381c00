"""Recommendations at the API, as the catalogue grows: latency and memory, beside scoring every item.

Made items with clustered vectors, people who like a few clusters each. The request is the whole way: routing, key,
filters, history from rows, candidates of all channels, the blend, reasons, JSON. The rival holds every vector in memory
as float32, scores all of them against the same person's history and sorts: no filter, no statistics, no reasons.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection, transaction
from django.test import Client

from benchmarks.ingest import scratch_database
from domains.commerce import jobs, services
from domains.commerce.documents import COLLECTION, document_key
from domains.commerce.models import Catalogue, Interaction, Item, ItemStatistics
from suite.events.auth import create_key
from suite.events.models import Event
from suite.index import selectors as index
from suite.index.services import activate, create_generation, synchronise, touch

NAME = "recommend"
HELP = "p50/p95 of a recommendation at the API, and memory, by number of items"
FINGERPRINT = "benchmark0000000"
CLUSTERS = 200
HISTORY = 30  # interactions a person
ASKED = 20  # items a request


def run(
    items: Sequence[int] | int = (10_000, 50_000, 100_000), requests: int = 200, dimensions: int = 384
) -> dict[str, Any]:
    """{"curve": {items: figures}, "ours", "rival" (p95 ms at the largest), "ratio", ...}"""
    sizes = [items] if isinstance(items, int) else sorted(items)
    curve = {size: measured(size, requests, dimensions) for size in sizes}
    largest = curve[sizes[-1]]
    return {
        "unit": "ms",
        "curve": curve,
        "ours": largest["p95"],
        "rival": largest["rival p95"],
        "ratio": round(largest["rival p95"] / largest["p95"], 3),
        "database": connection.vendor,
        "k": ASKED,
    }


def measured(size: int, requests: int, dimensions: int) -> dict[str, Any]:
    with scratch_database(), scratch_index():
        matrix = fill(size, dimensions)
        before = resident()
        client, (_, key) = Client(SERVER_NAME="localhost"), create_key("benchmark", ["recommend"])
        headers = {"Authorization": f"Bearer {key}"}
        people = [f"person {number}" for number in range(requests)]

        def ask(person: str) -> dict[str, Any]:
            path = f"/api/commerce/users/{person}/recommendations"
            response = client.get(f"{path}?k={ASKED}&filter=price:5..", headers=headers)
            assert response.status_code == 200 and len(response.json()["items"]) == ASKED, response.content
            return response.json()

        started = time.perf_counter()
        first = ask(people[0])
        opening = time.perf_counter() - started
        assert first["served_by"] == "blend" and not first["degraded"], first
        seconds = [timed(lambda person=person: ask(person)) for person in people]
        rival = [timed(lambda person=person: score_everything(matrix, person)) for person in people[:50]]
        return {
            **percentiles(seconds),
            "rival p95": percentiles(rival)["p95"],
            "first (s)": round(opening, 3),
            "MB per 100,000": round((resident() - before) * 100_000 / size / 2**20),
            "database MB": round(Path(str(connection.settings_dict["NAME"])).stat().st_size / 2**20)
            if connection.vendor == "sqlite"
            else None,
        }


@contextmanager
def scratch_index() -> Iterator[None]:
    """An empty embedded index in place of the real one."""
    real = settings.INDEX_DIR
    with tempfile.TemporaryDirectory() as folder:
        settings.INDEX_DIR = Path(folder)
        index.engine.cache_clear()
        index.forget_active_generations()
        try:
            yield
        finally:
            settings.INDEX_DIR = real
            index.engine.cache_clear()
            index.forget_active_generations()


def fill(size: int, dimensions: int) -> np.ndarray:
    """Items, their index, people's interactions and the statistics; returns float32 (size, dimensions)."""
    random = np.random.default_rng(size)
    centres = random.standard_normal((CLUSTERS, dimensions))
    matrix = centres[np.arange(size) % CLUSTERS] + 0.8 * random.standard_normal((size, dimensions))
    matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    catalogue = services.ensure_catalogue("shop")
    now = datetime.now(UTC)
    Item.objects.bulk_create(
        [
            Item(
                catalogue=catalogue, key=f"i{n}", title=f"Item {n}", category=f"Cluster {n % CLUSTERS}", price=n % 100,
                attributes={"colour": f"colour {n % 12}"}, changed_at=now, changed_by="benchmark",
            )
            for n in range(size)
        ],
        batch_size=2_000,
    )  # fmt: skip
    generation = create_generation(COLLECTION, FINGERPRINT, dimensions)
    with transaction.atomic():
        activate(generation)
        touch(COLLECTION, [document_key("shop", f"i{n}") for n in range(size)])

    def encode(texts: list[str]) -> np.ndarray:
        return matrix[[int(text.split("\n")[0].removeprefix("Item ")) for text in texts]]

    synchronise(lambda fingerprint: encode)
    index.forget_active_generations()
    people = max(2_000, size // 10)
    interact(catalogue, random, size, people, now)
    catalogue.refresh_from_db()
    jobs.rebuild_statistics()
    assert ItemStatistics.objects.exists()
    return matrix


def interact(catalogue: Catalogue, random: np.random.Generator, size: int, people: int, now: datetime) -> None:
    events, rows = [], []
    for number in range(people):
        liked = random.integers(0, CLUSTERS, 3)
        for step in range(HISTORY):
            within = int(random.pareto(1.2) * 3) % max(size // CLUSTERS, 1)  # a few items of a cluster are popular
            key = f"i{within * CLUSTERS + int(random.choice(liked))}"
            time_of = now - timedelta(minutes=int(random.integers(0, 20_000)) + HISTORY - step)
            name = f"{number} {step}"
            events.append(
                Event(source="benchmark", event_id=name, type="benchmark", time=time_of, data={}, received_at=now)
            )
            rows.append((f"person {number}", key, time_of))
    stored = Event.objects.bulk_create(events, batch_size=2_000)
    Interaction.objects.bulk_create(
        [
            Interaction(event=event, catalogue=catalogue, user_key=person, item_key=key, timestamp=time_of)
            for event, (person, key, time_of) in zip(stored, rows, strict=True)
        ],
        batch_size=2_000,
    )


def score_everything(matrix: np.ndarray, person: str) -> np.ndarray:
    """What the rival does for one person: the mean of thirty vectors, a product with all, the best twenty."""
    seed = int.from_bytes(hashlib.blake2b(person.encode(), digest_size=4).digest())
    past = np.random.default_rng(seed).integers(0, len(matrix), HISTORY)
    scores = matrix @ matrix[past].mean(axis=0)
    scores[past] = -1
    best = np.argpartition(-scores, ASKED)[:ASKED]
    return best[np.argsort(-scores[best])]


def timed(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(seconds, [50, 95]) * 1_000
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}


def resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096
