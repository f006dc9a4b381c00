"""One stream through the embedded and through the full stack ends in the same rows and the same recommendations."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import kombu
import pytest

from suite.events.exchange import CONTENT_TYPE, EVENTS
from tests.project import ROOT, SERVICES, Installation, new_database, wait_until

CATALOGUE = "two-stacks"
ITEMS, USERS, INTERACTIONS = 120, 12, 400
ROWS = {
    "items": "list(Item.objects.filter(catalogue__slug={0!r}).order_by('key').values_list("
    "'key', 'title', 'description', 'category', 'brand', 'price', 'currency', 'is_available', 'attributes', "
    "'is_removed', 'changed_by'))",
    "interactions": "[[*row[:-1], row[-1].isoformat()] for row in Interaction.objects.filter(catalogue__slug={0!r})"
    ".order_by('event__event_id').values_list("
    "'event__event_id', 'user_key', 'item_key', 'kind', 'value', 'timestamp')]",
    "statistics": "[[row.item_key, round(row.popularity, 9), bytes(row.neighbours).hex()] for row in "
    "ItemStatistics.objects.filter(catalogue__slug={0!r}).order_by('item_key')]",
    "blend": "[catalogue.blend for catalogue in Catalogue.objects.filter(slug={0!r})]",
    "events": "list(Event.objects.filter(source={0!r}).order_by('event_id').values_list('event_id', 'type', 'data'))",
}
LEARN = f"""
from domains.commerce import jobs, models
from suite.releases import selectors
catalogue = models.Catalogue.objects.get(slug="{CATALOGUE}")
jobs.rebuild(catalogue, models.Interaction.objects.latest("event_id").event_id)
jobs.learn_blend(catalogue, selectors.active().fingerprint)
"""


def stream() -> Iterator[dict[str, Any]]:
    """Items of the sample, then what people do with them; every item twice, removals and repeats among it."""
    lines = (ROOT / "domains" / "commerce" / "sample" / "items.jsonl").read_text().splitlines()
    items = [json.loads(line) for line in lines[:ITEMS]]
    choice = random.Random(7)
    counter = itertools.count()
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def event(kind: str, data: dict[str, Any]) -> dict[str, Any]:
        number = next(counter)
        time = (start + timedelta(minutes=number)).isoformat()
        data = {**data, "catalogue": CATALOGUE}
        return {
            "specversion": "1.0", "id": f"{number:05}", "source": CATALOGUE, "type": f"commerce.{kind}", "time": time,
            "data": data,
        }  # fmt: skip

    yield from (event("item.changed", {**item, "price": 1}) for item in items)
    yield from (event("item.changed", item) for item in items)
    yield from (event("item.removed", {"item_id": item["item_id"]}) for item in items[-5:])
    for _ in range(INTERACTIONS):
        user = choice.randrange(USERS)
        item = items[(user * 10 + choice.randrange(20)) % len(items)]
        kind = choice.choice(["view", "view", "cart", "purchase"])
        yield event("interaction.recorded", {"user_id": f"user-{user}", "item_id": item["item_id"], "kind": kind})


def send_over_http(installation: Installation, key: str, events: list[dict[str, Any]]) -> None:
    for start in range(0, len(events), 100):
        answer = installation.post(key, events[start : start + 100])
        assert answer.status_code == 202
        assert {result["status"] for result in answer.json()["results"]} == {"accepted"}


def send_over_rabbitmq(events: list[dict[str, Any]]) -> None:
    options = {"confirm_publish": True}
    with kombu.Connection(os.environ["SUITE_BROKER_URL"], transport_options=options) as broker:
        producer = broker.Producer(exchange=EVENTS)
        for event in events:
            producer.publish(
                json.dumps(event), routing_key=event["type"], content_type=CONTENT_TYPE, content_encoding="utf-8"
            )


def outcome(installation: Installation, key: str, count: int) -> dict[str, Any]:
    """Rows and answers, once everything is stored, handled, indexed and learned from."""
    stored = f"Event.objects.filter(source='{CATALOGUE}').count()"
    wait_until(lambda: installation.query(stored) == count, 120, "storing")
    wait_until(lambda: installation.query("PendingEvent.objects.filter(work='handle').count()") == 0, 120, "handling")
    behind = "[g.collection.last_sequence - g.synced_sequence for g in Generation.objects.filter(state='active')]"
    wait_until(lambda: installation.query(behind) == [0], 120, "indexing")
    installation.manage("shell", "-c", LEARN)
    found = {name: installation.query(code.format(CATALOGUE)) for name, code in ROWS.items()}
    assert len(found["items"]) == ITEMS and len(found["interactions"]) == INTERACTIONS and found["statistics"]
    return found | {f"user-{user}": recommended(installation, key, f"user-{user}") for user in range(USERS)}


def recommended(installation: Installation, key: str, user: str) -> list[tuple[str, list[str]]]:
    """Item and channels of the first ten."""
    answer = httpx.get(
        f"{installation.address}/api/commerce/users/{user}/recommendations",
        params={"catalogue": CATALOGUE, "k": 10},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    assert len(items) == 10
    return [(item["item_id"], [reason["channel"] for reason in item["reasons"]]) for item in items]


@pytest.mark.services("postgres", "rabbitmq", "redis", "elasticsearch")
@pytest.mark.timeout(900)
def test_the_same_stream_ends_in_the_same_rows_and_recommendations(tmp_path: Path) -> None:
    events = list(stream())
    embedded = Installation(ROOT, tmp_path / "embedded")
    try:
        embedded.up("--no-sample").wait_for("Suite is ready")
        key = embedded.key()
        send_over_http(embedded, key, events)
        expected = outcome(embedded, key, len(events))
    finally:
        embedded.end()
    with new_database("two_stacks") as database_url:
        services = {name: os.environ[name] for name in SERVICES} | {
            "SUITE_DATABASE_URL": database_url,
            "SUITE_INDEX_PREFIX": "suite-two-stacks",
        }
        full = Installation(ROOT, tmp_path / "full", services)
        try:
            found = through_the_full_stack(full, events)
        finally:
            full.end()
            remove_indices(services["SUITE_ELASTICSEARCH_URL"], "suite-two-stacks")
    for name in expected:
        assert found[name] == expected[name], name


def through_the_full_stack(full: Installation, events: list[dict[str, Any]]) -> dict[str, Any]:
    """The first part over HTTP, the rest over RabbitMQ, in order; each process of its own."""
    full.manage("migrate")
    full.manage("release")
    web = full.web()
    full.worker("events", "jobs")
    full.worker("interactive", "indexing", pool="threads")
    full.beat()
    full.run("manage.py", "consume").wait_for("taking events")
    web.wait_for("running on")
    key = full.key()
    half = len(events) // 2
    send_over_http(full, key, events[:half])
    send_over_rabbitmq(events[half:])
    return outcome(full, key, len(events))


def remove_indices(url: str, prefix: str) -> None:
    names = httpx.get(f"{url}/_cat/indices/{prefix}*?h=index").text.split()
    for name in names:
        httpx.delete(f"{url}/{name}")
