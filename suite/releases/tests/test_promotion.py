from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from suite.encoder import checkpoint
from suite.events.models import Event
from suite.index import selectors as index
from suite.index import services as index_services
from suite.index import vectors
from suite.index.engine import EngineUnavailable, Legs, Query
from suite.index.fusion import Weights
from suite.index.models import Generation
from suite.index.services import alias_of
from suite.index.tests.conftest import both_engines
from suite.live.models import Topic
from suite.releases import promotion, runtime, selectors, services
from suite.releases.models import Promotion, Release, TrainingRun
from suite.releases.tests.conftest import NAME

pytestmark = pytest.mark.usefixtures("engine")


def promote(release: Release) -> Promotion:
    asked = services.request_promotion(release, "ada")
    promotion.carry_out_requested()
    asked.refresh_from_db()
    return asked


def roll_back() -> Promotion:
    asked = services.request_rollback("ada")
    promotion.carry_out_requested()
    asked.refresh_from_db()
    return asked


def states() -> dict[str, str]:
    return dict(Release.objects.values_list("fingerprint", "state"))


def hits(text: str) -> index.Hits:
    index.forget_active_generations()
    generation = index.active_generation(NAME)
    assert generation is not None
    vector = runtime.encoder_for(generation.fingerprint).embed([text])[0]
    return index.search(NAME, Query(text=text, vector=vector, k=5), release=generation.fingerprint)


@both_engines
def test_the_first_promotion_makes_a_release_serve(things, releases):
    things.write_many(40)
    done = promote(releases[0])
    assert (done.state, done.message, done.previous) == (Promotion.State.DONE, "", None)
    assert (done.documents_done, done.documents_total) == (40, 40)
    assert done.gate == {NAME: {"documents": 40, "expected": 40, "in_flight": 0, "recall": 1.0}}
    assert selectors.active() == releases[0]
    assert hits("thing number 7").release == releases[0].fingerprint
    assert hits("thing number 7").candidates[0].key == "t7"


def test_a_promotion_is_told_as_an_event_and_to_the_pages(things, releases):
    things.write_many(3)
    before = Topic.objects.filter(name=services.TOPIC).values_list("sequence", flat=True).first() or 0
    done = promote(releases[0])
    event = Event.objects.get(type="suite.release.promoted")
    assert (event.source, event.subject) == ("suite", releases[0].fingerprint)
    assert event.data["release"] == releases[0].fingerprint
    assert event.data["previous"] is None
    assert event.data["gate"] == done.gate
    assert Topic.objects.get(name=services.TOPIC).sequence > before


def test_promoting_another_release_keeps_the_first_for_rollback(things, releases):
    things.write_many(20)
    promote(releases[0])
    done = promote(releases[1])
    assert done.previous == releases[0]
    assert states() == {releases[0].fingerprint: "retired", releases[1].fingerprint: "active"}
    found = dict(Generation.objects.values_list("fingerprint", "state"))
    assert found == {releases[0].fingerprint: "standby", releases[1].fingerprint: "active"}
    assert hits("thing number 3").release == releases[1].fingerprint


@both_engines
def test_the_alias_of_the_engine_follows(things, releases, engine):
    things.write_many(5)
    promote(releases[0])
    promote(releases[1])
    active = Generation.objects.get(state=Generation.State.ACTIVE)
    assert engine.resolve(alias_of(NAME)) == active.name


@both_engines
def test_a_rollback_catches_up_and_switches_back(things, releases):
    things.write_many(20)
    promote(releases[0])
    promote(releases[1])
    things.write(late="a very late arrival")
    done = roll_back()
    assert (done.state, done.is_rollback) == (Promotion.State.DONE, True)
    assert done.gate[NAME]["documents"] == 21
    assert states() == {releases[0].fingerprint: "active", releases[1].fingerprint: "retired"}
    answer = hits("a very late arrival")
    assert (answer.release, answer.candidates[0].key) == (releases[0].fingerprint, "late")
    assert Generation.objects.count() == 2  # the one that stood by serves again; none was built anew
    assert roll_back().release == releases[1]  # and back once more


