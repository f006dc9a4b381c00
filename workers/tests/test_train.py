from __future__ import annotations

import pytest

from suite.releases import processes, services
from suite.releases.models import TrainingRun
from workers import jobs, train


@pytest.mark.django_db
def test_the_sweep_finds_runs_that_a_lost_ring_left(monkeypatch):
    rung: list[str] = []
    monkeypatch.setattr(services, "ring_training", lambda: rung.append("train"))
    monkeypatch.setattr(jobs.jobs, "due", list)
    jobs.sweep()
    assert not rung
    TrainingRun.objects.create()
    jobs.sweep()
    assert rung == ["train"]


def test_the_task_only_sees_to_it_that_a_process_works(monkeypatch):
    seen: list[bool] = []
    monkeypatch.setattr(processes, "see_to_training", lambda: seen.append(True))
    train.train()
    assert seen == [True]
