from __future__ import annotations

import subprocess
import sys
import time

import pytest

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