def test_a_rollback_whose_index_does_not_pass_is_built_anew_the_next_time(things, releases, engine):
    things.write_many(20)
    promote(releases[0])
    promote(releases[1])
    standby = Generation.objects.get(fingerprint=releases[0].pk)
    engine.delete(standby.name, {f"t{number}": 10_000 for number in range(5)})  # part of its data is lost
    refused = roll_back()
    assert refused.state == Promotion.State.REFUSED and "it holds 15 documents where 20 are expected" in refused.message
    assert selectors.active() == releases[1]
    assert (roll_back().state, selectors.active()) == (Promotion.State.DONE, releases[0])
    assert hits("thing number 3").candidates[0].key == "t3"


def test_a_release_is_removed_unless_it_is_needed(things, releases, settings, capsys):
    things.write_many(5)
    promote(releases[0])
    promote(releases[1])
    third = Release.objects.create(fingerprint="ab" * 8, path="ab" * 8, body="x", dimensions=32)
    third.folder.mkdir()
    (third.folder / "model.safetensors").write_bytes(b"x")
    for release, reason in ((releases[1], "serves"), (releases[0], "is what a rollback goes back to")):
        with pytest.raises(CommandError, match=f"release {release} {reason}"):
            call_command("release", "--remove", release.fingerprint)
    run = TrainingRun.objects.create(teacher=third)
    with pytest.raises(services.RequestRefused, match=f"teaches in compression {run.pk}; stop that first"):
        services.remove(third)
    TrainingRun.objects.filter(pk=run.pk).update(teacher=None)
    with pytest.raises(services.RequestRefused, match=r"may be what training run .* measures now"):
        services.remove(third)
    run.delete()
    services.request_shadow(third, 0.5)
    with pytest.raises(services.RequestRefused, match="is in shadow; stop that first"):
        services.remove(third)
    services.stop_shadow()
    begun = index_services.create_generation(NAME, third.pk, 32)
    call_command("release", "--remove", third.fingerprint[:6])
    assert "Release ababab is removed" in capsys.readouterr().out
    begun.refresh_from_db()
    assert not Release.objects.filter(pk=third.pk).exists() and not third.folder.exists()
    assert begun.state == Generation.State.DROPPED
    assert hits("thing number 3").candidates[0].key == "t3"


def test_a_rollback_goes_before_a_promotion_under_way(things, releases, monkeypatch):
    things.write_many(20)
    promote(releases[0])
    promote(releases[1])
    third = Release.objects.create(fingerprint="ab" * 8, path=releases[1].path, body="x", dimensions=32)
    asked = services.request_promotion(third, override="for a test")
    encode, order = runtime.encoder_for(releases[1].pk).embed, []

    def encoder_for(fingerprint: str) -> SimpleNamespace:
        order.append(fingerprint)
        if fingerprint == third.pk and len(order) == 1:
            services.request_rollback("ada")
        return SimpleNamespace(embed=encode)

    monkeypatch.setattr(promotion.runtime, "encoder_for", encoder_for)
    monkeypatch.setattr(promotion, "NOTE_SECONDS", 0.0)
    promotion.carry_out_requested()
    assert order == [third.pk, releases[0].pk, third.pk]
    rollback = Promotion.objects.get(is_rollback=True)
    asked.refresh_from_db()
    assert rollback.state == asked.state == Promotion.State.DONE
    assert rollback.finished_at is not None and asked.finished_at is not None
    assert rollback.finished_at < asked.finished_at and asked.previous == releases[0]


def test_what_is_said_of_a_release_outlives_a_refusal(things, releases, monkeypatch):
    things.write_many(10)
    promote(releases[0])
    Release.objects.filter(pk=releases[1].pk).update(message="compressed from abcd to 4 layers")
    monkeypatch.setattr(things, "keys", lambda: [*things.titles, "never-marked"])
    for _ in range(2):
        promote(releases[1])
    lines = Release.objects.get(pk=releases[1].pk).message.split("\n")
    assert lines[0] == "compressed from abcd to 4 layers"
    assert len(lines) == 2 and lines[1].startswith("not promoted: ") and "11 are expected" in lines[1]
    monkeypatch.undo()
    promote(releases[1])
    assert Release.objects.get(pk=releases[1].pk).message == "compressed from abcd to 4 layers"


