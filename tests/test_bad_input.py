"""Whatever is sent: a clear error that names the field, flat memory, and neighbours that go through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.project import Installation, copy_project, wait_until

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
    installation, _ = running
    up = installation.processes[-1]
    up.wait_for("Suite is ready")  # until then the first release is being made, and loads an encoder
    process_id = up.process.pid
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
