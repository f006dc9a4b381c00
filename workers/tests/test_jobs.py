from __future__ import annotations

import pytest

from suite import jobs as suite_jobs
from suite.domain import Job
from suite.events import doorbell
from suite.releases import services
from suite.releases.models import Release
from workers import jobs, train

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rings(monkeypatch) -> list[str]:
    """Names of the tasks that workers were asked for."""
    asked: list[str] = []
    monkeypatch.setattr(doorbell, "ring", asked.append)
    return asked


@pytest.fixture
def started(monkeypatch) -> list[str]:
    """Names of the jobs that the sweep started, each in a task of its own."""
    names: list[str] = []
    monkeypatch.setattr(jobs.run, "delay", names.append)
    return names


def test_the_sweep_starts_what_is_due(rings, started, monkeypatch):
    declared = {"shop.count": Job(run=lambda: None, every=60), "shop.clean": Job(run=lambda: None, every=60)}
    monkeypatch.setattr(suite_jobs, "jobs", lambda: declared)
    jobs.run("shop.clean")
    jobs.sweep()
    assert started == ["shop.count"]
    assert rings == []


def test_the_sweep_rings_for_a_promotion_whose_wake_up_was_lost(rings, started, monkeypatch):
    monkeypatch.setattr(suite_jobs, "jobs", dict)
    release = Release.objects.create(fingerprint="0123456789abcdef", path="gone", body="tiny", dimensions=32)
    services.request_promotion(release)
    rings.clear()
    jobs.sweep()
    assert rings == ["workers.train.promote"]
    train.promote()  # its checkpoint is missing, so it is refused, and there is nothing left to ring for
    rings.clear()
    jobs.sweep()
    assert rings == []
