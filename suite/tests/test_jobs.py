from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from suite import jobs
from suite.domain import Job
from suite.events.models import JobLease

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "shop.count"


@pytest.fixture
def runs(monkeypatch) -> list[str]:
    made: list[str] = []
    declared = {NAME: Job(run=lambda: made.append("run"), every=60)}
    monkeypatch.setattr(jobs, "jobs", lambda: declared)
    return made


def later(seconds: float) -> None:
    """Let the row of the job look as if this time had passed."""
    shift = timedelta(seconds=seconds)
    row = JobLease.objects.get(name=NAME)
    for field in ("started_at", "finished_at", "leased_until"):
        if getattr(row, field):
            setattr(row, field, getattr(row, field) - shift)
    row.save()


def test_a_job_runs_at_once_and_then_at_its_turns(runs):
    assert jobs.due() == [NAME]
    assert jobs.run(NAME)
    assert jobs.due() == []
    assert not jobs.run(NAME)
    later(59)
    assert jobs.due() == []
    later(2)
    assert jobs.due() == [NAME]
    assert jobs.run(NAME)
    assert runs == ["run", "run"]


def test_one_run_at_a_time(runs, monkeypatch):
    inside, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        inside.set()
        assert go_on.wait(10)
        runs.append("run")

    monkeypatch.setattr(jobs, "jobs", lambda: {NAME: Job(run=slow, every=0.001)})

    def work() -> None:
        jobs.run(NAME)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    assert jobs.due() == []
    assert not jobs.run(NAME)
    go_on.set()
    thread.join()
    assert runs == ["run"]
    assert jobs.due() == [NAME]


def test_a_long_run_keeps_its_lease(runs, settings, monkeypatch):
    settings.LEASE_SECONDS = 0.3
    ends: list[Any] = []

    def slow() -> None:
        ends.append(JobLease.objects.get(name=NAME).leased_until)
        while JobLease.objects.get(name=NAME).leased_until == ends[0]:
            time.sleep(0.02)
        ends.append(JobLease.objects.get(name=NAME).leased_until)

    monkeypatch.setattr(jobs, "jobs", lambda: {NAME: Job(run=slow, every=60)})
    jobs.run(NAME)
    assert ends[1] > ends[0]
    assert JobLease.objects.get(name=NAME).leased_until is None


def test_a_run_that_was_killed_is_taken_up_when_its_lease_runs_out(runs, settings):
    now = timezone.now()
    JobLease.objects.create(name=NAME, started_at=now, leased_until=now + timedelta(seconds=settings.LEASE_SECONDS))
    assert jobs.due() == []
    assert not jobs.run(NAME)
    later(settings.LEASE_SECONDS + 1)
    assert jobs.due() == [NAME]
    assert jobs.run(NAME)
    assert runs == ["run"]


def test_a_job_that_fails_keeps_its_error_and_waits_for_its_turn(runs, monkeypatch):
    def broken() -> None:
        raise ZeroDivisionError("nothing to divide by")

    monkeypatch.setattr(jobs, "jobs", lambda: {NAME: Job(run=broken, every=60)})
    assert jobs.run(NAME)
    assert JobLease.objects.get(name=NAME).last_error == "ZeroDivisionError: nothing to divide by"
    assert jobs.due() == []
    monkeypatch.setattr(jobs, "jobs", lambda: {NAME: Job(run=lambda: None, every=60)})
    later(61)
    assert jobs.run(NAME)
    assert JobLease.objects.get(name=NAME).last_error == ""


def test_a_lease_that_was_taken_over_is_not_given_back(runs):
    with jobs.held(NAME) as is_ours:
        assert is_ours
        other = timezone.now() + timedelta(seconds=99)
        JobLease.objects.filter(name=NAME).update(leased_until=other)
    assert JobLease.objects.get(name=NAME).leased_until == other


def test_who_lost_a_lease_is_told(runs, settings):
    settings.LEASE_SECONDS = 0.3
    with jobs.held(NAME) as lease:
        assert lease and not lease.is_lost
        JobLease.objects.update(leased_until=timezone.now() + timedelta(seconds=99))
        lease.join(5)
        assert lease.is_lost
    with jobs.held(NAME) as other:
        assert other is None


def test_an_unknown_job_is_named(runs):
    with pytest.raises(LookupError, match=r"there is no job 'shop\.nothing'"):
        jobs.run("shop.nothing")


def test_a_job_that_a_dead_process_of_this_machine_held_is_free_again() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    until = timezone.now() + timedelta(hours=1)
    holders = {
        "dead": jobs.holder_name(dead.pid),
        "former self": jobs.holder_name(os.getpid()),  # in a container a new process has the old one's number
        "alive": jobs.holder_name(os.getppid()),
        "elsewhere": f"elsewhere {dead.pid}",
    }
    JobLease.objects.bulk_create(JobLease(name=name, leased_until=until, holder=h) for name, h in holders.items())
    jobs.release_leases()
    free = set(JobLease.objects.filter(leased_until=None).values_list("name", flat=True))
    assert free == {"dead", "former self"}


def test_who_takes_a_job_is_told() -> None:
    with jobs.held("told") as is_ours:
        assert is_ours
        assert JobLease.objects.get(name="told").holder == jobs.holder_name(os.getpid())
