from __future__ import annotations

import importlib.util
import json
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.db import OperationalError

from suite.encoder.fake import FakeEncoder
from suite.encoder.heads import HeadSpec, fit_head
from suite.encoder.tests.test_heads import moods
from suite.encoder.training.tasks import TrainingError
from suite.events.models import JobLease
from suite.live.models import Topic
from suite.management.promoting import Teller
from suite.management.training import seen_through
from suite.releases import processes, runs, runtime, selectors, services
from suite.releases.building import HeadPlan
from suite.releases.comparison import ACTIVE, against_active, evaluate, reciprocal_ranks, similarities
from suite.releases.heads import Examples
from suite.releases.models import Promotion, Release, TrainingRun
from suite.releases.tests.test_training import records, shop, write  # noqa: F401  the fixture
from suite.releases.training_data import TaskExamples

pytestmark = pytest.mark.django_db(transaction=True)
QUICK = {"epochs": 1, "evaluations": 2, "batch_size": 16, "average": 2}
SPEC = HeadSpec("mood", "classification", ("bad", "fine", "good"), "macro_f1")


@pytest.fixture(autouse=True)
def places(settings, tmp_path, monkeypatch):
    settings.TRAINING_DIR = tmp_path / "training"
    monkeypatch.setattr(processes, "_process", None)


def test_a_run_makes_a_release_that_is_compared_with_the_active_one(shop):  # noqa: F811
    shop["shop.moods"] = records(200)
    first = services.request_training(config=QUICK, by="ada")
    assert runs.carry_out_requested()
    first.refresh_from_db()
    assert (first.state, first.lives, first.message) == ("done", 1, f"made release {first.release_id}")
    assert first.release is not None and first.release.comparison == {}  # there was none to compare with
    assert first.progress["batch"] == first.progress["batches"] and len(first.progress["evaluations"]) >= 3
    assert Topic.objects.get(name=services.training_topic(first.pk)).sequence > 3
    Release.objects.update(state=Release.State.ACTIVE)

    second = services.request_training(config=QUICK | {"seed": 1})
    runs.carry_out_requested()
    second.refresh_from_db()
    assert second.release is not None and second.release.state == Release.State.CANDIDATE
    assert second.release.compared_with == first.release_id
    entry = second.release.comparison["mood"]
    assert entry["metric"] == "macro_f1" and entry["low"] <= entry["candidate"] - entry["active"] <= entry["high"]
    assert set(runtime.encoder_for(second.release.fingerprint).heads) == {"kind", "mood"}


def test_a_file_and_its_absence(shop, tmp_path):  # noqa: F811
    data = write(tmp_path / "moods.jsonl", records(90))
    run = services.request_training([("shop.moods", str(data))], has_rows=False, config={"epochs": 0})
    data.unlink()
    runs.carry_out_requested()
    run.refresh_from_db()
    assert run.state == "failed" and "moods.jsonl: No such file or directory" in run.message
    assert not Release.objects.exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [({"epoch": 1}, "epoch is not a field"), ({"epochs": -1}, "epochs must be from 0 to 1000")],
)
def test_a_bad_configuration_is_said_on_the_run(shop, config, message):  # noqa: F811
    run = services.request_training(config=config)
    runs.carry_out_requested()
    run.refresh_from_db()
    assert run.state == "failed" and message in run.message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TrainingError("out of memory"), "out of memory"),
        (OSError(28, "No space left on device"), "cannot be written (No space left on device)"),
        (ZeroDivisionError("nothing"), "ZeroDivisionError: nothing"),
    ],
)
def test_whatever_goes_wrong_is_said_on_the_run(shop, monkeypatch, error, message):  # noqa: F811
    def fail(*_, **__):
        raise error

    shop["shop.moods"] = records(90)
    monkeypatch.setattr(runs, "train", fail)
    run = services.request_training(config=QUICK)
    runs.carry_out_requested()
    run.refresh_from_db()
    assert run.state == "failed" and message in run.message and run.finished_at is not None
    assert not run.folder.exists()


def test_a_run_goes_on_after_the_database_was_away(shop, monkeypatch):  # noqa: F811
    def fail(*_, **__):
        raise OperationalError("the server went away")

    shop["shop.moods"] = records(90)
    whole = runs.train
    monkeypatch.setattr(runs, "train", fail)
    run = services.request_training(config=QUICK)
    with pytest.raises(OperationalError):
        runs.carry_out_requested()
    run.refresh_from_db()
    assert run.state == "running" and run.folder.exists()
    with pytest.raises(CommandError, match=f"does not answer .OperationalError.; training run {run.pk} goes on from"):
        seen_through(run, Teller(BaseCommand()))
    monkeypatch.setattr(runs, "train", whole)
    runs.carry_out_requested()
    run.refresh_from_db()
    assert run.state == "done"


