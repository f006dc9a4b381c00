"""The API of commerce as a shop's developer meets it: answers, statuses, and what is recorded of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from domains.commerce.tests.events import did, event, item, take
from suite.events.auth import create_key
from suite.events.models import Event

pytestmark = pytest.mark.django_db
USERS = "/api/commerce/users/ann/recommendations"


@pytest.fixture
def get():
    client = Client()
    headers: dict[str, str] = {}

    def ask(path: str, **query: Any):
        if not headers:
            headers["Authorization"] = f"Bearer {create_key('shop', ['recommend'])[1]}"
        return client.get(path, query, headers=headers)

    return ask


def ids(response) -> list[str]:
    assert response.status_code == 200, response.content
    return [each["item_id"] for each in response.json()["items"]]


def test_click_changes_the_next_answer(get):
    take(item("a", "A"), item("b", "B"))
    assert ids(get(USERS)) == ["b", "a"]
    take(did("b"))
    assert ids(get(USERS)) == ["a"]
    assert ids(get(USERS, exclude="none")) == ["b", "a"]


def test_answer_has_the_shape_of_the_formats(get):
    take(item("a", "A", price=3))
    answer = get(USERS).json()
    assert {"items", "served_by", "release", "degraded"} <= answer.keys()
    [first] = answer["items"]
    assert (first["item_id"], first["title"], first["price"]) == ("a", "A", 3.0)
    assert {"channel", "text"} <= first["reasons"][0].keys()


def test_ids_may_hold_slashes_and_other_letters(get):
    take(item("棋/盘 1", "国际象棋"), item("b", "B"), did("b", user="ann/of?x"))
    assert ids(get(f"/api/commerce/users/{quote('ann/of?x', safe='')}/recommendations")) == ["棋/盘 1"]
    assert get(f"/api/commerce/items/{quote('棋/盘 1', safe='')}").json()["title"] == "国际象棋"
    assert ids(get(f"/api/commerce/items/{quote('棋/盘 1')}/similar")) == ["b"]


def test_session_without_an_account(get):
    take(item("a", "A"), item("b", "B"), event("interaction.recorded", {"session_id": "s 1", "item_id": "b"}))
    assert ids(get("/api/commerce/sessions/recommendations", session_id="s 1")) == ["a"]


def test_filters_and_search(get):
    take(item("a", "Oak board", brand="Castle", price=9), item("b", "Oak table", brand="Other", price=99))
    assert ids(get(USERS, filter=["brand:Castle", "price:..10"])) == ["a"]
    assert ids(get("/api/commerce/search", q="oak", filter="brand:Other")) == ["b"]
    assert get("/api/commerce/catalogues").json() == {
        "catalogues": [{"catalogue": "shop", "title": "Shop", "kind": "products", "items": 2}]
    }


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        (USERS, {"k": 0}, 422),
        (USERS, {"k": 101}, 422),
        (USERS, {"k": "many"}, 422),
        (USERS, {"filter": "brand"}, 422),
        (USERS, {"exclude": "everything"}, 422),
        (USERS, {"catalogue": "films"}, 404),
        (USERS, {"catalogue": "a\x00b"}, 422),
        ("/api/commerce/users/a%00b/recommendations", {}, 422),
        (f"/api/commerce/users/{'x' * 201}/recommendations", {}, 422),
        ("/api/commerce/sessions/recommendations", {}, 422),
        ("/api/commerce/items/none/similar", {}, 404),
        ("/api/commerce/items/none", {}, 404),
        ("/api/commerce/search", {}, 422),
        ("/api/commerce/search", {"q": "a\x00"}, 422),
    ],
)
def test_what_is_wrong_is_a_problem_that_says_so(get, path, query, status):
    take(item("a", "A"))
    response = get(path, **query)
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["title"]


def test_no_catalogue_yet(get):
    assert get(USERS).status_code == 404


def test_key_with_the_scope_is_needed():
    assert Client().get(USERS).status_code == 401
    _, key = create_key("reader", ["read"])
    assert Client().get(USERS, headers={"Authorization": f"Bearer {key}"}).status_code == 403


def test_served_lists_are_recorded(get):
    take(item("a", "A"), did("b"))
    get(USERS)
    data = Event.objects.get(type="commerce.recommendation.served").data
    assert (data["user_id"], data["items"], data["served_by"], data["surface"]) == ("ann", ["a"], "newest", "user")
