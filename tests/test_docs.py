"""The documents are true: every setting, command, metric and link that they name exists, and every one is named."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

ROOT: Path = settings.BASE_DIR
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def own_commands() -> dict[str, str]:
    """App of each command that this project has."""
    return {name: app for name, app in get_commands().items() if app.split(".")[0] in {"suite", "domains"}}


def test_every_setting_is_documented_and_no_other() -> None:
    source = (ROOT / "suite" / "settings.py").read_text()
    settings_there = set(re.findall(r'"(SUITE_\w+)"', source)) - {"SUITE_"}
    documented = set(re.findall(r"^\| `(SUITE_\w+)`", OPERATIONS, re.MULTILINE))
    assert settings_there == documented


def test_every_command_is_documented_and_no_other() -> None:
    table = OPERATIONS.split("## Commands")[1].split("## ")[0]
    documented = {
        name.split()[0]
        for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    }
    assert set(own_commands()) == documented


@pytest.mark.parametrize("name", sorted(own_commands()))
def test_every_command_has_help_with_an_example(name: str) -> None:
    parser = load_command_class(own_commands()[name], name).create_parser("manage.py", name)
    assert f"manage.py {name}" in f"{parser.description} {parser.epilog}", "no example"


def test_every_documented_metric_is_collected() -> None:
    documented = set(re.findall(r"^\| `(suite_\w+)`", OPERATIONS, re.MULTILINE))
    source = (ROOT / "suite" / "events" / "health.py").read_text()
    assert documented
    assert not {name for name in documented if f'"{name}"' not in source}


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                yield page, target


@pytest.mark.parametrize(("page", "target"), [pytest.param(*link, id=f"{link[0].name}-{link[1]}") for link in links()])
def test_every_link_leads_somewhere(page: Path, target: str) -> None:
    assert (page.parent / target).exists()


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)", page.read_text())}
    assert named and named <= targets


def test_no_file_names_a_machine_or_a_registry() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    told = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/|pypi\.org|files\.pythonhosted|download\.pytorch")
    assert not [
        name
        for name in files
        if Path(name).suffix in {".py", ".md", ".toml", ".yml", ".html", ".js", ".css", ""}
        and (ROOT / name).is_file()
        and told.search((ROOT / name).read_text())
        and name != "tests/test_docs.py"
    ]