def test_a_process_that_was_held_up_leaves_the_run_to_another(shop, settings, monkeypatch):  # noqa: F811
    def held_up(*_, say, **__):
        JobLease.objects.update(leased_until="2999-01-01T00:00:00Z")  # of somebody else
        time.sleep(1)
        say("on we go")
        raise AssertionError("it must not go on")

    settings.LEASE_SECONDS = 0.6
    shop["shop.moods"] = records(90)
    monkeypatch.setattr(runs, "train", held_up)
    run = services.request_training(config=QUICK)
    told: list[str] = []
    assert not runs.carry_out_requested(told.append)
    run.refresh_from_db()
    assert run.state == "running" and run.folder.exists()
    assert told[-1] == f"This process was held up, another one goes on with training run {run.pk}"
    TrainingRun.objects.update(state="done", message="made release abab")  # by the other one
    runs.finish(run, TrainingRun.State.FAILED, "No such file or directory")
    run.refresh_from_db()
    assert (run.state, run.message) == ("done", "made release abab") and run.folder.exists()


def test_nothing_stays_of_a_release_that_was_not_measured(shop, monkeypatch):  # noqa: F811
    shop["shop.moods"] = records(90)
    run = services.request_training(config=QUICK)
    measure = runs.assess

    def stopped(*given):
        measure(*given)
        services.stop_training(run)

    monkeypatch.setattr(runs, "assess", stopped)
    runs.carry_out_requested()
    run.refresh_from_db()
    assert run.state == "stopped" and not Release.objects.exists()
    assert not list(settings.RELEASES_DIR.iterdir())


def test_an_active_release_that_cannot_be_loaded_is_told(shop):  # noqa: F811
    shop["shop.moods"] = records(90)
    active = Release.objects.create(
        fingerprint="ab" * 8, path="gone", body="tiny", dimensions=3, state=Release.State.ACTIVE
    )
    run = services.request_training(config=QUICK)
    runs.carry_out_requested()
    run.refresh_from_db()
    assert run.state == "done" and run.release is not None and run.release.compared_with == ""
    assert "Not compared with the active release, which cannot be loaded" in run.notes
    assert run.release.evaluation["mood"]["rivals"].keys() >= {"frozen", "majority"}
    active.refresh_from_db()
    assert active.state == Release.State.ACTIVE


def test_a_run_can_be_stopped(shop):  # noqa: F811
    shop["shop.moods"] = records(90)
    run = services.request_training(config=QUICK)

    def stop(progress):
        if progress.batch == 2:
            services.stop_training(run)

    runs.NOTE_SECONDS, kept = 0.0, runs.NOTE_SECONDS
    try:
        runs.carry_out_requested(report=stop)
    finally:
        runs.NOTE_SECONDS = kept
    run.refresh_from_db()
    assert run.state == "stopped" and run.progress["batch"] <= 3
    assert not Release.objects.exists()
    with pytest.raises(services.RequestRefused, match="is finished already"):
        services.stop_training(run)
    waiting = services.request_training(config=QUICK)
    services.stop_training(waiting)
    waiting.refresh_from_db()
    assert waiting.state == "stopped" and not selectors.outstanding_runs().exists()


def test_a_run_whose_processes_die_again_and_again_is_given_up(shop):  # noqa: F811
    run = services.request_training(config=QUICK)
    for _ in range(runs.MAX_IDLE_LIVES):
        assert not runs.is_hopeless(run)
    assert runs.is_hopeless(run)
    run.progress["batch"] = 7  # this one got further
    assert not runs.is_hopeless(run)
    for batch in (7, 5):  # the next ones did not
        run.progress["batch"] = batch
        assert not runs.is_hopeless(run)
    run.trials = [{}]  # a search that has come to another trial
    assert not runs.is_hopeless(run)
    for batch in (4, 5):
        assert not runs.is_hopeless(run)
        run.progress["batch"] = batch
    assert runs.is_hopeless(run)


def test_a_process_is_started_where_nobody_works(shop, monkeypatch):  # noqa: F811
    started: list[list[str]] = []

    def start(command: list[str]) -> SimpleNamespace:
        started.append(command)
        return SimpleNamespace(poll=lambda: None)

    monkeypatch.setattr(processes.subprocess, "Popen", start)
    processes.see_to_training()
    assert not started  # nothing to do
    services.request_training(config=QUICK)
    lease = JobLease.objects.create(name=services.TRAINING_LEASE, leased_until="2999-01-01T00:00:00Z")
    processes.see_to_training()
    assert not started  # somebody is at it
    lease.delete()
    processes.see_to_training()
    processes.see_to_training()  # the one that was started has not claimed the lease yet
    assert [command[1:] for command in started] == [
        [str(processes.settings.BASE_DIR / "manage.py"), "train", "--requested"]
    ]


