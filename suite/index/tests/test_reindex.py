"""A generation built anew beside the one that serves; and what the admin shows of both."""

from __future__ import annotations

import json
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory

from suite.index import selectors, services
from suite.index.collections import Collection
from suite.index.engine import Query
from suite.index.fusion import Weights
from suite.index.models import Generation, RefusedDocument
from suite.index.tests.conftest import DIMENSIONS, FINGERPRINT, NAME, HashEncoder, Switchable, Things
from suite.jobs import held
from suite.management.commands import reindex
from suite.releases import gate, runtime
from suite.releases.models import Release
from suite.releases.promotion import LEASE


@pytest.fixture
def serving(
    generation: Generation, things: Things, engine: Switchable, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> Generation:
    """An active release and its generation, with two documents in it."""
    Release.objects.create(
        fingerprint=FINGERPRINT, path="x", body="x", dimensions=DIMENSIONS, state=Release.State.ACTIVE
    )
    registered = {NAME: Collection(load=things.load, keys=lambda: list(things.titles))}
    for module in (reindex, gate):
        monkeypatch.setattr(module, "collections", lambda: registered)
    monkeypatch.setattr(gate, "engine", lambda: engine)
    monkeypatch.setattr(runtime, "encoder_for", lambda fingerprint: SimpleNamespace(embed=encoder))
    things.write(a="red shoe", b="blue boot")
    services.synchronise(lambda fingerprint: encoder)
    return generation


def reindexed(*args: str) -> dict[str, Any]:
    out = StringIO()
    call_command("reindex", *args, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_none_is_built_while_a_promotion_is_under_way(serving: Generation) -> None:
    with held(LEASE), pytest.raises(CommandError, match="A promotion is under way: try again when it is done"):
        reindexed()
    assert Generation.objects.get().pk == serving.pk


def test_a_generation_of_a_release_that_serves_no_more_is_dropped(
    serving: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    examine = gate.examine

    def switched_meanwhile(generation: Generation) -> gate.Outcome:
        Release.objects.update(state=Release.State.RETIRED)
        return examine(generation)

    monkeypatch.setattr(gate, "examine", switched_meanwhile)
    with pytest.raises(CommandError, match="does not serve any more; run it again for the one that does"):
        reindexed()
    assert Generation.objects.exclude(state=Generation.State.DROPPED).get().pk == serving.pk


@pytest.mark.parametrize("args", [(), ("shop",), (NAME,)])
def test_a_fresh_generation_takes_over(
    serving: Generation, things: Things, encoder: HashEncoder, engine: Switchable, args: tuple[str, ...]
) -> None:
    things.titles["c"] = "forgotten hat"
    encoder.encoded.clear()
    outcome = reindexed(*args)
    assert outcome["release"] == FINGERPRINT
    assert outcome["collections"][NAME]["documents"] == 3
    assert encoder.encoded == ["forgotten hat"]
    serving.refresh_from_db()
    assert serving.state == Generation.State.DROPPED
    fresh = Generation.objects.get(state=Generation.State.ACTIVE)
    assert fresh.name == outcome["collections"][NAME]["generation"] == engine.real.resolve(services.alias_of(NAME))
    selectors.forget_active_generations()
    hits = selectors.search(NAME, Query("hat"), weights=Weights(vector=0))
    assert [each.key for each in hits.candidates] == ["c"]


def test_trouble_leaves_the_one_that_serves(
    serving: Generation, engine: Switchable, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.is_down = True
    with pytest.raises(CommandError, match="switched off"):
        reindexed()
    engine.is_down = False
    monkeypatch.setattr(gate, "recall_of", lambda generation: 0.2)
    with pytest.raises(CommandError, match="serves on"):
        reindexed()
    assert Generation.objects.get(state=Generation.State.ACTIVE) == serving
    assert not Generation.objects.filter(state=Generation.State.BUILDING).exists()
    with pytest.raises(CommandError, match=f"no collection or domain 'nothing'; there are: {NAME}"):
        reindexed("nothing")
    Release.objects.update(state=Release.State.RETIRED)
    with pytest.raises(CommandError, match=r"manage\.py release"):
        reindexed()


def test_the_admin_shows_how_far_behind_and_why(serving: Generation, things: Things, client: Client) -> None:
    things.write(c="a", d="b", e="c")
    Generation.objects.update(last_error="EngineUnavailable: it is off")
    RefusedDocument.objects.create(generation=serving, key="odd", sequence=3, reason="too odd")
    client.force_login(get_user_model().objects.create_superuser("root", password="a long password"))
    listed = client.get("/admin/index/generation/").content.decode()
    assert "EngineUnavailable: it is off" in listed
    shown = admin.site.get_model_admin(Generation)
    assert shown.lag(shown.get_queryset(RequestFactory().get("/")).get()) == "3"  # type: ignore[attr-defined]
    page = client.get(f"/admin/index/generation/{serving.pk}/change/")
    assert page.status_code == 200
    assert "Save" not in page.content.decode()
    assert client.get("/admin/index/generation/add/").status_code == 403
    assert "too odd" in client.get("/admin/index/refuseddocument/").content.decode()
