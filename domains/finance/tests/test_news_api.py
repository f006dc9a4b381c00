"""The API of news: lists, pages of them, filters, single rows, series, and what is said where nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from domains.finance.models import Entity
from domains.finance.tests.articles import article, take
from suite.encoder.fake import FakeEncoder
from suite.events.auth import create_key

pytestmark = pytest.mark.django_db
TITLES = (
    "Halden Motors recalls 120000 vans over brake fault",
    "Northwind Bank posts surprise quarterly loss",
    "Corvane Pharma names new chief",
    "云岭银行季度意外亏损",
)


@pytest.fixture
def get(encoder: FakeEncoder, companies: dict[str, Entity]) -> Callable[..., Any]:
    take(*[article(title, 60 * n, key=f"k{n}", source=f"Outlet {n % 2}") for n, title in enumerate(TITLES)])
    take(article(TITLES[0], 30, key="copy/of one", source="Outlet 9"))
    client = Client()
    headers = {"Authorization": f"Bearer {create_key('desk', ['read'])[1]}"}

    def ask(path: str, status: int = 200, **query: Any) -> Any:
        response = client.get(f"/api/finance{path}", query, headers=headers)
        assert response.status_code == status, response.content
        return response.json()

    return ask


def titles(found: dict[str, Any]) -> list[str]:
    return [row["title"] for row in found.get("stories") or found.get("articles") or []]


def test_stories_are_listed_newest_first_and_in_pages(get: Any) -> None:
    everything = get("/stories")
    assert titles(everything) == list(reversed(TITLES))
    assert everything["next"] == ""
    seen, after = [], ""
    for _ in range(5):
        page = get("/stories", limit=1, after=after)
        seen += titles(page)
        after = page["next"]
        if not after:
            break
    assert seen == list(reversed(TITLES))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"entity": "HLDN"}, [TITLES[0]]),
        ({"language": "zh"}, [TITLES[3]]),
        ({"source": "Outlet 9"}, [TITLES[0]]),
        ({"topic": "people"}, [TITLES[2]]),
        ({"since": "2026-03-02T11:00:00Z", "until": "2026-03-02T12:00:00"}, [TITLES[2]]),
        ({"entity": "HLDN", "topic": "people"}, []),
    ],
)
def test_stories_can_be_narrowed(get: Any, query: dict[str, str], expected: list[str]) -> None:
    assert titles(get("/stories", **query)) == expected


def test_a_story_comes_with_its_articles(get: Any) -> None:
    [row] = get("/stories", entity="HLDN")["stories"]
    story = get(f"/stories/{row['story_id']}")
    assert (story["articles"], story["sources"]) == (2, 2)
    assert [(told["article_id"], told["copy_of"]) for told in story["told_by"]] == [("k0", ""), ("copy/of one", "k0")]
    assert sum(story["sentiment"].values()) == pytest.approx(1)
    assert [one["entity"] for one in story["entities"]] == ["HLDN"]


def test_an_article_is_read_by_its_own_id(get: Any) -> None:
    row = get("/articles/copy/of one")
    assert (row["copy_of"], row["source"]) == ("k0", "Outlet 9")
    assert {score["entity"] for score in row["scores"]} == {"", "HLDN"}
    assert all(score["release"] for score in row["scores"])
    assert len(get("/articles")["articles"]) == 5
    assert titles(get("/articles", entity="NWB")) == [TITLES[1]]
    assert titles(get("/articles", source="Outlet 1", language="zh")) == [TITLES[3]]


def test_series_hold_what_was_counted(get: Any) -> None:
    found = get("/series", entity="HLDN", seconds=86_400, since="2026-03-01T00:00:00Z", until="2026-03-04T00:00:00Z")
    [bucket] = found["buckets"]
    assert (bucket["start"], bucket["stories"], bucket["articles"]) == ("2026-03-02T00:00:00+00:00", 1, 2)
    assert bucket["negative"] + bucket["neutral"] + bucket["positive"] == 1
    everything = get("/series", seconds=60, since="2026-03-02T00:00:00Z", until="2026-03-03T00:00:00Z")
    assert [one["stories"] for one in everything["buckets"]] == [1, 1, 1, 1]


def test_entities_are_found_by_any_of_their_names(get: Any) -> None:
    assert [one["entity"] for one in get("/entities")["entities"]] == ["CRVN", "HLDN", "NWB", "YLB"]
    assert [one["entity"] for one in get("/entities", q="云岭")["entities"]] == ["YLB"]
    page = get("/entities", limit=2)
    assert page["next"] == "HLDN"
    assert [one["entity"] for one in get("/entities", limit=2, after="HLDN")["entities"]] == ["NWB", "YLB"]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/stories/999999", {}, 404),
        ("/articles/nobody", {}, 404),
        ("/stories", {"entity": "NOBODY"}, 404),
        ("/series", {"entity": "NOBODY"}, 404),
        ("/stories", {"after": "rubbish"}, 422),
        ("/stories", {"limit": 501}, 422),
        ("/stories", {"since": "yesterday"}, 422),
        ("/series", {"seconds": 61}, 422),
        ("/series", {"seconds": 60, "since": "1990-01-01T00:00:00Z"}, 422),
    ],
)
def test_what_is_missing_or_wrong_is_said(get: Any, path: str, query: dict[str, Any], status: int) -> None:
    answer = get(path, status, **query)
    assert answer["status"] == status
    assert answer["detail"]


def test_a_key_is_needed() -> None:
    assert Client().get("/api/finance/stories").status_code == 401
