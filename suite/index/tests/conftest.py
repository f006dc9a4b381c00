"""A collection whose documents are a dictionary, an encoder that is a hash, and an engine of this test's own."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings

from suite.index import selectors, services
from suite.index.collections import Collection
from suite.index.elasticsearch import ElasticsearchEngine
from suite.index.embedded import EmbeddedEngine
from suite.index.engine import Document, Engine, EngineUnavailable, PutReport
from suite.index.models import Generation

NAME = "shop.things"
DIMENSIONS = 16
FINGERPRINT = "0123456789abcdef"
needs_elasticsearch = pytest.mark.skipif(
    not settings.ELASTICSEARCH_URL, reason="SUITE_ELASTICSEARCH_URL is not set: docker compose up -d elasticsearch"
)
both_engines = pytest.mark.parametrize(
    "engine",
    ["embedded", pytest.param("elasticsearch", marks=[pytest.mark.services, needs_elasticsearch])],
    indirect=True,
)


class Things:
    """The domain's rows: key -> title."""

    def __init__(self) -> None:
        self.titles: dict[str, str] = {}
        self.loaded: list[str] = []

    def load(self, keys: Sequence[str]) -> dict[str, Document]:
        self.loaded += keys
        return {key: Document(key, self.titles[key], "") for key in keys if key in self.titles}

    def write(self, **titles: str) -> None:
        self.titles.update(titles)
        services.touch(NAME, titles)

    def remove(self, *keys: str) -> None:
        for key in keys:
            del self.titles[key]
        services.touch(NAME, keys)


class HashEncoder:
    """A unit vector that depends on the text alone; counts what it encodes."""

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        with self.lock:
            self.encoded += texts
        return np.stack([self.vector(text) for text in texts])

    @staticmethod
    def vector(text: str) -> np.ndarray:
        drawn = np.random.default_rng(list(text.encode("utf-8", "replace"))).normal(size=DIMENSIONS)
        return (drawn / np.linalg.norm(drawn)).astype(np.float32)


class Switchable:
    """An engine that can be made not to answer, or to refuse some documents for good."""

    def __init__(self, real: Engine) -> None:
        self.real = real
        self.is_down = False
        self.refuses: set[str] = set()

    def __getattr__(self, name: str) -> Callable[..., object]:
        if self.is_down:
            raise EngineUnavailable("it is switched off")
        return getattr(self.real, name)

    def put(self, generation: str, documents: Sequence[Document]) -> PutReport:
        if self.is_down:
            raise EngineUnavailable("it is switched off")
        report = self.real.put(generation, [each for each in documents if each.key not in self.refuses])
        mine = {each.key: "too odd" for each in documents if each.key in self.refuses}
        return PutReport(dict(report.refused) | mine)


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> Things:
    made = Things()
    registered = {NAME: Collection(load=made.load, keys=lambda: list(made.titles))}
    monkeypatch.setattr(services, "collections", lambda: registered)
    selectors.forget_active_generations()
    return made


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder()


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Switchable]:
    """The embedded engine, or the one that `both_engines` names."""
    prefix = f"test{settings.TEST_SUFFIX}.{secrets.token_hex(4)}".lower()
    real: Engine = EmbeddedEngine(tmp_path)
    if getattr(request, "param", "embedded") == "elasticsearch":
        real = ElasticsearchEngine(settings.ELASTICSEARCH_URL, prefix=prefix)
    switchable = Switchable(real)
    monkeypatch.setattr(settings, "INDEX_PREFIX", prefix)
    for module in (services, selectors):
        monkeypatch.setattr(module, "engine", lambda: switchable)
    yield switchable
    for generation in real.generations():
        real.drop(generation)


@pytest.fixture
def generation(db: None, things: Things, engine: Switchable) -> Generation:
    """The active generation of the collection."""
    made = services.create_generation(NAME, FINGERPRINT, DIMENSIONS)
    services.activate(made)
    return made
