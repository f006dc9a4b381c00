"""Two small real releases, a collection whose documents are a dictionary, and an embedded index of this test's own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from django.db import transaction

from suite.encoder.model import Encoder
from suite.encoder.tests.models import write_tiny
from suite.index import selectors, services
from suite.index.collections import Collection
from suite.index.elasticsearch import ElasticsearchEngine
from suite.index.embedded import EmbeddedEngine
from suite.index.engine import Document, Engine
from suite.releases import gate, promotion, runtime
from suite.releases.models import Release

NAME = "shop.things"


class Things:
    """The domain's rows: key -> title."""

    def __init__(self) -> None:
        self.titles: dict[str, str] = {}

    def load(self, keys: Sequence[str]) -> dict[str, Document]:
        return {key: Document(key, self.titles[key], "") for key in keys if key in self.titles}

    def keys(self) -> list[str]:
        return list(self.titles)

    def write(self, **titles: str) -> None:
        with transaction.atomic():
            self.titles.update(titles)
            services.touch(NAME, titles)

    def write_many(self, count: int, first: int = 0) -> None:
        self.write(**{f"t{number}": f"thing number {number}" for number in range(first, first + count)})


@pytest.fixture
def things(transactional_db, monkeypatch) -> Things:
    made = Things()
    registered = {NAME: Collection(load=made.load, keys=lambda: made.keys())}
    for module in (services, gate, promotion):
        monkeypatch.setattr(module, "collections", lambda: registered)
    return made


@pytest.fixture
def engine(request, tmp_path, monkeypatch, settings) -> Iterator[Engine]:
    """The embedded engine, or the one that `both_engines` names."""
    settings.INDEX_PREFIX = f"test{settings.TEST_SUFFIX}.{secrets.token_hex(4)}".lower()
    made: Engine = EmbeddedEngine(tmp_path / "index")
    if getattr(request, "param", "embedded") == "elasticsearch":
        made = ElasticsearchEngine(settings.ELASTICSEARCH_URL, prefix=settings.INDEX_PREFIX)
    for module in (services, selectors, gate):
        monkeypatch.setattr(module, "engine", lambda: made)
    selectors.forget_active_generations()
    yield made
    for generation in made.generations():
        made.drop(generation)


@pytest.fixture(scope="session")
def bodies(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bodies")
    return [write_tiny(folder / f"tiny-{seed}", seed) for seed in range(2)]


@pytest.fixture
def releases(transactional_db, bodies, tmp_path, settings) -> list[Release]:
    """Two candidates with whole checkpoints."""
    settings.RELEASES_DIR = tmp_path / "releases"
    settings.ENCODER_THREADS = 1
    runtime.forget()
    return [make_release(body, settings.RELEASES_DIR) for body in bodies]


def make_release(body: Path, folder: Path) -> Release:
    encoder = Encoder.load(str(body), threads=1)
    encoder.save(folder / encoder.fingerprint)
    return Release.objects.create(
        fingerprint=encoder.fingerprint,
        path=encoder.fingerprint,
        body=body.name,
        dimensions=encoder.dimensions,
        evaluation={"mood": {"metric": "macro_f1", "examples": 90, "value": 0.8, "interval": [0.7, 0.9], "rivals": {}}},
    )
