"""Whatever is sent: a clear error that names the field, flat memory, and neighbours that go through."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bad_data import ANSWER, ARTICLE, ASKED, MESSAGE, WRONG_DATA
from tests.project import ROOT, Installation, copy_project, wait_until

JSON = "application/cloudevents-batch+json"
FLAT_BYTES = 40 * 2**20  # that the process may grow by; the bodies sent to it are fifteen times that


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str]]:
    """A running process, and a key for it."""
    folder = tmp_path_factory.mktemp("bad")
    copy_project(folder / "project", is_with_tally=True)
    quick = {"SUITE_RETRY_SECONDS": "0.05", "SUITE_SWEEP_SECONDS": "0.2"}
    installation = Installation(folder / "project", folder / "state", quick)
    installation.up("--no-sample")
    installation.manage("load", "finance.entities", str(ROOT / "domains" / "finance" / "sample" / "entities.jsonl"))
    yield installation, installation.key()
    installation.end()


def send(running: tuple[Installation, str], body: bytes | str, content_type: str = JSON) -> httpx.Response:
    installation, key = running
    headers = {"Authorization": f"Bearer {key}", "Content-Type": content_type}
    return httpx.post(f"{installation.address}/api/events", content=body, headers=headers, timeout=60)


def event(name: str, **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": name, "source": "bad", "type": "tally.mark.made", "data": {}, **more}


def nested(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels):
        data = {"a": data}
    return data


WRONG = {
    "no id": ({"id": None}, "id"),
    "a number for an id": ({"id": 7}, "id"),
    "a long id": ({"id": "x" * 5_000}, "id"),
    "NUL in the id": ({"id": "a\0b"}, "id"),
    "NUL in the data": ({"data": {"text": "a\0b"}}, "data"),
    "a lone surrogate": ({"data": {"text": "\ud800"}}, "data"),
    "a lone surrogate in a key": ({"data": {"\udfff": 1}}, "data"),
    "data that is a list": ({"data": []}, "data"),
    "deep data": ({"data": nested(200)}, "data"),
    "large data": ({"data": {"text": "x" * 300_000}}, "data"),
    "an unknown type": ({"type": "tally.nothing"}, "type"),
    "no such time": ({"time": "yesterday"}, "time"),
    "a time out of range": ({"time": 1e300}, "time"),
    "another version": ({"specversion": "0.3"}, "specversion"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_bad_event_is_named_and_its_neighbours_go_through(running: tuple[Installation, str], wrong: str) -> None:
    change, field = WRONG[wrong]
    events = [event(f"{wrong} before"), event(f"{wrong} bad", **change), event(f"{wrong} after")]
    answer = send(running, json.dumps(events))
    assert answer.status_code == 202, answer.text
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["accepted", "rejected", "accepted"]
    assert results[1]["field"].split(".")[0] == field
    assert results[1]["reason"]
    assert len(results[1]["reason"]) < 300, "a reason must not repeat what was sent"


@pytest.mark.parametrize("wrong", WRONG_DATA)
def test_bad_data_of_a_domain_is_named_and_its_neighbours_go_through(
    running: tuple[Installation, str], wrong: str
) -> None:
    (kind, data), change, field = WRONG_DATA[wrong]
    events = [event(f"{wrong} bad", type=kind, data={**data, **change}), event(f"{wrong} after")]
    answer = send(running, json.dumps(events))
    assert answer.status_code == 202, answer.text
    bad, after = answer.json()["results"]
    assert (bad["status"], bad["field"], after["status"]) == ("rejected", field, "accepted")
    assert bad["reason"] and len(bad["reason"]) < 300, "a reason must not repeat what was sent"


@pytest.mark.parametrize("asked", ASKED)
def test_a_bad_request_to_a_domain_is_a_problem_that_names_the_field(
    running: tuple[Installation, str], asked: str
) -> None:
    installation, key = running
    method, path, body, status, field = ASKED[asked]
    answer = httpx.request(
        method,
        f"{installation.address}/api/{path}",
        content=None if body is None else json.dumps(body),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        timeout=60,
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert field in {"", *(error["field"] for error in answer.json().get("errors", []))}, answer.text
    assert "Traceback" not in answer.text and len(answer.text) < 3_000, "an answer must not repeat what was sent"


def get(running: tuple[Installation, str], path: str) -> Any:
    installation, key = running
    answer = httpx.get(f"{installation.address}{path}", headers={"Authorization": f"Bearer {key}"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_markup_and_many_names_are_text_and_nothing_is_lost(running: tuple[Installation, str]) -> None:
    """Script in messages, answers and articles, and 10,000 names in one: stored, handled, and their neighbours, too."""
    installation, _ = running
    installation.processes[-1].wait_for("Suite is ready")
    script = "<script>alert(1)</script><img src=x onerror=alert(2)> {{customer.name}} ${7*7} '; DROP TABLE x; --"
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [f"Q{''.join(name)}" for name in itertools.islice(itertools.product(letters, repeat=3), 10_000)]
    crowd = installation.state / "crowd.jsonl"
    crowd.write_text("\n".join(json.dumps({"symbol": name.upper(), "name": name}) for name in names))
    installation.manage("load", "finance.entities", str(crowd))
    known = ["Orrin", "Halden", "Corvane", "Vantor"]
    bodies = {
        "markup": f"<p>{script}</p>",
        "ten thousand names": " ".join(names),
        "two thousand sentences": " ".join(f"{known[number % 4]} {number}." for number in range(2_000)),
        "a crowd that nobody knows": ", ".join(f"Firm{number}" for number in range(5_000)),
        "plain": "Higher costs push it down.",
    }
    articles = [
        {**ARTICLE[1], "article_id": name, "title": f"<b>{name}</b> {script}", "body": body}
        for name, body in bodies.items()
    ]
    events = [
        event("markup", type=MESSAGE[0], data={**MESSAGE[1], "conversation_id": "markup", "text": script}),
        event("markup answer", type=ANSWER[0], data={"answer_id": "markup", "title": script, "text": script}),
        event("plain", type=MESSAGE[0], data={**MESSAGE[1], "conversation_id": "plain"}),
        *(event(f"article {data['article_id']}", type=ARTICLE[0], data=data) for data in articles),
    ]
    answer = send(running, json.dumps(events))
    assert {result["status"] for result in answer.json()["results"]} == {"accepted"}, answer.text
    wait_until(lambda: installation.query("PendingEvent.objects.filter(work='handle').count()") == 0, 120, "handling")
    dead = "[letter.reason for letter in DeadLetter.objects.exclude(event__type='tally.mark.made')]"
    assert installation.query(dead) == []
    assert get(running, "/api/support/conversations/markup")["messages"][0]["text"] == script
    found = {name: get(running, f"/api/finance/articles/{name}") for name in bodies}
    assert all(article["story_id"] and article["scores"] for article in found.values())
    assert not [article for article in found.values() if "<" in article["title"] + article["body"]]
    entities = {name: {score["entity"] for score in article["scores"]} - {""} for name, article in found.items()}
    assert entities["two thousand sentences"] == {"ORRN", "HLDN", "CRVN", "VNTR"}
    assert entities["ten thousand names"] == {name.upper() for name in names[:50]}
    assert found["ten thousand names"]["note"].endswith("the first 50 are judged")
    suggestions = "/api/support/conversations/plain/suggestions"
    wait_until(lambda: get(running, suggestions)["outcome"] != "pending", 60, "an answer")


BROKEN = {
    "not JSON": (b"{", JSON, {400, 422}),
    "not UTF-8": (b"[{\xff}]", JSON, {400, 422}),
    "a number": (b"1", JSON, {400, 422}),
    "JSON that is too deep to parse": (b"[" * 200_000, JSON, {400, 422}),
    "an endless number": (b'[{"id": ' + b"9" * 100_000 + b"}]", JSON, {202, 400, 422}),
    "another content type": (b"[]", "text/csv", {415}),
    "11 MiB": (b" " * (11 * 2**20), JSON, {413}),
    "100,000 events": (json.dumps([event(str(number)) for number in range(100_000)]).encode(), JSON, {413}),
    "100,000 empty items": (b"[" + b"1," * 99_999 + b"1]", JSON, {413}),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_body_that_cannot_be_taken_is_refused_as_a_problem(running: tuple[Installation, str], broken: str) -> None:
    body, content_type, statuses = BROKEN[broken]
    answer = send(running, body, content_type)
    assert answer.status_code in statuses, answer.text
    if answer.status_code != 202:
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.json()["title"]


def resident_bytes(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_memory_stays_flat_under_large_bodies(running: tuple[Installation, str]) -> None:
    """In a web process of its own: the worker beside it in `up` loads encoders, now and then, and grows by those."""
    installation, key = running
    beside = Installation(installation.folder, installation.state, {})
    web = beside.web()
    try:
        wait_until(lambda: is_answering(beside), 60, "the second web process")
        check_memory((beside, key), web.process.pid)
    finally:
        beside.end()


def is_answering(installation: Installation) -> bool:
    try:
        return httpx.get(f"{installation.address}/health/live", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def check_memory(running: tuple[Installation, str], process_id: int) -> None:
    bodies = [BROKEN[name] for name in ("11 MiB", "100,000 events", "100,000 empty items")]
    for _ in range(5):  # for what stays in use after the first times
        for body, content_type, _statuses in bodies:
            send(running, body, content_type)
    before = resident_bytes(process_id)
    for _ in range(20):
        for body, content_type, statuses in bodies:
            assert send(running, body, content_type).status_code in statuses
    assert resident_bytes(process_id) - before < FLAT_BYTES


def test_poison_becomes_a_dead_letter_and_its_neighbours_are_handled(running: tuple[Installation, str]) -> None:
    installation, key = running
    events = [event(f"neighbour {number}") for number in range(60)]
    events[31] = event("poison", data={"is_poison": True})
    assert installation.post(key, events).status_code == 202
    wait_until(lambda: installation.query("PendingEvent.objects.count()") == 0, 60, "the end of the backlog")
    effects = installation.query(
        "list(Effect.objects.filter(name__startswith='neighbour').values_list('name', flat=True))"
    )
    assert sorted(effects) == sorted(item["id"] for item in events if item["id"] != "poison")
    letters = "[[letter.event.event_id, letter.reason, letter.attempts] for letter in DeadLetter.objects.all()]"
    assert installation.query(letters) == [["poison", "ValueError: poison", 5]]
