from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from suite.encoder.tests.models import write_tiny
from suite.encoder.training.progress import Progress
from suite.releases import building, runs, runtime, services
from suite.releases.models import Release, TrainingRun
from suite.releases.tests.test_training import records, shop  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_release_is_compressed_into_a_candidate_with_its_own_evaluation(shop, settings, tmp_path, capsys):  # noqa: F811
    settings.ENCODER = str(write_tiny(tmp_path / "three", layers=3))
    shop["shop.moods"] = records(60)
    teacher = building.build_first_release()
    Release.objects.update(state=Release.State.ACTIVE)
    capsys.readouterr()
    call_command("compress", "--layers", "2", "--minutes", "1", "--json")
    made = json.loads(capsys.readouterr().out)
    release = Release.objects.get(pk=made["fingerprint"])
    assert release.state == Release.State.CANDIDATE
    assert release.message == f"compressed from {teacher.fingerprint} to 2 layers"
    assert release.compared_with == teacher.fingerprint
    assert set(release.comparison) == set(release.metrics) == {"kind", "mood"}
    small = runtime.encoder_for(release.fingerprint)
    assert small.settings["num_hidden_layers"] == 2
    assert set(small.heads) == {"kind", "mood"}
    assert set(release.evaluation["mood"]["rivals"]) == {"active", "tfidf_linear", "majority"}


def test_a_run_from_the_admin_makes_a_smaller_release_and_shows_how_far_it_is(shop, settings, tmp_path):  # noqa: F811
    settings.ENCODER, settings.TRAINING_DIR = str(write_tiny(tmp_path / "three", layers=3)), tmp_path / "training"
    shop["shop.moods"] = records(60)
    teacher = building.build_first_release()
    run = services.request_compression(teacher, layers=2, feed_forward=32, is_int8=True, minutes=1, by="ada")
    assert str(run) == f"compression {run.pk}"
    assert runs.carry_out_requested()
    run.refresh_from_db()
    assert (run.state, run.message) == ("done", f"made release {run.release_id}"), run.message
    assert run.progress["batch"] > 0 and "shop.moods" in run.progress["losses"]
    assert run.release is not None
    assert run.release.message == f"compressed from {teacher.fingerprint} to 2 layers, feed-forward of 32, int8"
    weights = run.release.folder / "model.safetensors"
    assert weights.stat().st_size < (teacher.folder / "model.safetensors").stat().st_size / 2
    small = runtime.encoder_for(run.release.fingerprint)
    assert (small.settings["num_hidden_layers"], small.settings["intermediate_size"]) == (2, 32)
    assert set(small.heads) == {"kind", "mood"}

    with pytest.raises(services.RequestRefused, match=f"layers must be less than the 3 of release {teacher}, not 3"):
        services.request_compression(teacher, layers=3)
    with pytest.raises(services.RequestRefused, match=f"feed-forward must be less than the 64 of release {teacher}"):
        services.request_compression(teacher, layers=2, feed_forward=64)
    with pytest.raises(services.RequestRefused, match="nothing would be smaller"):
        services.request_compression(teacher)
    with pytest.raises(services.RequestRefused, match=f"weights of release {run.release} are in int8 already"):
        services.request_compression(run.release, is_int8=True)
    assert TrainingRun.objects.count() == 1


def test_what_cannot_be_compressed_is_said(shop, bodies):  # noqa: F811
    shop["shop.moods"] = records(60)
    with pytest.raises(CommandError, match="no release is active yet"):
        call_command("compress", "--layers", "1")
    building.build_first_release()
    Release.objects.update(state=Release.State.ACTIVE)
    with pytest.raises(CommandError, match="layers must be less than the 1 of release"):
        call_command("compress", "--layers", "1")
    with pytest.raises(CommandError, match="layers must be 0 or more, not -1"):
        call_command("compress", "--layers", "-1")
    with pytest.raises(CommandError, match="feed-forward must be 0 or more, not -1"):
        call_command("compress", "--feed-forward", "-1")
    for minutes in ("0", "inf", "nan"):
        with pytest.raises(CommandError, match="minutes must be above 0 and at most 100,000, not"):
            call_command("compress", "--int8", "--minutes", minutes)
    with pytest.raises(CommandError, match="nothing would be smaller"):
        call_command("compress")
    with pytest.raises(CommandError, match="no release begins with 'zz'"):
        call_command("compress", "--layers", "1", "--release", "zz")


def test_who_waits_is_told_for_whom(shop, settings, tmp_path, capsys, monkeypatch):  # noqa: F811
    settings.ENCODER = str(write_tiny(tmp_path / "three", layers=3))
    shop["shop.moods"] = records(60)
    building.build_first_release()
    Release.objects.update(state=Release.State.ACTIVE)
    first = services.request_training(config={"epochs": 0})
    call_command("compress", "--layers", "2", "--minutes", "1")
    made = TrainingRun.objects.latest("pk")
    assert f"{first} goes before {made}; `manage.py runs --stop NUMBER` ends one" in capsys.readouterr().err

    progress = Progress(batch=7, batches=9).as_dict() | {"furthest": [0, 0]}
    states: list[dict[str, Any]] = [
        {"state": "running", "progress": progress},
        {"state": "done", "release": made.release},
    ]

    def elsewhere(say, report):
        TrainingRun.objects.filter(pk=made.pk + 1).update(**states.pop(0))
        return False

    monkeypatch.setattr(runs, "carry_out_requested", elsewhere)
    call_command("compress", "--layers", "2", "--minutes", "1")
    told = capsys.readouterr().err
    assert told.count(f"Another process works on compression {made.pk + 1}") == 1
    assert "Batch 7 of 9" in told
