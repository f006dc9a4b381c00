"""`manage.py up`, as its user meets it: a real process."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.project import ROOT, Installation, Process


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(ROOT, tmp_path / "state")
    yield installation
    installation.end()


def refused(suite: Installation, *arguments: str, **environment: str) -> str:
    """What a start that is refused says; it must end by itself, with status 1 and no traceback."""
    process = suite.run("manage.py", "up", *arguments, **environment)
    assert process.process.wait(timeout=60) == 1
    process.reader.join()
    assert "Traceback" not in process.output
    return process.output.strip()


def test_it_serves_pages_and_says_how_to_go_on(suite: Installation) -> None:
    process = suite.up("--no-sample")
    assert httpx.get(suite.address).status_code == 200
    assert httpx.get(f"{suite.address}/health/live").status_code == 200
    process.wait_for("Suite is ready")
    assert process.output.strip().splitlines()[-1].startswith("Next:")
    assert "Log in" not in process.output, "without the sample there is no demo log-in"


def test_a_second_one_on_the_same_state_is_refused_in_one_line(suite: Installation) -> None:
    suite.up("--no-sample")
    said = refused(suite, "--port", "0")
    assert "already runs" in said and suite.address in said and len(said.splitlines()) == 1


def test_a_taken_port_is_refused_in_one_line(suite: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(suite, "--port", str(port))
    assert str(port) in said and "PORT=" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "environment",
    [{"PORT": "eighty"}, {"SUITE_DATABASE_URL": "mysql://somewhere/x"}, {"SUITE_LEASE_SECONDS": "soon"}],
    ids=lambda environment: next(iter(environment)),
)
def test_a_bad_setting_is_refused_in_one_line_that_names_it(suite: Installation, environment: dict[str, str]) -> None:
    said = refused(suite, **environment)
    assert next(iter(environment)) in said and len(said.splitlines()) == 1


def test_an_unwritable_state_folder_is_refused_in_one_line(suite: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refused(suite, SUITE_STATE=str(tmp_path / "file" / "state"))
    assert "SUITE_STATE" in said and len(said.splitlines()) == 1


def test_a_database_that_is_away_is_refused_in_one_line(suite: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = refused(suite, "--port", "0", SUITE_DATABASE_URL=f"postgres://nobody@127.0.0.1:{port}/none")
    assert "database" in said.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_stops_cleanly_when_told_to(suite: Installation, number: int) -> None:
    process = suite.up("--no-sample")
    assert process.stop(number) == 0
    assert "Traceback" not in process.output
    with pytest.raises(httpx.ConnectError):
        httpx.get(suite.address)


def log_in(address: str) -> httpx.Response:
    with httpx.Client(base_url=address, follow_redirects=True) as client:
        client.get("/admin/login/")
        return client.post(
            "/admin/login/?next=/admin/",
            data={"username": "operator", "password": "operator", "csrfmiddlewaretoken": client.cookies["csrftoken"]},
        )


def test_the_demo_login_is_made_only_for_the_demo(suite: Installation) -> None:
    process = suite.up()
    process.wait_for("Suite is ready")
    assert "operator" in process.output
    assert log_in(suite.address).url.path == "/admin/"


def test_a_public_address_gets_no_demo_login_and_none_may_be_left(suite: Installation) -> None:
    process: Process = suite.up("--host", "0.0.0.0")
    process.stop()
    assert suite.query("User.objects.count()") == 0
    suite.up().stop()
    assert suite.query("User.objects.count()") == 1
    assert "changepassword" in refused(suite, "--host", "0.0.0.0", "--port", "0")


def test_a_command_on_an_unmigrated_database_is_refused_in_one_line(suite: Installation) -> None:
    process = suite.run("manage.py", "dead-letters", "list")
    assert process.process.wait(timeout=60) == 1
    process.reader.join()
    assert len(process.lines) == 1
    assert "manage.py migrate" in process.output
