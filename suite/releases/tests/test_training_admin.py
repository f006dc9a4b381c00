from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command

from suite.releases.models import Promotion, Release, TrainingRun
from suite.releases.tests.test_admin import operator  # noqa: F401  the fixture

pytestmark = pytest.mark.django_db
RUNS = "/admin/releases/trainingrun/"
PROGRESS: dict[str, Any] = {
    "batch": 120, "batches": 400, "task": "shop.moods", "losses": {"shop.moods": 0.41}, "examples_a_second": 95.2,
    "seconds": 30.0, "seconds_left": 90.0, "megabytes": 812, "curve": [{"batch": 100, "losses": {"shop.moods": 0.5}}],
    "evaluations": [{"batch": 100, "metrics": {"shop.moods": 0.823}, "mean": 0.823, "worse": ["shop.moods"]}],
}  # fmt: skip


def test_a_run_is_started_with_its_settings(operator):  # noqa: F811
    assert "Train on the applications&#x27; own rows?" in operator.get(f"{RUNS}start/").text
    form = {"_form_submitted": "True", "minutes": "5", "epochs": "1", "config": '{"batch_size": 64}'}
    answer = operator.post(f"{RUNS}start/", form)
    run = TrainingRun.objects.get()
    assert run.config == {"minutes": 5.0, "epochs": 1.0, "batch_size": 64}
    assert (run.state, run.has_rows, run.requested_by) == ("requested", True, "ada")
    assert answer.url == f"{RUNS}{run.pk}/change/"
    operator.post(f"{RUNS}start/", form | {"epochs": ""})
    assert TrainingRun.objects.latest("pk").config == {"minutes": 5.0, "batch_size": 64}


@pytest.mark.parametrize(("field", "value", "message"), [
    ("config", "[1]", "This must be a JSON object"), ("config", "{", "Enter a valid JSON"),
    ("config", '{"batch_size": 1}', "batch_size must be from 2 to 4096, not 1."),
    ("config", '{"pace": 1}', "pace is not a field; the fields are"),
    ("minutes", "0", "greater than or equal to 0.5"), ("epochs", "many", "Enter a number"),
])  # fmt: skip
def test_a_bad_setting_is_said_at_its_field(operator, field, value, message):  # noqa: F811
    form = {"_form_submitted": "True", "minutes": "5", "epochs": "1", "config": "", field: value}
    assert message in operator.post(f"{RUNS}start/", form).text
    assert not TrainingRun.objects.exists()


def test_a_runs_page_shows_how_far_it_is(operator):  # noqa: F811
    run = TrainingRun.objects.create(
        state="running", progress=PROGRESS, notes="Tuning the body\nshop.moods: 3 left out"
    )
    page = operator.get(f"{RUNS}{run.pk}/change/").text
    for shown in ("120 of 400 batches", "95 examples/s, 1.5 minutes left, 812 MB, at shop.moods", "primary metric",
                  "0.823", "Worse than before training: shop.moods", '<progress value="0.25" max="1"',
                  "<li>shop.moods: 3 left out</li>", 'id="training-curve"', 'id="training-chart"',
                  f'data-live-topic="suite.training:{run.pk}"', "releases/training.js"):  # fmt: skip
        assert shown in page
    better = [one | {"worse": []} for one in PROGRESS["evaluations"]]
    run.progress = PROGRESS | {"evaluations": better}
    run.save()
    page = operator.get(f"{RUNS}{run.pk}/change/").text
    assert '<th scope="col">primary metric</th>' in page and "&lt;" not in page and "Worse than" not in page
    assert "120 of 400 batches" in operator.get(RUNS).text
    release = Release.objects.create(fingerprint="ab" * 8, path="x", body="tiny", dimensions=3)
    done = TrainingRun.objects.create(state="done", progress=PROGRESS, release=release, message="made release abab")
    page = operator.get(f"{RUNS}{done.pk}/change/").text
    assert f'href="/admin/releases/release/{release.pk}/change/"' in page and "minutes left" not in page
    new = TrainingRun.objects.create()
    assert operator.get(f"{RUNS}{new.pk}/change/").status_code == 200


