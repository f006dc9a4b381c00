"""Support: from a customer's message, sent over HTTP, to the suggestion that a desk reads, in a running Suite.

A process of its own is started on a free port with its sample; messages come one at a time, then from several customers
at once. What is timed is what an agent sees: from the POST until the suggestions of that message can be read.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from domains.support.sample.files import sample_questions
from tests.project import ROOT, Installation, wait_until

NAME = "support-live"
HELP = "p50/p95 from a customer's message to the suggestions on the desk, one at a time and 8 at once"
TIMEOUT = 30.0
POLL_SECONDS = {"alone": 0.02, "together": 0.1}  # a desk is rung instead: many that ask this often are a load


def run(messages: int = 100, customers: int = 8) -> dict[str, Any]:
    """{"alone": {"p50", "p95"}, "together": {...}, "unit"}, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(ROOT, Path(folder))
        try:
            installation.up().wait_for("Suite is ready")
            wait_until(lambda: installation.query("PendingEvent.objects.count()") == 0, 120, "the sample to be handled")
            key = installation.key()
            client = httpx.Client(
                base_url=f"{installation.address}/api/support",
                headers={"Authorization": f"Bearer {key}"},
                timeout=TIMEOUT,
            )
            texts = [one["text"] for one in sample_questions()]
            ask(client, texts[0], 0.1)  # the first one may have to wait for the ranker
            alone = [ask(client, texts[n % len(texts)], POLL_SECONDS["alone"]) for n in range(messages)]
            with ThreadPoolExecutor(customers) as pool:
                together = list(
                    pool.map(lambda n: ask(client, texts[n % len(texts)], POLL_SECONDS["together"]), range(messages))
                )
        finally:
            installation.end()
    return {"alone": quantiles(alone), "together": quantiles(together), "unit": "ms", "messages": messages}


def ask(client: httpx.Client, text: str, poll_seconds: float) -> float:
    """Seconds until the suggestions are there."""
    started = time.perf_counter()
    key = client.post("/conversations", json={"text": text}).raise_for_status().json()["conversation_id"]
    while client.get(f"/conversations/{key}/suggestions").raise_for_status().json()["outcome"] == "pending":
        if time.perf_counter() - started > TIMEOUT:
            raise TimeoutError("no suggestions came")
        time.sleep(poll_seconds)
    return time.perf_counter() - started


def quantiles(times: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(times, q)) * 1_000, 1) for q in (50, 95)}