@both_engines
def test_every_answer_comes_from_one_release_while_another_is_promoted(things, releases, monkeypatch):
    """A text is only nearest to itself where its vector and the documents' are of one release."""
    things.write_many(60)
    promote(releases[0])
    encode_for = {release.fingerprint: runtime.encoder_for(release.fingerprint).embed for release in releases}
    monkeypatch.setattr(index, "ring", lambda task: vectors.encode_queries(encode_for.__getitem__))
    answers: list[index.Hits] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            query = Query(text=f"thing number {len(answers) % 60}", k=1)
            answers.append(index.search(NAME, query, weights=Weights(text=0, vector=1)))
        connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    promote(releases[1])
    while asking.is_alive() and not any(answer.release == releases[1].fingerprint for answer in answers[-50:]):
        over.wait(0.01)
    over.set()
    asking.join()
    assert {answer.release for answer in answers} == {release.fingerprint for release in releases}
    assert [answer.candidates[0].key for answer in answers] == [f"t{number % 60}" for number in range(len(answers))]
    assert {answer.degraded for answer in answers} == {()}


@both_engines
def test_a_request_that_has_pinned_a_release_ends_with_it(things, releases):
    """Under the other release's generation the vector would be nearest to anything."""
    things.write_many(40)
    promote(releases[0])
    pinned = hits("thing number 7").release
    vector = runtime.encoder_for(pinned).embed(["thing number 7"])[0]
    promote(releases[1])
    index.forget_active_generations()
    answer = index.search(NAME, Query(vector=vector, k=1), release=pinned)
    assert (answer.release, answer.candidates[0].key) == (pinned, "t7")
    assert answer.candidates[0].similarity == pytest.approx(1, abs=2e-3)
    with pytest.raises(ValueError, match="must name the release"):
        index.search(NAME, Query(vector=vector, k=1))


def test_a_generation_that_lacks_documents_is_refused(things, releases, monkeypatch):
    things.write_many(10)
    promote(releases[0])
    monkeypatch.setattr(things, "keys", lambda: [*things.titles, "never-marked"])
    refused_as(promote(releases[1]), "it holds 10 documents where 11 are expected", releases)


def refused_as(asked: Promotion, reason: str, releases: list[Release]) -> None:
    """The promotion of the second release was refused, and the first one serves as before."""
    assert (asked.state, asked.finished_at is not None) == (Promotion.State.REFUSED, True)
    assert reason in asked.message
    assert states() == {releases[0].fingerprint: "active", releases[1].fingerprint: "failed"}
    assert reason in Release.objects.get(pk=releases[1].pk).message
    assert set(Generation.objects.filter(fingerprint=releases[1].pk).values_list("state", flat=True)) <= {"dropped"}
    assert hits("thing number 3").candidates[0].key == "t3"
    assert not Event.objects.filter(type="suite.release.promoted", subject=releases[1].fingerprint).exists()


def test_a_generation_whose_search_is_poor_is_refused(things, releases, engine, monkeypatch):
    things.write_many(40)
    promote(releases[0])
    search = engine.search
    monkeypatch.setattr(engine, "search", lambda target, query: backwards(search(target, query)))
    asked = services.request_promotion(releases[1])
    promotion.carry_out_requested()
    monkeypatch.setattr(engine, "search", search)
    asked.refresh_from_db()
    assert asked.gate[NAME]["recall"] < 0.95
    refused_as(asked, "of the nearest 10, 95% are wanted", releases)


def backwards(legs: Legs) -> Legs:
    return Legs(legs.text, list(reversed(legs.vector)))


@pytest.mark.parametrize("harm", ["corrupt", "missing"])
def test_a_broken_checkpoint_leaves_the_old_release_serving(things, releases, harm):
    things.write_many(5)
    promote(releases[0])
    runtime.encoder_for(releases[1].fingerprint)  # that it was loaded before must not hide the harm
    if harm == "corrupt":
        path = releases[1].folder / checkpoint.WEIGHTS
        path.write_bytes(path.read_bytes()[:-4] + b"\x00\x01\x02\x03")
        refused_as(promote(releases[1]), "is corrupt", releases)
    else:
        shutil.rmtree(releases[1].folder)
        refused_as(promote(releases[1]), "the checkpoint's folder is missing", releases)