def test_a_run_is_stopped_from_its_page(operator):  # noqa: F811
    run = TrainingRun.objects.create(state="running", progress=PROGRESS)
    operator.post(f"{RUNS}{run.pk}/stop/", {"_form_submitted": "True"})
    run.refresh_from_db()
    assert run.is_stop_wanted and run.state == "running"
    page = operator.get(f"{RUNS}{run.pk}/change/").text
    assert "stopping" in page and f"{RUNS}{run.pk}/stop/" in page
    TrainingRun.objects.update(state="done")
    assert f"{RUNS}{run.pk}/stop/" not in operator.get(f"{RUNS}{run.pk}/change/").text
    assert operator.post(f"{RUNS}{run.pk}/stop/", {"_form_submitted": "True"}).status_code == 403


def test_who_may_only_look_cannot_train(client):
    user = get_user_model().objects.create_user("bob", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_trainingrun"))
    client.force_login(user)
    run = TrainingRun.objects.create(state="running")
    assert client.get(RUNS).status_code == 200
    assert client.post(f"{RUNS}start/", {"_form_submitted": "True", "minutes": 1, "epochs": 1}).status_code == 403
    assert client.post(f"{RUNS}{run.pk}/stop/", {"_form_submitted": "True"}).status_code == 403


def test_a_worse_release_is_promoted_with_a_reason_only(operator):  # noqa: F811
    entry = {"metric": "macro_f1", "examples": 90, "candidate": 0.512, "active": 0.9, "low": -0.45, "high": -0.3}
    release = Release.objects.create(
        fingerprint="ab" * 8, path="x", body="tiny", dimensions=3, comparison={"mood": entry}, compared_with="cd" * 8
    )
    page = operator.get(f"/admin/releases/release/{release.pk}/change/").text
    assert "mood, than cdcdcdcd. Too few were held out to tell a small difference in mood (90 examples)" in page
    url = f"/admin/releases/release/{release.pk}/promote/"
    answer = operator.post(url, {"_form_submitted": "True", "reason": ""}, follow=True)
    assert "Not done: release abababab is worse beyond noise" in answer.text
    operator.post(url, {"_form_submitted": "True", "reason": "the old one leaks names"})
    assert Promotion.objects.get().override_reason == "the old one leaks names"


def test_runs_are_listed_and_stopped_from_the_command_line(capsys):
    call_command("runs")
    assert "there is no run yet" in capsys.readouterr().err
    done = TrainingRun.objects.create(state="done", message="made release abab", progress=PROGRESS)
    running = TrainingRun.objects.create(state="running", progress=PROGRESS, trials_wanted=4, trials=[{}])
    waiting = TrainingRun.objects.create()
    call_command("runs")
    newest, searching, oldest = capsys.readouterr().out.splitlines()
    assert newest.startswith(f"training run {waiting.pk}: requested, asked for 20")
    assert searching.startswith(f"search {running.pk}: running, trial 1 of 4, 120 of 400 batches, asked for")
    assert oldest.startswith(f"training run {done.pk}: done, 120 of 400 batches") and oldest.endswith(
        "made release abab"
    )
    call_command("runs", "--stop", str(running.pk), "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["kind"], told["state"], told["seconds_left"]) == (running.pk, "search", "stopping", 90.0)
    call_command("runs", "--stop", str(waiting.pk))
    assert f"training run {waiting.pk}: stopped" in capsys.readouterr().out
    with pytest.raises(CommandError, match=f"training run {done.pk} is finished already"):
        call_command("runs", "--stop", str(done.pk))
    with pytest.raises(CommandError, match="there is no run 99"):
        call_command("runs", "--stop", "99")
    call_command("runs", "--limit", "1")
    assert len(capsys.readouterr().out.splitlines()) == 1
