"""A desk with an index of its own and an encoder, worked off step by step: no process, no broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User

from domains.support import handlers, jobs
from domains.support.learning import rankers
from domains.support.learning.prior import build_weights
from domains.support.learning.rankers import ensure_ranker
from domains.support.models import Ranker
from domains.support.suggesting import suggest
from domains.support.training_data import NO, YES, relevance_examples
from suite.encoder.fake import FakeEncoder
from suite.encoder.heads import HeadSpec, fit_head
from suite.encoder.model import Encoder
from suite.events.handling import handle_pending
from suite.index import selectors, services
from suite.index.collections import collections
from suite.index.embedded import EmbeddedEngine

RELEVANCE = HeadSpec("relevance", "pair", (NO, YES), "auroc")


class Desk:
    """What a worker does, on demand."""

    def __init__(self, encoder: FakeEncoder | Encoder) -> None:
        self.encoder = encoder

    def work(self) -> None:
        """Index, handle, and index what came of it."""
        services.synchronise(lambda fingerprint: self.encoder.embed)
        handle_pending()
        services.synchronise(lambda fingerprint: self.encoder.embed)


@pytest.fixture(scope="session")
def fake_encoder() -> FakeEncoder:
    encoder = FakeEncoder(dimensions=128)
    examples = relevance_examples()
    head, _ = fit_head(encoder, RELEVANCE, examples.train, examples.validation)
    return FakeEncoder(128, {"relevance": head})


@pytest.fixture(scope="session")
def real_encoder() -> Encoder:
    body = Encoder.load(django_settings.ENCODER, threads=1)
    examples = relevance_examples()
    return body.with_heads({"relevance": fit_head(body, RELEVANCE, examples.train, examples.validation)[0]})


@cache
def built_once(encoder: FakeEncoder | Encoder) -> Any:
    return build_weights(encoder)


@pytest.fixture
def serving(db, tmp_path, monkeypatch) -> Iterator:
    """A function that lets an encoder's release serve, and gives the desk."""
    engine = EmbeddedEngine(tmp_path / "index")
    for module in (services, selectors):
        monkeypatch.setattr(module, "engine", lambda: engine)
    selectors.forget_active_generations()
    monkeypatch.setattr(rankers, "build_weights", built_once)

    def serve(encoder: FakeEncoder | Encoder) -> Desk:
        for module in (handlers, jobs):
            monkeypatch.setattr(module, "encoder_for", lambda fingerprint: encoder)
        for name in collections():
            services.activate(services.create_generation(name, encoder.fingerprint, encoder.dimensions))
        selectors.forget_active_generations()
        return Desk(encoder)

    yield serve
    selectors.forget_active_generations()


@pytest.fixture
def desk(serving, fake_encoder) -> Desk:
    return serving(fake_encoder)


@pytest.fixture
def generous(desk, monkeypatch) -> Desk:
    """A desk that offers whatever it has: for tests of what comes after."""
    row = ensure_ranker(desk.encoder.fingerprint, desk.encoder)
    weights = replace(row.weights, threshold=0.0)
    Ranker.objects.update(weights=weights.as_json())
    monkeypatch.setattr(suggest, "LEAST", 0.0)
    return desk


@pytest.fixture
def agent(db) -> User:
    return User.objects.create_user("ann", first_name="Ann")