def test_the_command_prints_what_was_made_or_why_not(shop, tmp_path, capsys):  # noqa: F811
    data = write(tmp_path / "moods.jsonl", records(90))
    (tmp_path / "quick.json").write_text(json.dumps(QUICK))
    call_command("train", "--data", f"shop.moods={data}", "--config", str(tmp_path / "quick.json"), "--json")
    made = json.loads(capsys.readouterr().out)
    run = TrainingRun.objects.get()
    assert (made["run"], made["release"]) == (run.pk, run.release_id)
    assert run.config == QUICK and run.data == [["shop.moods", str(data)]] and not run.has_rows
    with pytest.raises(CommandError, match="nothing learns from this format") as raised:
        call_command("train", "--data", f"shop.prices={data}", "--config", str(tmp_path / "quick.json"))
    assert raised.value.returncode == 1


def test_nothing_stays_of_a_run_but_its_log(shop):  # noqa: F811
    shop["shop.moods"] = records(90)
    run = services.request_training(config=QUICK)
    runs.carry_out_requested()
    run.refresh_from_db()
    if importlib.util.find_spec("tensorboard") is None:
        assert "Not logged for TensorBoard" in run.notes and not run.folder.exists()
    else:
        assert [path.name for path in run.folder.iterdir()] == [runs.TENSORBOARD]
        assert list((run.folder / runs.TENSORBOARD).glob("events.*"))


# Comparing ------------------------------------------------------------------------------------------------------
class Weak(FakeEncoder):
    """Vectors that say little of the text."""

    def embed(self, texts):
        noise = np.random.default_rng(0).normal(size=(len(texts), self.dimensions))
        vectors = 0.2 * super().embed(texts) + 0.2 * noise.astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_better_and_worse_are_told_from_noise():
    good = FakeEncoder(heads={"mood": fit_head(FakeEncoder(), SPEC, moods(300), moods(200, seed=1))[0]})
    weak = Weak(heads={"mood": fit_head(Weak(), SPEC, moods(300), moods(200, seed=1))[0]})
    plan = HeadPlan(SPEC, Examples(moods(300), moods(200, seed=1)))

    def compared(candidate, active):
        return against_active(evaluate(candidate, [plan], [], {ACTIVE: active}))

    better = compared(good, weak)["mood"]
    assert 0 < better["low"] <= better["candidate"] - better["active"] <= better["high"]
    worse = compared(weak, good)["mood"]
    assert worse["high"] < 0
    same = compared(good, good)["mood"]
    assert same["low"] == same["high"] == 0
    both = Release(comparison={"mood": worse | {"examples": 42}, "kind": same | {"examples": 100}})
    assert both.worse_in == ["mood"] and both.compared_by_few == "mood (42 examples)"
    assert compared(good, FakeEncoder()) == {}  # it has no such head


class Listening(FakeEncoder):
    """Keeps what it is given to read."""

    def embed(self, texts):
        self.given = list(texts)
        return super().embed(texts)


def test_each_of_two_releases_reads_texts_as_its_own_head_wants_them():
    head = fit_head(FakeEncoder(), SPEC, moods(300), moods(200, seed=1))[0]
    older, newer = (
        Listening(heads={"mood": head}),
        Listening(heads={"mood": replace(head, spec=replace(SPEC, prefix="classify: "))}),
    )
    evaluate(newer, [HeadPlan(newer.heads["mood"].spec, Examples(moods(300), moods(200, seed=1)))], [], {ACTIVE: older})
    assert newer.given == [f"classify: {text}" for text in older.given]


def test_a_head_is_measured_beside_simple_rivals_and_seen_through():
    weak = Weak(heads={"mood": fit_head(Weak(), SPEC, moods(300), moods(200, seed=1))[0]})
    found = evaluate(weak, [HeadPlan(SPEC, Examples(moods(300), moods(200, seed=1)))], [], {})["mood"]
    low, high = found["interval"]
    assert 0 < low < found["value"] < high <= 1
    assert set(found["rivals"]) == {"tfidf_linear", "majority"}
    majority = found["rivals"]["majority"]
    assert majority["value"] < 0.3 and majority["lead"][0] > 0  # one class of three has an F1
    assert np.sum(found["confusion"]) == found["examples"] and found["labels"] == ["bad", "fine", "good"]
    for stage in ("before", "after"):
        confidence, accuracy, sizes = np.array(found["reliability"][stage]).T
        assert sizes.sum() == found["examples"]
        gap = (sizes * np.abs(confidence - accuracy)).sum() / sizes.sum()
        assert gap == pytest.approx(found["ece"][stage], abs=1e-3)
    assert found["ece"]["before"] != found["ece"]["after"]


