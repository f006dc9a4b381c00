"""A server that is busy, half-hearted, slow or gone: answered by a small HTTP server that plays one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from suite.index import elasticsearch
from suite.index.elasticsearch import ElasticsearchEngine
from suite.index.engine import Document, EngineError, EngineUnavailable, GenerationMissing, Query

GENERATION = "test.one"
STAMP = {GENERATION: {"mappings": {"_meta": {"fingerprint": "f", "dimensions": 0}}}}
Answer = tuple[int, dict[str, Any]]


class Server:
    """Answers each bulk and search with the next of `answers`, the last one again and again; keeps the bodies."""

    def __init__(self) -> None:
        self.answers: list[Callable[[list[dict[str, Any]]], Answer]] = []
        self.bodies: list[list[dict[str, Any]]] = []

    def answer(self, path: str, body: bytes) -> Answer:
        if path.endswith("/_mapping"):
            return 200, STAMP
        lines = [json.loads(line) for line in body.splitlines()]
        self.bodies.append(lines)
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(lines)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def engine(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[ElasticsearchEngine]:
    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = server.answer(self.path.split("?")[0], body)
            encoded = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.elasticsearch+json; compatible-with=9")
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_POST = do_PUT = reply

        def log_message(self, *args: Any) -> None:
            pass

    monkeypatch.setattr(elasticsearch, "BUSY_WAITS", (0.01, 0.01))
    monkeypatch.setattr(elasticsearch, "SEARCH_SECONDS", 0.3)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield ElasticsearchEngine(f"http://127.0.0.1:{listening.server_port}", prefix="test")
    listening.shutdown()
    listening.server_close()


def documents(*keys: str) -> list[Document]:
    return [Document(key, "a title", "", {}, 1) for key in keys]


def with_status(**statuses: int) -> Callable[[list[dict[str, Any]]], Answer]:
    """A bulk answer: 201 for each item but the named ones."""

    def answer(lines: list[dict[str, Any]]) -> Answer:
        items = []
        for line in lines:
            action = line.get("index") or line.get("delete")
            if not action:
                continue
            status = statuses.get(action["_id"], 201)
            trouble = {"error": {"type": f"type_{status}", "reason": "because"}} if status >= 400 else {}
            items.append({"index": {"_index": GENERATION, "_id": action["_id"], "status": status, **trouble}})
        return 200, {"errors": bool(statuses), "items": items}

    return answer


def failing(status: int, kind: str = "some_exception") -> Callable[[list[dict[str, Any]]], Answer]:
    return lambda lines: (status, {"error": {"type": kind}, "status": status})


def ids(lines: list[dict[str, Any]]) -> list[str]:
    return [line["index"]["_id"] for line in lines if "index" in line and isinstance(line["index"], dict)]


def test_only_the_items_that_were_too_many_are_sent_again(engine: ElasticsearchEngine, server: Server) -> None:
    server.answers = [with_status(b=429, c=503), with_status(c=429), with_status()]
    assert engine.put(GENERATION, documents("a", "b", "c")).refused == {}
    assert [ids(lines) for lines in server.bodies] == [["a", "b", "c"], ["b", "c"], ["c"]]


def test_a_request_that_was_too_much_is_sent_again(engine: ElasticsearchEngine, server: Server) -> None:
    server.answers = [failing(429), with_status()]
    assert engine.put(GENERATION, documents("a")).refused == {}
    assert len(server.bodies) == 2


def test_a_server_that_stays_busy_is_unavailable(engine: ElasticsearchEngine, server: Server) -> None:
    server.answers = [with_status(a=429)]
    with pytest.raises(EngineUnavailable):
        engine.put(GENERATION, documents("a"))
    assert len(server.bodies) == 1 + len(elasticsearch.BUSY_WAITS)


def test_partial_errors_name_the_document_and_conflicts_are_fine(engine: ElasticsearchEngine, server: Server) -> None:
    server.answers = [with_status(b=400, c=409)]
    assert engine.put(GENERATION, documents("a", "b", "c")).refused == {"b": "type_400: because"}


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (404, "index_not_found_exception", GenerationMissing),
        (503, "search_phase_execution_exception", EngineUnavailable),
        (429, "es_rejected_execution_exception", EngineUnavailable),
        (400, "parsing_exception", EngineError),
    ],
)
def test_one_leg_that_fails_fails_the_search(
    engine: ElasticsearchEngine, server: Server, status: int, kind: str, expected: type[EngineError]
) -> None:
    server.answers = [lambda lines: (200, {"responses": [{"error": {"type": kind}, "status": status}]})]
    with pytest.raises(expected) as caught:
        engine.search(GENERATION, Query("title"))
    assert type(caught.value) is expected


def test_a_server_that_does_not_answer_holds_one_page_up_and_not_the_next(server: Server, engine) -> None:
    def slow(lines: list[dict[str, Any]]) -> Answer:
        time.sleep(1)
        return 200, {"responses": []}

    server.answers = [slow]
    for _ in range(3):
        with pytest.raises(EngineUnavailable):
            engine.search(GENERATION, Query("title"))
    assert len(server.bodies) == 1


def test_a_server_that_is_not_there_is_unavailable() -> None:
    gone = ElasticsearchEngine("http://127.0.0.1:9", prefix="test")
    for ask in (
        lambda: gone.search(GENERATION, Query("x")),
        lambda: gone.put(GENERATION, documents("a")),
        lambda: gone.exists(GENERATION),
        lambda: gone.generations(),
    ):
        with pytest.raises(EngineUnavailable):
            ask()
