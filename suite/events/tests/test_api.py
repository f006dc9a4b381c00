from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError
from django.test import Client
from django.utils import timezone

from suite.domain import EventType, event_types
from suite.events import api, auth, doorbell
from suite.events.models import ApiKey, Event
from suite.events.tests.conftest import READ, WRITTEN, Trial, note

ONE, MANY = "application/cloudevents+json", "application/cloudevents-batch+json"


@pytest.fixture
def key(trial: Trial) -> str:
    return auth.create_key("test", ["ingest", "read"])[1]


def post(key: str, body: object, content_type: str = MANY, **extra: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return Client(HTTP_HOST="localhost").post("/api/events", raw, content_type=content_type, headers=headers, **extra)


def problem(response: Any) -> tuple[int, str]:
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code and body["title"]
    return response.status_code, body["detail"]


def test_a_batch_is_answered_item_by_item(key: str) -> None:
    response = post(key, [note("a"), note("a"), note("b", type="trial.unknown")])
    assert response.status_code == 202
    results = response.json()["results"]
    assert results[:2] == [{"id": "a", "status": "accepted"}, {"id": "a", "status": "duplicate"}]
    assert (results[2]["id"], results[2]["status"], results[2]["field"]) == ("b", "rejected", "type")
    assert WRITTEN in results[2]["reason"]


def test_fields_that_a_type_does_not_have_are_named(key: str, monkeypatch: Any) -> None:
    known = EventType(event_types()[READ].validate, schema={"properties": {"text": {}}})
    monkeypatch.setitem(event_types(), READ, known)
    data = {"text": "hello", "txet": "a slip", "a name that is no fit name": 1}
    odd, plain = post(key, [note("a", type=READ, data=data), note("b", type=READ)]).json()["results"]
    assert odd == {"id": "a", "status": "accepted", "ignored": ["data.txet"]}
    assert plain == {"id": "b", "status": "accepted"}


def test_a_type_that_takes_any_field_ignores_none(key: str, monkeypatch: Any) -> None:
    known = EventType(event_types()[READ].validate, schema={"properties": {"text": {}}, "additionalProperties": {}})
    monkeypatch.setitem(event_types(), READ, known)
    (result,) = post(key, [note("a", type=READ, data={"text": "hello", "colour": "red"})]).json()["results"]
    assert result == {"id": "a", "status": "accepted"}


def test_a_method_that_is_not_taken_is_a_problem_like_others(key: str) -> None:
    response = Client(HTTP_HOST="localhost").delete("/api/events", headers={"Authorization": f"Bearer {key}"})
    status, detail = problem(response)
    assert (status, response["Allow"]) == (405, detail.removeprefix("Use ").removesuffix("."))
    assert "POST" in detail


@pytest.mark.parametrize("content_type", [ONE, "application/json", "application/cloudevents+json; charset=utf-8"])
def test_one_event_is_taken(key: str, content_type: str) -> None:
    assert post(key, note("a"), content_type).json() == {"results": [{"id": "a", "status": "accepted"}]}


def test_plain_json_may_be_a_list(key: str) -> None:
    assert len(post(key, [note("a"), note("b")], "application/json").json()["results"]) == 2


def test_an_empty_batch_is_no_mistake(key: str) -> None:
    assert post(key, []).json() == {"results": []}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"[]", "text/plain", 415),
        (b"[]", f"{MANY}; charset=latin-1", 415),
        (b"{not json", ONE, 422),
        (b"\xff", ONE, 422),
        (b"[" * 100_000, MANY, 422),
        (b"{}", MANY, 422),
        (b"[]", ONE, 422),
    ],
)
def test_what_cannot_be_read_is_refused_as_a_problem(key: str, body: bytes, content_type: str, status: int) -> None:
    assert problem(post(key, body, content_type))[0] == status


def test_without_a_valid_key_nothing_is_taken(key: str) -> None:
    response = post("", [note("a")])
    assert problem(response)[0] == 401
    assert response["WWW-Authenticate"] == "Bearer"
    assert problem(post("wrong", [note("a")]))[0] == 401
    assert not Event.objects.exists()


def test_a_key_without_the_scope_is_refused(trial: Trial) -> None:
    _, reader = auth.create_key("reader", ["read"])
    status, detail = problem(post(reader, [note("a")]))
    assert status == 403 and "'ingest'" in detail


def test_a_revoked_key_is_refused_at_once_in_this_process(key: str) -> None:
    assert post(key, []).status_code == 202
    auth.revoke_key(ApiKey.objects.get())
    assert problem(post(key, []))[0] == 401


