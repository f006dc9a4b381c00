from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command

from suite.encoder.training.config import TrainingConfig, read_config
from suite.releases import runs, services
from suite.releases.models import Release, TrainingRun
from suite.releases.tests.test_admin import operator  # noqa: F401  the fixture
from suite.releases.tests.test_training import records, shop, write  # noqa: F401  the fixture
from suite.releases.tests.test_training_admin import PROGRESS, RUNS

pytestmark = pytest.mark.django_db(transaction=True)
CONFIG = {"epochs": 1, "evaluations": 3, "batch_size": 16, "average": 2,
          "search": {"learning_rate": [1e-4, 1e-2], "dropout": [0.0, 0.3]}}  # fmt: skip
TRIALS = [
    {
        "number": number,
        "values": {"learning_rate": rate, "dropout": 0.1},
        "state": state,
        "means": means,
        "message": message,
    }
    for number, rate, state, means, message in (
        (1, 2e-4, "done", [0.5, 0.71], ""),
        (2, 4e-4, "done", [0.6, 0.834], ""),
        (3, 9e-3, "failed", [], "the loss"),
        (4, 1e-4, "stopped early", [0.3], ""),
        (5, 3e-4, "running", [0.9], ""),
    )
]


@pytest.fixture(autouse=True)
def places(settings, tmp_path):
    settings.TRAINING_DIR = tmp_path / "training"


def test_a_search_finds_settings_and_leaves_no_release(shop, tmp_path, capsys):  # noqa: F811
    pytest.importorskip("optuna")
    data = write(tmp_path / "moods.jsonl", records(120))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    arguments = ["--data", f"shop.moods={data}", "--config", str(tmp_path / "config.json")]
    call_command("search", "--trials", "4", *arguments, "--output", str(tmp_path / "best.json"), "--json")
    told = json.loads(capsys.readouterr().out)
    run = TrainingRun.objects.get()
    assert told == {"run": run.pk, "best": run.best_config, "trials": run.trials}
    assert (run.state, run.trials_wanted, len(run.trials), run.release) == ("done", 4, 4, None)
    assert not Release.objects.exists()
    assert run.trials[0]["values"] == {"learning_rate": 2e-4, "dropout": 0.1}  # those that training has by itself
    assert all(trial["state"] in {"done", "stopped early"} and trial["means"] for trial in run.trials)
    best = run.best_trial
    assert best is not None and run.message == (
        f"trial {best['number']} of 4 is the best: {max(best['means']):.4f} on validation examples, "
        f"{max(run.trials[0]['means']):.4f} with the settings given"
    )
    assert not list(run.folder.glob("trial-*"))
    log = run.folder / runs.TENSORBOARD
    assert "Not logged" in run.notes or [path.name for path in sorted(log.iterdir())] == [
        f"trial-{n}" for n in range(1, 5)
    ]

    config = read_config(tmp_path / "best.json")
    assert run.best_config.items() <= config.as_dict().items() and "search" not in run.best_config
    call_command("train", "--data", f"shop.moods={data}", "--config", str(tmp_path / "best.json"), verbosity=0)
    assert TrainingConfig.from_mapping(Release.objects.get().runs.get().config) == config


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        ({"search": {"dropout": [0.3, 0.1]}}, [], "dropout must be two numbers"),
        ({"epochs": 0}, [], "a search needs epochs over 0"),
        ({}, ["--trials", "0"], "must be from 1 to 500"),
        ({}, ["--trials", "many"], "invalid trials value"),
        ({}, ["--output", "best.txt"], r"best\.txt: the name must end in \.json"),
        ({}, ["--output", "nowhere/best.json"], r"nowhere/best\.json: the folder is not there"),
        ({}, ["--data", "shop.prices=x.jsonl"], "nothing learns from this format"),
    ],
)
def test_what_is_wrong_with_a_search_is_one_line(shop, tmp_path, config, arguments, message):  # noqa: F811
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CommandError, match=message):
        call_command("search", "--config", str(tmp_path / "config.json"), *arguments)


def test_a_search_can_be_stopped_and_what_it_found_stays(shop):  # noqa: F811
    pytest.importorskip("optuna")
    shop["shop.moods"] = records(90)
    run = services.request_training(config=CONFIG, trials=50)

    def stop(progress):
        if len(TrainingRun.objects.get().trials) == 2:
            services.stop_training(run)

    runs.carry_out_requested(report=stop)
    run.refresh_from_db()
    assert run.state == "stopped" and len(run.trials) == 2
    assert run.best_config["learning_rate"] == 2e-4 and not list(run.folder.glob("trial-*"))


# In the admin -----------------------------------------------------------------------------------------------------
def test_a_search_is_started_in_the_admin(operator):  # noqa: F811
    form = {"_form_submitted": "True", "minutes": "5", "epochs": "1", "config": "", "trials": "12"}
    operator.post(f"{RUNS}start/", form)
    run = TrainingRun.objects.get()
    assert (str(run), run.trials_wanted, run.state) == (f"search {run.pk}", 12, "requested")
    assert operator.get(f"{RUNS}{run.pk}/change/").status_code == 200
    assert "less than or equal to 500" in operator.post(f"{RUNS}start/", form | {"trials": "501"}).text


def test_the_trials_are_shown_and_the_best_one_is_trained_with(operator):  # noqa: F811
    run = TrainingRun.objects.create(
        state="running", progress=PROGRESS, trials=TRIALS, trials_wanted=12, config={"epochs": 2, "search": {}},
        data=[["shop.moods", "moods.jsonl"]], has_rows=False,
    )  # fmt: skip
    page = operator.get(f"{RUNS}{run.pk}/change/").text
    for shown in ("trial 5 of 12, 120 of 400 batches", "0.8340", "Trial 3 failed: the loss", "stopped early", "0.0004",
                  "learning rate", "&quot;learning_rate&quot;: 0.0004", "Train with the best settings"):  # fmt: skip
        assert shown in page
    operator.post(f"{RUNS}{run.pk}/train-best/", {"_form_submitted": "True"})
    new = TrainingRun.objects.exclude(pk=run.pk).get()
    assert new.config == {"epochs": 2, "learning_rate": 4e-4, "dropout": 0.1}
    assert (new.data, new.has_rows, new.trials_wanted, new.requested_by) == (run.data, False, 0, "ada")
    plain = operator.get(f"{RUNS}{new.pk}/change/").text
    assert (
        "Train with the best settings" not in plain and "trial" not in plain.split('id="outcome"')[1].split("<ul>")[0]
    )
    assert operator.post(f"{RUNS}{new.pk}/train-best/", {"_form_submitted": "True"}).status_code == 403