def test_ranks_are_among_all_that_is_right_for_somebody():
    encoder = FakeEncoder()
    examples = [("red tent", "tent red", ()), ("blue lamp", "lamp", ()), ("green rope", "lamp", ())]
    scores = similarities(encoder, ["red tent", "blue lamp"], ["tent red", "lamp"])
    one, other = np.eye(2, dtype=bool), np.eye(2, dtype=bool)[::-1]
    assert reciprocal_ranks(scores, one).tolist() == [1.0, 1.0]
    assert reciprocal_ranks(scores, other).tolist() == [0.5, 0.5]
    assert reciprocal_ranks(np.ones((1, 4)), np.arange(4)[None] == 2).tolist() == [0.25]  # ties count against it
    both = TaskExamples("shop.answers", "contrastive", validation=[*examples[:2], ("red tent", "lamp", ())])
    assert evaluate(encoder, [], [both], {})["shop.answers contrastive"]["value"] == 1.0  # a tent has two answers
    beside = replace(both, train=[("where", "red tent", ())])  # what was learned stands beside what is right
    found = evaluate(encoder, [], [beside], {})["shop.answers contrastive"]
    assert found["value"] == pytest.approx((0.5 + 1 + 0.5) / 3, abs=1e-5)
    walks = similarities(encoder, [("red tent", "lamp")], ["tent red", "lamp"])
    assert walks[0, 0] > walks[0, 1] > 0  # the newest counts most
    task = TaskExamples("shop.answers", "contrastive", train=examples, validation=examples)
    evaluation = evaluate(encoder, [], [task], {ACTIVE: FakeEncoder(salt="other")})
    assert set(evaluation["shop.answers contrastive"]["rivals"]) == {ACTIVE, "bm25"}
    found = against_active(evaluation)["shop.answers contrastive"]
    assert found["metric"] == "mrr" and found["examples"] == 3


def test_a_release_that_is_worse_needs_a_written_reason(capsys):
    entry = {"metric": "macro_f1", "examples": 9, "candidate": 0.5, "active": 0.9, "low": -0.5, "high": -0.3}
    release = Release.objects.create(
        fingerprint="ab" * 8, path="x", body="tiny", dimensions=3, comparison={"mood": entry}, compared_with="cd" * 8
    )
    with pytest.raises(services.RequestRefused, match="worse beyond noise than cdcdcdcd in mood; give a reason"):
        services.request_promotion(release)
    with pytest.raises(services.RequestRefused):
        services.request_promotion(release, override="  ")
    with pytest.raises(CommandError, match="worse beyond noise"):
        call_command("promote", release.fingerprint)
    call_command("promote", release.fingerprint, "--override", "the old one leaks names")
    assert "Too few were held out to tell a small difference in mood (9 examples)" in capsys.readouterr().err
    assert Promotion.objects.get().override_reason == "the old one leaks names"


def test_what_was_not_measured_needs_a_reason_where_another_one_serves(capsys):
    names = {"path": "x", "body": "tiny", "dimensions": 3}
    candidate = Release.objects.create(fingerprint="ab" * 8, **names)
    assert services.request_promotion(candidate).override_reason == ""  # none serves yet
    Promotion.objects.all().delete()
    Release.objects.create(fingerprint="cd" * 8, state=Release.State.ACTIVE, **names)
    with pytest.raises(services.RequestRefused, match="has not been measured, or not yet; wait for its run"):
        services.request_promotion(candidate)
    asked = services.request_promotion(candidate, override="it was measured elsewhere")
    assert asked.override_reason == "it was measured elsewhere"


def test_what_a_comparison_cannot_tell_is_told():
    entry = {"metric": "macro_f1", "examples": 900, "candidate": 0.9, "active": 0.9, "low": -0.1, "high": 0.1}
    names = {"path": "x", "body": "tiny", "dimensions": 3}
    Release.objects.create(
        fingerprint="cd" * 8, state=Release.State.ACTIVE, metrics={"mood": {}, "kind": {}, "fits": {}}, **names
    )
    candidate = Release(fingerprint="ab" * 8, comparison={"mood": entry}, compared_with="cd" * 8, **names)
    unlike = "Not compared, since it lacks them or decides between other classes: fits, kind"
    assert selectors.doubts(candidate) == [unlike]
    candidate.compared_with = "ef" * 8
    assert selectors.doubts(candidate) == ["It was measured beside efefefef, not beside cdcdcdcd, which serves now"]
    candidate.compared_with, candidate.comparison = "", {}
    assert selectors.doubts(candidate) == ["It was measured alone, not beside cdcdcdcd, which serves now"]
    assert selectors.doubts(Release.objects.get()) == []