def test_a_body_too_large_by_its_own_word_is_not_read(key: str, settings: Any, monkeypatch: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    monkeypatch.setattr(api, "decode", lambda *_: pytest.fail("was parsed"))
    assert problem(post(key, b"[" + b" " * 1_000 + b"]"))[0] == 413


def test_a_body_larger_than_announced_is_refused(key: str, settings: Any, monkeypatch: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    monkeypatch.setattr(api, "decode", lambda *_: pytest.fail("was parsed"))
    request = type("Request", (), {"META": {}, "read": lambda self, size: b"x" * size})()
    with pytest.raises(api.Problem) as caught:
        api.read_body(request)
    assert caught.value.status == 413


def test_too_many_items_are_refused_whole(key: str, settings: Any) -> None:
    settings.MAX_BATCH_ITEMS = 3
    status, detail = problem(post(key, [note(str(number)) for number in range(4)]))
    assert status == 413 and "The limit is 3" in detail
    assert not Event.objects.exists()


def test_a_full_backlog_asks_to_come_back(key: str, settings: Any) -> None:
    settings.BACKLOG_LIMIT = 1
    post(key, [note("a")])
    doorbell._backlog = (0.0, 0)
    response = post(key, [note("b")])
    assert problem(response)[0] == 429
    assert int(response["Retry-After"]) > 0


@pytest.mark.parametrize("error", [OperationalError("database is locked"), InterfaceError("connection is closed")])
def test_a_database_that_cannot_asks_to_come_back(key: str, monkeypatch: Any, error: Exception) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("suite.events.ingestion.write", refuse)
    response = post(key, [note("a")])
    status, detail = problem(response)
    assert status == 503 and str(error) not in detail
    assert int(response["Retry-After"]) > 0


def test_events_are_read_back_in_order_page_by_page(key: str) -> None:
    post(key, [note("a", subject="s"), note("b", type=READ), note("c")])

    def read(query: str) -> dict[str, Any]:
        response = Client(HTTP_HOST="localhost").get(f"/api/events{query}", headers={"Authorization": f"Bearer {key}"})
        assert response.status_code == 200
        return response.json()

    first = read("?limit=2")
    assert [event["id"] for event in first["events"]] == ["a", "b"]
    assert first["events"][0]["subject"] == "s" and first["events"][0]["data"] == {"text": "hello"}
    assert first["after"] == first["events"][1]["sequence"]
    rest = read(f"?after={first['after']}")
    assert [event["id"] for event in rest["events"]] == ["c"]
    assert read(f"?after={rest['after']}") == {"events": [], "after": rest["after"]}
    assert [event["id"] for event in read(f"?type={READ}")["events"]] == ["b"]


@pytest.mark.parametrize(
    "query", ["after=-1", "after=99999999999999999999", "limit=0", "limit=5000", "type=%00", "after=x"]
)
def test_odd_questions_are_answered_422(key: str, query: str) -> None:
    response = Client(HTTP_HOST="localhost").get(f"/api/events?{query}", headers={"Authorization": f"Bearer {key}"})
    assert problem(response)[0] == 422


def test_the_key_command_prints_the_key_alone_and_stores_a_hash_only(
    trial: Trial, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("api-key", "create", "shop", "--scope", "ingest,recommend")
    text = capsys.readouterr().out.strip()
    key = auth.valid_key(text)
    assert key is not None and sorted(key.scopes) == ["ingest", "recommend"]
    assert text not in str(ApiKey.objects.values().get())
    with pytest.raises(CommandError, match="already"):
        call_command("api-key", "create", "shop", "--scope", "read")
    with pytest.raises(CommandError, match="ingest, recommend, suggest, read"):
        call_command("api-key", "create", "other", "--scope", "everything")
    call_command("api-key", "revoke", "shop")
    assert auth.valid_key(text) is None
    with pytest.raises(CommandError, match="no key named"):
        call_command("api-key", "revoke", "nobody")


def test_the_last_use_is_noted_at_most_once_a_minute(key: str) -> None:
    post(key, [])
    first = ApiKey.objects.get().last_used_at
    assert first is not None and timezone.now() - first < timedelta(seconds=60)
    auth._known.clear()
    post(key, [])
    assert ApiKey.objects.get().last_used_at == first
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    auth._known.clear()
    post(key, [])
    last = ApiKey.objects.get().last_used_at
    assert last is not None and last > first


def test_a_flood_of_wrong_keys_fills_no_memory(trial: Trial, monkeypatch: Any) -> None:
    monkeypatch.setattr(auth, "CACHE_KEYS", 10)
    for number in range(25):
        assert auth.valid_key(f"wrong-{number}") is None
    assert len(auth._known) <= 10
