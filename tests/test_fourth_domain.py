"""A domain made by copying a folder needs no other edit: docs/adding-a-domain.md, step by step, in a copy."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.project import ROOT, Installation, copy_project, wait_until

STEPS = re.search(r"## In five minutes\n\n```\n(.*?)```", (ROOT / "docs" / "adding-a-domain.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A copy of the project after the documented steps, up to `make run`."""
    folder = copy_project(tmp_path_factory.mktemp("fourth") / "project")
    installation = Installation(folder, folder / "var")
    assert STEPS is not None
    for line in STEPS[1].splitlines():
        command = line.split("#")[0].strip()
        if command.startswith(".venv/bin/python manage.py"):
            installation.manage(*shlex.split(command)[2:])
        elif command != "make run":
            subprocess.run(command, shell=True, cwd=folder, check=True)
    yield installation
    installation.end()


def test_it_is_found(installation: Installation) -> None:
    found = json.loads(installation.manage("domains", "--json"))
    assert {"commerce", "fruit"} <= found.keys()
    installation.manage("check")
    installation.manage("makemigrations", "--check", "--dry-run")
    assert "fruit.items" in installation.manage("load", "--help")


def test_an_event_goes_the_whole_way(installation: Installation) -> None:
    installation.up("--no-sample")
    key = installation.key()
    item = {"item_id": "pear", "title": "A ripe pear", "catalogue": "basket"}
    event = {"specversion": "1.0", "id": "1", "source": "test", "type": "fruit.item.changed", "data": item}
    answer = installation.post(key, [event])
    assert [result["status"] for result in answer.json()["results"]] == ["accepted"], answer.text
    wait_until(lambda: installation.query("PendingEvent.objects.count()") == 0, 60, "handling")
    assert installation.query("DeadLetter.objects.count()") == 0

    def recommended() -> list[str]:
        answer = httpx.get(
            f"{installation.address}/api/fruit/users/ada/recommendations?catalogue=basket",
            headers={"Authorization": f"Bearer {key}"},
        )
        assert answer.status_code == 200, answer.text
        return [item["item_id"] for item in answer.json()["items"]]

    wait_until(lambda: recommended() == ["pear"], 60, "a recommendation")
    assert httpx.get(f"{installation.address}/fruit/", follow_redirects=True).status_code == 200
    assert httpx.get(f"{installation.address}/commerce/", follow_redirects=True).status_code == 200


def test_import_contracts_hold_for_it(installation: Installation) -> None:
    command = ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]
    process = installation.run(*command)
    process.process.wait()
    process.reader.join()
    assert "0 broken" in process.output, process.output
