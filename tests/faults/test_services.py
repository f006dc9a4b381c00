"""A service killed and started again under load: nothing accepted is lost, nothing is doubled, and it catches up."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.faults.load import SHORT_LEASES, Sender, check_effects, marks
from tests.project import SERVICES, Installation, copy_project, new_database, remove_indices, wait_until

PREFIX = "suite-faults"
NAMES = {"rabbitmq": "rabbitmq", "elasticsearch": "elasticsearch", "postgresql": "postgres"}


def service(command: str, *arguments: str) -> None:
    folder = Path(os.environ["SUITE_SERVICES"])
    subprocess.run([str(folder / command), *arguments], check=True, capture_output=True, timeout=180)


def item(number: int) -> dict[str, object]:
    data = {"item_id": f"item-{number}", "title": f"Lamp number {number}", "catalogue": "lamps"}
    return {
        "specversion": "1.0", "id": f"item-{number}", "source": "test", "type": "commerce.item.changed", "data": data,
    }  # fmt: skip


@pytest.mark.faults
@pytest.mark.services("postgres", "rabbitmq", "redis", "elasticsearch")
@pytest.mark.skipif("SUITE_SERVICES" not in os.environ, reason="needs SUITE_SERVICES")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_service_costs_nothing_that_was_accepted(tmp_path: Path, name: str) -> None:
    folder = copy_project(tmp_path / "project", is_with_tally=True)
    with new_database(f"down_{name}") as database_url:
        services = {variable: os.environ[variable] for variable in SERVICES}
        services |= {"SUITE_DATABASE_URL": database_url, "SUITE_INDEX_PREFIX": PREFIX}
        installation = Installation(folder, tmp_path / "state", {**SHORT_LEASES, **services})
        try:
            installation.up("--no-sample").wait_for("Suite is ready")
            kill_under_load(installation, name)
        finally:
            service("up", name)
            installation.end()
            remove_indices(services["SUITE_ELASTICSEARCH_URL"], PREFIX)


def kill_under_load(installation: Installation, name: str) -> None:
    key = installation.key()
    assert installation.post(key, map(item, range(20))).status_code == 202
    sender = Sender(installation, key, marks())
    sender.start()
    time.sleep(3)
    service("down", "--kill", name)
    time.sleep(3)
    if name == "elasticsearch":
        assert installation.post(key, [item(20)]).status_code == 202
        answer = recommended(installation, key)
        assert answer["items"], "an index that is away leaves the list poorer, never empty"
    if name != "postgresql":
        assert httpx.get(f"{installation.address}/health/ready").json()["parts"]["database"]["status"] == "ok"
    service("up", name)
    time.sleep(3)
    assert installation.post(key, [item(21)]).status_code == 202
    sender.is_over.set()
    sender.join(timeout=60)
    check_effects(installation, sender)
    behind = "sum(g.collection.last_sequence - g.synced_sequence for g in Generation.objects.filter(state='active'))"
    wait_until(lambda: installation.query(behind) == 0, 120, "the index to catch up")
    stored = "Item.objects.filter(catalogue__slug='lamps').count()"
    assert installation.query(stored) == (22 if name == "elasticsearch" else 21)


def recommended(installation: Installation, key: str) -> dict[str, list[object]]:
    answer = httpx.get(
        f"{installation.address}/api/commerce/users/ada/recommendations?catalogue=lamps",
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()