def test_a_release_that_failed_can_be_promoted_once_it_is_mended(things, releases):
    things.write_many(5)
    promote(releases[0])
    away = releases[1].folder.with_name("away")
    releases[1].folder.rename(away)
    assert promote(releases[1]).state == Promotion.State.REFUSED
    away.rename(releases[1].folder)
    assert promote(Release.objects.get(pk=releases[1].pk)).state == Promotion.State.DONE
    assert selectors.active() == releases[1]


@contextmanager
def silent(engine, monkeypatch) -> Iterator[None]:
    """An engine that takes no documents."""

    def put(*args: object) -> None:
        raise EngineUnavailable("it is switched off")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "put", put)
        yield


def test_a_promotion_waits_for_an_engine_that_is_down(things, releases, engine, monkeypatch):
    things.write_many(5)
    asked = services.request_promotion(releases[0])
    with silent(engine, monkeypatch):
        promotion.carry_out_requested()
    asked.refresh_from_db()
    assert (asked.state, asked.message) == (Promotion.State.RUNNING, "waits: EngineUnavailable")
    promotion.carry_out_requested()
    asked.refresh_from_db()
    assert asked.state == Promotion.State.DONE


def test_a_promotion_that_goes_on_failing_is_given_up(things, releases, monkeypatch):
    things.write_many(5)

    def broken(texts: list[str]) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(runtime.encoder_for(releases[0].fingerprint), "embed", broken)
    asked = services.request_promotion(releases[0])
    for failures in (1, 2):
        promotion.carry_out_requested()
        asked.refresh_from_db()
        assert (asked.state, asked.failures) == (Promotion.State.RUNNING, failures)
    promotion.carry_out_requested()
    asked.refresh_from_db()
    assert asked.state == Promotion.State.REFUSED
    assert "failed 3 times, the last time with ZeroDivisionError" in asked.message
    assert selectors.active() is None


def test_what_is_finished_is_not_changed_by_a_worker_that_comes_late(things, releases):
    things.write_many(5)
    asked = services.request_promotion(releases[0])
    late = Promotion.objects.get(pk=asked.pk)
    promotion.carry_out_requested()
    promotion.refuse(late, "too late")
    promotion.switch(late, releases[0], [])
    asked.refresh_from_db()
    assert (asked.state, asked.message) == (Promotion.State.DONE, "")
    assert Event.objects.filter(type="suite.release.promoted").count() == 1


def test_while_another_worker_is_at_it_nothing_is_done(things, releases):
    asked = services.request_promotion(releases[0])
    with promotion.held(promotion.LEASE) as is_ours:
        assert is_ours
        promotion.carry_out_requested()
    asked.refresh_from_db()
    assert asked.state == Promotion.State.REQUESTED


def test_documents_that_come_while_they_are_counted_do_not_refuse(things, releases, engine, monkeypatch):
    things.write_many(5)
    count = engine.count

    def busy(generation: str) -> int:
        counted = count(generation)
        things.write_many(1, first=100 + len(things.titles))
        return counted

    monkeypatch.setattr(engine, "count", busy)
    assert promote(releases[0]).state == Promotion.State.DONE


def test_the_same_request_twice_is_one(things, releases):
    first = services.request_promotion(releases[0])
    assert services.request_promotion(releases[0]) == first
    promotion.carry_out_requested()
    with pytest.raises(services.RequestRefused, match="is serving already"):
        services.request_promotion(releases[0])


def test_without_an_earlier_release_there_is_no_rollback(things, releases):
    with pytest.raises(services.RequestRefused, match="no earlier release"):
        services.request_rollback()


def test_a_release_is_found_by_the_beginning_of_its_name(releases):
    assert selectors.find(releases[0].fingerprint[:6]) == releases[0]
    with pytest.raises(selectors.NoSuchRelease, match="no release begins with 'xyz'; there are: "):
        selectors.find("xyz")
