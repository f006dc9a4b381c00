"""kill -9 at random points, ten rounds: every accepted event has exactly one effect, whatever died."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.project import Installation, Process, copy_project, new_database, wait_until

ROUNDS = 10
BATCH = 20
SHORT_LEASES = {"SUITE_LEASE_SECONDS": "2", "SUITE_SWEEP_SECONDS": "0.5"}


def mark(name: str) -> dict[str, object]:
    return {"specversion": "1.0", "id": name, "source": "test", "type": "tally.mark.made", "data": {}}


class Sender(threading.Thread):
    """Sends batches until told to stop. A batch without an answer is sent again, as a careful client would."""

    def __init__(self, installation: Installation, key: str) -> None:
        super().__init__(daemon=True)
        self.installation = installation
        self.key = key
        self.accepted: list[str] = []
        self.is_over = threading.Event()
        self.errors: list[str] = []

    def run(self) -> None:
        while not self.is_over.is_set():
            names = [uuid.uuid4().hex for _ in range(BATCH)]
            while not self.send(names):
                time.sleep(0.05)

    def send(self, names: list[str]) -> bool:
        try:
            answer = self.installation.post(self.key, map(mark, names))
        except httpx.TransportError:
            return False
        if answer.status_code == 202:
            self.accepted += [result["id"] for result in answer.json()["results"]]
            return True
        if answer.status_code != 503:
            self.errors.append(f"{answer.status_code}: {answer.text[:200]}")
        return False


def check_effects(installation: Installation, sender: Sender) -> None:
    """Nothing is outstanding in the end, and every accepted event has one effect."""
    wait_until(lambda: installation.query("PendingEvent.objects.count()") == 0, 60, "the end of the backlog")
    effects = Counter(installation.query("list(Effect.objects.values_list('name', flat=True))"))
    assert not sender.errors
    assert len(sender.accepted) > ROUNDS * BATCH, "the sender got too little through to prove anything"
    assert not [name for name in sender.accepted if name not in effects], "lost"
    assert not {name: count for name, count in effects.items() if count != 1}, "doubled"
    assert installation.query("DeadLetter.objects.count()") == 0


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_killing_the_one_process_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = copy_project(tmp_path / "project", is_with_tally=True)
    installation = Installation(folder, tmp_path / "state", SHORT_LEASES)
    process = installation.up("--no-sample")
    sender = Sender(installation, installation.key())
    sender.start()
    try:
        for _ in range(ROUNDS):
            time.sleep(random.uniform(0.2, 1.5))
            process.kill()
            process = installation.up("--no-sample")
        sender.is_over.set()
        sender.join(timeout=30)
        check_effects(installation, sender)
    finally:
        installation.end()


@pytest.mark.faults
@pytest.mark.services("postgres", "rabbitmq")
@pytest.mark.timeout(600)
def test_killing_worker_or_web_of_the_full_stack_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = copy_project(tmp_path / "project", is_with_tally=True)
    with new_database("faults") as database_url:
        services = {"SUITE_DATABASE_URL": database_url, "SUITE_BROKER_URL": os.environ["SUITE_BROKER_URL"]}
        installation = Installation(folder, tmp_path / "state", {**SHORT_LEASES, **services})
        try:
            installation.manage("migrate")
            kill_web_or_worker(installation)
        finally:
            installation.end()


def kill_web_or_worker(installation: Installation) -> None:
    start: dict[str, Callable[[], Process]] = {
        "web": installation.web,
        "worker": lambda: installation.worker("events"),
    }
    running = {name: begin() for name, begin in start.items()}
    installation.beat()
    running["web"].wait_for("running on")
    sender = Sender(installation, installation.key())
    sender.start()
    for _ in range(ROUNDS):
        time.sleep(random.uniform(1.0, 4.0))
        name = random.choice(["web", "worker"])
        running[name].kill()
        running[name] = start[name]()
    sender.is_over.set()
    sender.join(timeout=60)
    check_effects(installation, sender)


def test_the_count_would_see_a_lost_and_a_doubled_event(tmp_path: Path) -> None:
    folder = copy_project(tmp_path / "project", is_with_tally=True)
    installation = Installation(folder, tmp_path / "state")
    installation.manage("migrate")
    sender = Sender(installation, "")
    sender.accepted = [str(number) for number in range(ROUNDS * BATCH + 1)]
    rows = f"Effect.objects.bulk_create(Effect(name=str(n)) for n in range(1, {ROUNDS * BATCH + 1})) and 1"
    assert installation.query(rows) == 1
    with pytest.raises(AssertionError, match="lost"):
        check_effects(installation, sender)
    assert installation.query("[Effect.objects.create(name='0').pk, Effect.objects.create(name='1').pk] and 1") == 1
    with pytest.raises(AssertionError, match="doubled"):
        check_effects(installation, sender)
