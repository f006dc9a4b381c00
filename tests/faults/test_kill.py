"""kill -9 at random points, ten rounds: every accepted event has exactly one effect, whatever died: marks, messages of
customers and their suggestions, articles with their stories, alerts and notifications."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.load import BATCH, ROUNDS, SHORT_LEASES, Load, Sender, check_effects, marks, once_each
from tests.project import SERVICES, Installation, Process, copy_project, new_database, remove_indices

PREFIX = "suite-faults"


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_killing_the_one_process_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = copy_project(tmp_path / "project", is_with_tally=True)
    installation = Installation(folder, tmp_path / "state", SHORT_LEASES)
    installation.manage("migrate")
    installation.manage("release")
    process = installation.up("--no-sample")
    load = Load(installation)
    load.start()
    try:
        for _ in range(ROUNDS):
            load.watch()
            time.sleep(random.uniform(0.2, 5.0))
            process.kill()
            process = installation.up("--no-sample")
        load.end()
        load.check()
    finally:
        installation.end()


@pytest.mark.faults
@pytest.mark.services("postgres", "rabbitmq", "redis", "elasticsearch")
@pytest.mark.timeout(900)
def test_killing_worker_or_web_of_the_full_stack_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = copy_project(tmp_path / "project", is_with_tally=True)
    with new_database("faults") as database_url:
        services = {name: os.environ[name] for name in SERVICES} | {
            "SUITE_DATABASE_URL": database_url,
            "SUITE_INDEX_PREFIX": PREFIX,
        }
        installation = Installation(folder, tmp_path / "state", {**SHORT_LEASES, **services})
        try:
            installation.manage("migrate")
            installation.manage("release")
            kill_web_or_worker(installation)
        finally:
            installation.end()
            remove_indices(services["SUITE_ELASTICSEARCH_URL"], PREFIX)


def kill_web_or_worker(installation: Installation) -> None:
    start: dict[str, Callable[[], Process]] = {
        "web": installation.web,
        "worker": lambda: installation.worker("events", "jobs", "indexing"),
    }
    running = {name: begin() for name, begin in start.items()}
    installation.beat()
    running["web"].wait_for("running on")
    load = Load(installation)
    load.start()
    for _ in range(ROUNDS):
        load.watch()
        time.sleep(random.uniform(1.0, 6.0))
        name = random.choice(["web", "worker"])
        running[name].kill()
        running[name] = start[name]()
    load.end()
    load.check()


def test_the_count_would_see_a_lost_and_a_doubled_event(tmp_path: Path) -> None:
    folder = copy_project(tmp_path / "project", is_with_tally=True)
    installation = Installation(folder, tmp_path / "state")
    installation.manage("migrate")
    sender = Sender(installation, "", marks())
    sender.accepted = [str(number) for number in range(ROUNDS * BATCH + 1)]
    rows = f"Effect.objects.bulk_create(Effect(name=str(n)) for n in range(1, {ROUNDS * BATCH + 1})) and 1"
    assert installation.query(rows) == 1
    with pytest.raises(AssertionError, match="lost"):
        check_effects(installation, sender)
    assert installation.query("[Effect.objects.create(name='0').pk, Effect.objects.create(name='1').pk] and 1") == 1
    with pytest.raises(AssertionError, match="doubled"):
        check_effects(installation, sender)
    for found, what in (("['a']", "lost"), ("['a', 'b', 'b']", "doubled")):
        with pytest.raises(AssertionError, match=what):
            once_each(installation, ["a", "b"], found)
