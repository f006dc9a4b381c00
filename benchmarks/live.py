"""From an accepted event to its frame in a browser, and from a click to the new list on the page that was clicked.

A real one-process server on a scratch state, a real Chromium. Every event is of a user of its own, whose topic the
browser listens to, so each frame belongs to one event. The clock is the machine's, which both sides share.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
from django.conf import settings
from django.core import signing
from django.core.management.base import CommandError

NAME = "live"
HELP = "ms from an accepted event to its frame in a browser, and from a click to the new list"
CATALOGUE = "benchmark"
ITEMS = 200
TOPICS_A_SOCKET = 50
START_SECONDS = 120
LISTEN = """tokens => new Promise(ready => {
  window.heard ??= {};
  const socket = new WebSocket(`ws://${location.host}/live/`);
  let left = tokens.length;
  socket.onopen = () => socket.send(JSON.stringify({subscribe: tokens}));
  socket.onmessage = message => {
    const now = Date.now(), frame = JSON.parse(message.data);
    const sequences = frame.sequences ?? {[frame.topic]: frame.sequence};
    for (const [topic, sequence] of Object.entries(sequences)) if (sequence > 0) window.heard[topic] ??= now;
    left -= frame.topic ? 1 : 0;
    if (left <= 0) ready();
  };
})"""


def run(events: int = 200, rate: float = 20.0, clicks: int = 20) -> dict[str, Any]:
    """{"p50", "p95", "p99" (ms, event to frame), "lost", "click_to_list_p50", "click_to_list_p95" (ms), ...}."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise CommandError("This benchmark drives a browser: install the dev dependencies and Chromium.") from error
    with server() as (address, key, secret), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        send(address, key, [item_event(number) for number in range(ITEMS)])
        to_frame = event_to_frame(browser.new_page(), address, key, secret, events, rate)
        to_list = click_to_list(browser.new_page(), address, clicks)
        browser.close()
    heard = [milliseconds for milliseconds in to_frame if milliseconds is not None]
    return {
        **figures("", heard),
        "lost": len(to_frame) - len(heard),
        **figures("click_to_list_", to_list),
        "events": events,
        "rate": rate,
        "clicks": clicks,
        "cores": len(os.sched_getaffinity(0)),
    }


def figures(prefix: str, milliseconds: list[float]) -> dict[str, float]:
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return {
        f"{prefix}p50": median(milliseconds),
        f"{prefix}p95": round(cuts[94], 1),
        f"{prefix}p99": round(cuts[98], 1),
    }


def event_to_frame(page: Any, address: str, key: str, secret: str, events: int, rate: float) -> list[float | None]:
    """Milliseconds for each event, None for a frame that did not come within ten seconds."""
    users = [f"live-{number}" for number in range(events)]
    topics = [f"commerce.user.{CATALOGUE}.{user}" for user in users]
    tokens = [signing.dumps(topic, key=secret, salt="suite.live.topic") for topic in topics]
    page.goto(address)
    for start in range(0, events, TOPICS_A_SOCKET):
        page.evaluate(LISTEN, tokens[start : start + TOPICS_A_SOCKET])
    accepted = []
    begin = time.monotonic()
    with httpx.Client() as client:
        for number, user in enumerate(users):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            send(address, key, [view_event(user, number)], client)
            accepted.append(time.time() * 1000)
            page.evaluate("1")  # lets the browser's messages through
    page.wait_for_timeout(10_000 if len(page.evaluate("heard")) < events else 0)
    heard = page.evaluate("heard")
    return [max(0.0, heard[topic] - at) if topic in heard else None for topic, at in zip(topics, accepted, strict=True)]


def click_to_list(page: Any, address: str, clicks: int) -> list[float]:
    """What the page itself shows after each of `clicks` items was put in the cart."""
    page.goto(f"{address}/commerce/?catalogue={CATALOGUE}")
    page.wait_for_selector("html[data-live=live]")
    shown = []
    for _ in range(clicks):
        page.evaluate("document.querySelector('#click-to-list').removeAttribute('data-milliseconds')")
        page.locator(".card form button").first.click()
        page.wait_for_selector("#click-to-list[data-milliseconds]", state="attached", timeout=20_000)
        shown.append(float(page.locator("#click-to-list").get_attribute("data-milliseconds")))
    return shown


def item_event(number: int) -> dict[str, Any]:
    data = {"item_id": f"item-{number}", "title": f"Thing number {number}", "catalogue": CATALOGUE}
    return {"id": f"item-{number}", "source": "benchmark", "type": "commerce.item.changed", "data": data}


def view_event(user: str, number: int) -> dict[str, Any]:
    data = {"user_id": user, "item_id": f"item-{number % ITEMS}", "catalogue": CATALOGUE}
    return {"id": user, "source": "benchmark", "type": "commerce.interaction.recorded", "data": data}


def send(address: str, key: str, events: list[dict[str, Any]], client: httpx.Client | None = None) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"}
    response = (client or httpx).post(f"{address}/api/events", json=events, headers=headers, timeout=60)
    if response.status_code != 202 or "rejected" in response.text:
        raise CommandError(f"The server answered {response.status_code}: {response.text[:300]}")


@contextmanager
def server(scope: str = "ingest", loads: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """(address, API key, secret key) of a `manage.py up` of its own, ready with its first release, after `load` with
    these arguments."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as state:
        own = {"SUITE_STATE": state, "SUITE_SECRET_KEY": secret, "SUITE_LOG_LEVEL": "ERROR"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SUITE_")} | own
        manage = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py")]
        process = subprocess.Popen(
            [*manage, "up", "--no-sample", "--port", str(port)], env=environment, stdout=subprocess.DEVNULL
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_ready(address)
            create = [*manage, "api-key", "create", "benchmark", "--scope", scope]
            key = subprocess.run(create, env=environment, capture_output=True, text=True, check=True).stdout.strip()
            if loads:
                subprocess.run([*manage, "load", *loads], env=environment, capture_output=True, check=True)
            yield address, key, secret
        finally:
            process.terminate()
            process.wait(20)


def wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/health/ready", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise CommandError(f"The server was not ready within {START_SECONDS} s")
