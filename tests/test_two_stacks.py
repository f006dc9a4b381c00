"""One stream of each domain through the embedded and through the full stack ends in the same rows, recommendations,
suggestions, stories and alerts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import kombu
import pytest

from suite.events.exchange import CONTENT_TYPE, EVENTS
from tests.project import ROOT, SERVICES, Installation, new_database, remove_indices, wait_until
from tests.streams import BURST, CUSTOMERS, INTERACTIONS, ITEMS, SOURCE, TRICKLE, USERS, Desk, Event, news, shop

pytestmark = [pytest.mark.services("postgres", "rabbitmq", "redis", "elasticsearch"), pytest.mark.timeout(900)]
PREFIX = "suite-two-stacks"
RULES = [
    {"name": "Surge", "metric": "surge", "window_seconds": 1_800, "threshold": 4.0, "clear_threshold": 2.0},
    {"name": "Many stories", "metric": "volume", "scope": "everything", "window_seconds": 1_200, "threshold": 15.0},
    {"name": "Bad news", "metric": "negative_share", "window_seconds": 3_600, "threshold": 0.6, "for_seconds": 120},
]
COMPARED = "__import__('tests.stack_rows', fromlist=['rows'])"
Send = Callable[[Sequence[Event]], None]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What the embedded and the full stack made of the same streams."""
    begin = datetime.fromtimestamp(time.time() // 60 * 60, UTC) - timedelta(hours=6)
    folder = tmp_path_factory.mktemp("stacks")
    expected = through_the_embedded_stack(Installation(ROOT, folder / "embedded"), begin)
    with new_database("two_stacks") as database_url:
        services = {name: os.environ[name] for name in SERVICES} | {
            "SUITE_DATABASE_URL": database_url,
            "SUITE_INDEX_PREFIX": PREFIX,
        }
        try:
            found = through_the_full_stack(Installation(ROOT, folder / "full", services), begin)
        finally:
            remove_indices(services["SUITE_ELASTICSEARCH_URL"], PREFIX)
    yield expected, found


@pytest.mark.parametrize("name", ["items", "interactions", "statistics", "blend", "events", "recommendations"])
def test_a_shop_ends_in_the_same_rows_and_recommendations(outcomes: tuple[dict, dict], name: str) -> None:
    expected, found = outcomes
    assert len(expected["items"]) == ITEMS and len(expected["interactions"]) == INTERACTIONS and expected["statistics"]
    assert found[name] == expected[name]


@pytest.mark.parametrize("name", ["answers", "conversations", "feedback", "first", "suggestions"])
def test_a_desk_ends_in_the_same_rows_and_suggestions(outcomes: tuple[dict, dict], name: str) -> None:
    expected, found = outcomes
    offered = [each["suggestions"] for each in expected["suggestions"].values()]
    assert sum(map(bool, offered)) > CUSTOMERS // 2 and expected["feedback"]
    assert any(pool == "reply" for items in offered for pool, *_ in items), "earlier replies are suggested, too"
    assert found[name] == expected[name]


@pytest.mark.parametrize("name", ["stories", "mentions", "buckets", "alerts", "transitions", "firings"])
def test_news_ends_in_the_same_stories_and_alerts(outcomes: tuple[dict, dict], name: str) -> None:
    expected, found = outcomes
    assert TRICKLE < len(expected["stories"]) < sum(len(keys) for keys, *_ in expected["stories"]), "some are copies"
    assert {rule["name"] for rule in RULES} == {rule for rule, *_ in expected["alerts"]}, "the burst fires every rule"
    assert any(count >= BURST // 2 for _, count in expected["firings"])
    assert found[name] == expected[name]


def test_the_two_stacks_read_the_same_leanings(outcomes: tuple[dict, dict]) -> None:
    expected, found = outcomes
    for ours, theirs in zip(expected["leanings"], found["leanings"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-3)


def through_the_embedded_stack(embedded: Installation, begin: datetime) -> dict[str, Any]:
    try:
        embedded.up("--no-sample").wait_for("Suite is ready")
        key = embedded.key()
        return outcome(embedded, key, begin, lambda events: send_over_http(embedded, key, events))
    finally:
        embedded.end()


def through_the_full_stack(full: Installation, begin: datetime) -> dict[str, Any]:
    """The first part over HTTP, the rest over RabbitMQ, in order; each process of its own."""
    try:
        full.manage("migrate")
        full.manage("release")
        web = full.web()
        full.worker("events", "jobs")
        full.worker("interactive", "indexing", pool="threads")
        full.beat()
        full.run("manage.py", "consume").wait_for("taking events")
        web.wait_for("running on")
        key = full.key()

        def send(events: Sequence[Event]) -> None:
            half = len(events) // 2
            send_over_http(full, key, events[:half])
            send_over_rabbitmq(events[half:])

        return outcome(full, key, begin, send)
    finally:
        full.end()


def send_over_http(installation: Installation, key: str, events: Sequence[Event]) -> None:
    for start in range(0, len(events), 100):
        answer = installation.post(key, events[start : start + 100])
        assert answer.status_code == 202, answer.text
        assert {result["status"] for result in answer.json()["results"]} == {"accepted"}, answer.text


def send_over_rabbitmq(events: Sequence[Event]) -> None:
    options = {"confirm_publish": True}
    with kombu.Connection(os.environ["SUITE_BROKER_URL"], transport_options=options) as broker:
        producer = broker.Producer(exchange=EVENTS)
        for event in events:
            producer.publish(
                json.dumps(event), routing_key=event["type"], content_type=CONTENT_TYPE, content_encoding="utf-8"
            )


def outcome(installation: Installation, key: str, begin: datetime, send: Send) -> dict[str, Any]:
    """Rows and answers, once everything is stored, handled, indexed, learned from and evaluated."""
    desk, sent = Desk(), 0

    def take_in(*streams: Sequence[Event]) -> None:
        nonlocal sent
        for events in streams:
            send(events)
            sent += len(events)
        settle(installation, sent)

    def index_anew() -> None:
        """Elasticsearch counts the words of replaced documents until it has merged them away, some time later."""
        installation.manage("reindex", "support")

    installation.manage("load", "finance.entities", str(ROOT / "domains" / "finance" / "sample" / "entities.jsonl"))
    take_in(list(shop()), desk.answers(), news(begin))
    index_anew()
    take_in(desk.customers())
    first = {f"customer-{number}": suggested(installation, key, f"customer-{number}") for number in range(CUSTOMERS)}
    take_in(desk.decisions({name: each.pop("ids") for name, each in first.items()}))
    index_anew()
    take_in(desk.later_customers())
    later = {f"later-{number}": suggested(installation, key, f"later-{number}") for number in range(CUSTOMERS)}
    for each in later.values():
        del each["ids"]
    installation.query(f"{COMPARED}.learn()")
    watch(installation, begin)
    return installation.query(f"{COMPARED}.rows()") | {
        "recommendations": [recommended(installation, key, f"user-{user}") for user in range(USERS)],
        "first": first,
        "suggestions": later,
        "firings": firings(installation, key),
    }


def settle(installation: Installation, count: int) -> None:
    """Until so many events are stored, and all are handled and indexed."""
    stored = f"Event.objects.filter(source={SOURCE!r}).count()"
    wait_until(lambda: installation.query(stored) == count, 120, "storing")
    wait_until(lambda: installation.query("PendingEvent.objects.filter(work='handle').count()") == 0, 180, "handling")
    assert installation.query("list(DeadLetter.objects.values_list('reason', flat=True))") == []
    behind = "sum(g.collection.last_sequence - g.synced_sequence for g in Generation.objects.filter(state='active'))"
    wait_until(lambda: installation.query(behind) == 0, 120, "indexing")


def watch(installation: Installation, begin: datetime) -> None:
    """Rules that begin before the news did; the evaluator of the installation brings them up to now."""
    installation.query(f"{COMPARED}.watch({begin.isoformat()!r}, {RULES!r})")
    until = (begin + timedelta(hours=5, minutes=30)).isoformat()
    behind = f"RuleProgress.objects.filter(evaluated_until__lt={until!r}).count()"
    wait_until(lambda: installation.query(behind) == 0, 60, "evaluating")


def ask(installation: Installation, key: str, path: str, **query: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.get(f"{installation.address}/api/{path}", params=query, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def recommended(installation: Installation, key: str, user: str) -> list[tuple[str, list[str]]]:
    """Item and channels of the first ten."""
    items = ask(installation, key, f"commerce/users/{user}/recommendations", catalogue=SOURCE, k=10)["items"]
    assert len(items) == 10
    return [(item["item_id"], [reason["channel"] for reason in item["reasons"]]) for item in items]


def suggested(installation: Installation, key: str, conversation: str) -> dict[str, Any]:
    """What a conversation was answered with, best first, and the suggestions' ids."""
    found = ask(installation, key, f"support/conversations/{conversation}/suggestions")
    assert found["degraded"] in ([], ["no_relevance_head"]), found
    items = found["suggestions"]
    return {
        "outcome": found["outcome"],
        "suggestions": [(item["pool"], item["answer_id"], item["text"], item["composed"]) for item in items],
        "ids": [item["suggestion_id"] for item in items],
    }


def firings(installation: Installation, key: str) -> list[tuple[str, int]]:
    """What the back-test of each rule finds over the news as they are: (entity, stories) of each firing."""
    found = []
    for rule in RULES:
        answer = httpx.post(
            f"{installation.address}/api/finance/rules/backtest",
            json={**rule, "days": 1},
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        found += [(firing["entity"], firing["figures"]["stories"]) for firing in answer.json()["firings"]]
    return found
