from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from suite.releases import selectors, services
from suite.releases.models import TrainingRun
from suite.releases.tests.test_killed import LEASE_SECONDS, environment
from suite.releases.tests.test_training import records, write

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]
CONFIG = {"epochs": 4, "batch_size": 8, "evaluations": 4, "checkpoint_seconds": 0.0, "precision": "float32"}


def test_a_run_whose_process_is_killed_ends_with_the_metric_it_would_have_had(bodies, tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_ENCODER_THREADS", "1")
    data = write(tmp_path / "moods.jsonl", records(240))

    def process() -> subprocess.Popen[str]:
        folders = [str(tmp_path / "releases"), str(tmp_path / "training"), str(bodies[0])]
        command = [sys.executable, "-m", "suite.releases.tests.training_process", *folders]
        return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)

    def request() -> TrainingRun:
        return services.request_training([("shop.moods", str(data))], has_rows=False, config=CONFIG, is_rung=False)

    killed, lives = request(), 0
    for batch in (20, 45):
        with process() as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                if line.strip() == "busy":  # the dead one's lease has not run out
                    break
                if int(line) >= batch:
                    worker.kill()
                    lives += 1
                    break
        time.sleep(LEASE_SECONDS * 1.5)
    assert lives == 2
    assert list(selectors.outstanding_runs()) == [killed]  # what the sweep looks at
    killed.refresh_from_db()
    assert killed.state == "running"

    with process() as worker:
        batches = [line.strip() for line in worker.stdout or []]
    assert batches[-1] == "done"
    assert int(batches[0]) > 40  # it went on where the checkpoint was
    killed.refresh_from_db()
    assert (killed.state, killed.lives) == ("done", 3)

    whole = request()
    with process() as worker:
        assert [line.strip() for line in worker.stdout or []][-1] == "done"
    whole.refresh_from_db()
    assert whole.state == "done" and whole.lives == 1
    assert killed.release is not None and whole.release is not None
    assert killed.progress["evaluations"][-1]["metrics"] == pytest.approx(
        whole.progress["evaluations"][-1]["metrics"], abs=0.02
    )
    for name in ("macro_f1", "ece"):
        assert killed.release.metrics["mood"][name] == pytest.approx(whole.release.metrics["mood"][name], abs=0.03)


def test_a_search_whose_process_is_killed_tries_what_it_would_have_tried(bodies, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.setenv("SUITE_ENCODER_THREADS", "1")
    data = write(tmp_path / "moods.jsonl", records(240))

    def life(kill_after: int) -> list[str]:
        """What its process wrote, a line for every batch; it is killed after so many."""
        folders = [str(tmp_path / "releases"), str(tmp_path / "training"), str(bodies[0])]
        command = [sys.executable, "-m", "suite.releases.tests.training_process", *folders]
        lines: list[str] = []
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as worker:
            for line in worker.stdout or []:
                lines.append(line.strip())
                if len(lines) == kill_after:
                    worker.kill()
        return lines

    def request() -> TrainingRun:
        config = CONFIG | {"epochs": 2, "search": {"learning_rate": [1e-4, 3e-3], "batch_size": [8, 16]}}
        files = [("shop.moods", str(data))]
        return services.request_training(files, has_rows=False, config=config, trials=4, is_rung=False)

    killed = request()
    life(75)  # in the second trial: the first one has 71 batches at most
    killed.refresh_from_db()
    assert [trial["state"] for trial in killed.trials] == ["done", "running"]
    under_way = killed.trials[1]["values"]
    time.sleep(LEASE_SECONDS * 1.5)
    assert life(10_000)[-1] == "done"
    killed.refresh_from_db()
    assert (killed.state, killed.lives, killed.trials[1]["values"]) == ("done", 2, under_way)

    whole = request()
    assert life(10_000)[-1] == "done"
    whole.refresh_from_db()
    assert whole.state == "done" and whole.lives == 1 and len(whole.trials) == len(killed.trials) == 4
    for one, other in zip(killed.trials[:2], whole.trials[:2], strict=True):
        assert one["values"] == other["values"]
        assert one["means"] == pytest.approx(other["means"], abs=0.02)


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_a_command_that_was_killed_goes_on_when_it_is_given_again(command, bodies, tmp_path):
    names = {"train": "finance.sentiment", "pretrain": "finance.articles"}
    leanings = {"bad": "negative", "fine": "neutral", "good": "positive"}
    lines = [one | {"label": leanings[one["label"]], "title": one["text"]} for one in records(400)]
    data = write(tmp_path / "lines.jsonl", lines)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG | {"epochs": 12}))
    arguments = [command, "--data", f"{names[command]}={data}", "--config", str(config), "--output", "out"]
    mine = {"SUITE_ENCODER": str(bodies[0]), "SUITE_ENCODER_THREADS": "1"}
    manage = [sys.executable, str(Path(django_settings.BASE_DIR) / "manage.py"), *arguments]

    def batches(*, is_killed: bool) -> list[int]:
        """Those that a line told of; the process is killed a second after the first one."""
        told: list[int] = []
        with subprocess.Popen(
            manage, env=environment() | mine, cwd=tmp_path, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("Batch "):
                    told.append(int(line.split()[1].replace(",", "")))
                    if is_killed:
                        time.sleep(1)
                        process.kill()
        assert process.returncode == (-9 if is_killed else 0)
        return told

    assert batches(is_killed=True)[0] == 1
    folder = tmp_path / ".out.training"
    assert folder.is_dir() and not (tmp_path / "out").exists()
    assert batches(is_killed=False)[0] > 1
    assert (tmp_path / "out" / "encoder.json").is_file() and not folder.exists()
