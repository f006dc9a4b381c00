"""Each import contract is kept, and is broken by a planted violation of it."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

ROOT: Path = settings.BASE_DIR

# contract id -> (file that gets the line, line)
VIOLATIONS = {
    "platform": ("suite/events/handling.py", "import domains.commerce.models"),
    "domains": ("domains/{other}/services.py", "import domains.commerce.models"),
    "workers": ("workers/events.py", "import domains.commerce.models"),
    "domain-workers": ("domains/commerce/services.py", "import workers.events"),
    "rooms": ("suite/index/selectors.py", "import suite.views"),
    "encoder": ("suite/encoder/model.py", "import django"),
    "torch": ("suite/releases/building.py", "import torch"),
    "web": ("suite/index/selectors.py", "def late() -> None:\n    import suite.encoder.model"),
}


def contracts() -> dict[str, str]:
    """Name of each contract by its id."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return {
        section.removeprefix("importlinter:"): parser[section]["name"]
        for section in parser.sections()
        if section.startswith("importlinter:")
    }


def lint(folder: Path) -> str:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    return subprocess.run([*command, "--no-cache"], cwd=folder, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source with a second domain in it, which the contract between domains needs."""
    folder = tmp_path_factory.mktemp("contracts")
    for name in ("suite", "domains", "workers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tests", "static"))
    shutil.copy(ROOT / ".importlinter", folder)
    other = folder / "domains" / "other"
    other.mkdir()
    (other / "__init__.py").touch()
    (other / "services.py").touch()
    return folder


def test_every_contract_is_kept(copied_tree: Path) -> None:
    output = lint(copied_tree)
    assert {name for name in contracts().values() if f"{name} KEPT" in output} == set(contracts().values()), output


def test_every_contract_has_a_planted_violation() -> None:
    assert VIOLATIONS.keys() == contracts().keys()


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_planted_violation_breaks_its_contract(copied_tree: Path, contract: str) -> None:
    path, line = VIOLATIONS[contract]
    file = copied_tree / path.format(other="other")
    before = file.read_text()
    file.write_text(f"{before}\n{line}\n")
    try:
        assert f"{contracts()[contract]} BROKEN" in lint(copied_tree)
    finally:
        file.write_text(before)


def test_the_platform_names_no_domain() -> None:
    """Not in code, templates and scripts; an example (a command's, or after "e.g.") may be one that works."""
    labels = [folder.parent.name for folder in (ROOT / "domains").glob("*/domain.py")]
    assert labels
    name = re.compile(
        rf"\b({'|'.join(labels)})(?![a-z ])", re.IGNORECASE
    )  # "not supported" and "support this" are English
    named = [
        f"{file.relative_to(ROOT)}:{number} {line.strip()}"
        for root in ("suite", "workers", "templates", "static")
        for file in sorted((ROOT / root).rglob("*"))
        if file.suffix in {".py", ".html", ".js", ".css"} and "tests" not in file.parts
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if name.search(line) and "manage.py" not in line and "e.g." not in line
    ]
    assert not named, "\n".join(named)
