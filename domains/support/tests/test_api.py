"""The API of support as a builder meets it: conversations, suggestions, bare texts, and errors that say what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from domains.support.models import Message, Suggestion, SuggestionRun
from domains.support.tests.events import answer, message, take
from suite.events.auth import create_key
from suite.index.vectors import encode_queries

pytestmark = pytest.mark.django_db
CONVERSATIONS = "/api/support/conversations"


@pytest.fixture
def call(db):
    client = Client()
    headers = {"Authorization": f"Bearer {create_key('chat', ['suggest'])[1]}"}

    def ask(method: str, path: str, body: Any = None, **query: Any):
        if method == "GET":
            return client.get(path, query, headers=headers)
        return client.post(path, json.dumps(body), content_type="application/json", headers=headers)

    return ask


def test_from_a_conversation_to_its_suggestions(generous, call) -> None:
    take(answer("postage", "Postage to Norway costs nine euros.", "Postage", source="Handbook"))
    generous.work()
    begun = call(
        "POST", CONVERSATIONS, {"text": "postage to norway?", "conversation_id": "a/b 1", "customer": {"name": "Bo"}}
    )
    assert begun.status_code == 201 and begun.json()["conversation_id"] == "a/b 1"
    path = f"{CONVERSATIONS}/a%2Fb%201"
    assert call("GET", f"{path}/suggestions").json()["outcome"] == "pending"
    generous.work()
    answered = call("GET", f"{path}/suggestions").json()
    assert answered["outcome"] == "offered" and answered["release"] == generous.encoder.fingerprint
    [first] = answered["suggestions"]
    assert (first["answer_id"], first["source"], first["state"]) == ("postage", "Handbook", "offered")
    assert first["text"][slice(*first["sentence"])] == "Postage to Norway costs nine euros."
    more = call("POST", f"{path}/messages", {"text": "Nine euros.", "author": "agent"})
    assert more.status_code == 201
    thread = call("GET", path).json()
    assert [one["author"] for one in thread["messages"]] == ["customer", "agent"] and thread["state"] == "open"
    assert call("GET", f"{path}/suggestions").json()["outcome"] == "none"


def test_the_same_message_twice_is_taken_once(call) -> None:
    body = {"text": "hello", "conversation_id": "c", "message_id": "m"}
    assert [call("POST", CONVERSATIONS, body).json()["status"] for _ in range(2)] == ["accepted", "duplicate"]
    assert Message.objects.count() == 1


def test_a_bare_text_stores_nothing(generous, call) -> None:
    take(answer("postage", "It takes a week. Postage to Norway costs nine euros.", "Postage"))
    generous.work()
    late = call("POST", "/api/support/suggest", {"text": "postage to norway?"}).json()
    assert "query_vector_pending" in late["degraded"]  # no worker was there: words alone, and it says so
    encode_queries(lambda fingerprint: generous.encoder.embed)
    found = call("POST", "/api/support/suggest", {"text": "postage to norway?", "k": 1}).json()
    assert (found["outcome"], found["degraded"]) == ("offered", [])
    [item] = found["items"]
    assert item["answer_id"] == "postage"
    assert item["text"][slice(*item["sentence"])] == "Postage to Norway costs nine euros."
    assert Suggestion.objects.count() == SuggestionRun.objects.count() == Message.objects.count() == 0


def test_without_a_release_a_bare_text_gets_nothing_and_the_reason(call) -> None:
    found = call("POST", "/api/support/suggest", {"text": "postage?"}).json()
    assert found["items"] == [] and "no_release" in found["degraded"]


def test_answers_are_listed_in_pages(call) -> None:
    take(*(answer(f"a{number}", f"text {number}") for number in range(5)))
    first = call("GET", "/api/support/answers", limit=3).json()
    assert [row["answer_id"] for row in first["answers"]] == ["a0", "a1", "a2"]
    rest = call("GET", "/api/support/answers", after=first["after"]).json()
    assert [row["answer_id"] for row in rest["answers"]] == ["a3", "a4"]
    assert [row["answer_id"] for row in call("GET", "/api/support/answers", q="text 4").json()["answers"]] == ["a4"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("POST", CONVERSATIONS, {}, 422, "body.text"),
        ("POST", CONVERSATIONS, {"text": ""}, 422, "body.text"),
        ("POST", CONVERSATIONS, {"text": " \t"}, 422, "body.text"),
        ("POST", CONVERSATIONS, {"text": "x" * 100_000}, 422, "body.text"),
        ("POST", CONVERSATIONS, {"text": "a\x00b"}, 422, "body.text"),
        ("POST", CONVERSATIONS, {"text": "a\ud800"}, 422, "body.text"),
        ("POST", CONVERSATIONS, {"text": "a", "conversation_id": "x" * 201}, 422, "body.conversation_id"),
        ("POST", CONVERSATIONS, {"text": "a", "customer": []}, 422, "body.customer"),
        ("POST", CONVERSATIONS, {"text": "a", "customer": {"n": {}}}, 422, "body.customer.n"),
        ("POST", f"{CONVERSATIONS}/none/messages", {"text": "a"}, 404, ""),
        ("POST", f"{CONVERSATIONS}/none/messages", {"text": "a", "author": "bot"}, 422, "body.author"),
        ("GET", f"{CONVERSATIONS}/none", None, 404, ""),
        ("GET", f"{CONVERSATIONS}/none/suggestions", None, 404, ""),
        ("POST", "/api/support/suggest", {"text": "a", "k": 0}, 422, "body.k"),
        ("POST", "/api/support/suggest", [1], 422, "body.text"),
        ("GET", "/api/support/answers?limit=0", None, 422, "query.limit"),
        ("GET", "/api/support/answers?after=a%00", None, 422, "query.after"),
    ],
)
def test_what_is_wrong_is_a_problem_that_names_the_field(call, method, path, body, status, field) -> None:
    response = call(method, path, body)
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert field in [error["field"] for error in response.json().get("errors", [{"field": ""}])]
    assert len(response.content) < 2_000 and Message.objects.count() == 0


def test_a_key_with_the_scope_is_needed() -> None:
    assert Client().get(f"{CONVERSATIONS}/c").status_code == 401
    key = create_key("shop", ["recommend"])[1]
    take(message("hello"))
    assert Client().get(f"{CONVERSATIONS}/c", headers={"Authorization": f"Bearer {key}"}).status_code == 403
