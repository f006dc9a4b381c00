"""What every test can count on: which services it runs against, and a plain word about what was left out.

A test that needs a real service is marked `@pytest.mark.services("elasticsearch", ...)` and skipped where no
`SUITE_*_URL` names it.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter

import pytest
from django.conf import settings

VARIABLES = {
    "postgres": "SUITE_DATABASE_URL",
    "rabbitmq": "SUITE_BROKER_URL",
    "redis": "SUITE_REDIS_URL",
    "elasticsearch": "SUITE_ELASTICSEARCH_URL",
}
HOW_TO_START = {
    **{
        f"needs {variable}": f"docker compose up -d {service}, then set {variable}"
        for service, variable in VARIABLES.items()
    },
    "needs Chromium": "apt-get install chromium",
    "needs SUITE_SERVICES": "set SUITE_SERVICES to a folder with `up` and `down`, which start and stop the services",
}


def pytest_configure() -> None:
    """Releases of tests are run by the exact engine, here and in processes that tests start: nothing is measured. All
    visitors of tests have one address, which may begin any number of conversations."""
    os.environ["SUITE_ENGINE"] = settings.ENGINE = "torch-fp32"
    os.environ["SUITE_STARTS_AN_HOUR"], settings.STARTS_AN_HOUR = "0", 0


def pytest_report_header() -> str:
    used = [service for service, variable in VARIABLES.items() if os.environ.get(variable)]
    return f"suite: {', '.join(used) or 'embedded, on SQLite alone'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("services"):
            missing = [VARIABLES[name] for name in mark.args if not os.environ.get(VARIABLES[name])]
            for variable in missing:
                item.add_marker(pytest.mark.skip(reason=f"needs {variable}"))
        if item.get_closest_marker("browser") and not shutil.which("chromium"):
            item.add_marker(pytest.mark.skip(reason="needs Chromium"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skipped[reason.removeprefix("Skipped: ")] += 1
    if not skipped:
        return
    terminalreporter.section("left out")
    for reason, count in skipped.most_common():
        start = next((how for what, how in HOW_TO_START.items() if what in reason), "")
        terminalreporter.line(f"{count} test{'s' if count > 1 else ''}: {reason}" + (f" ({start})" if start else ""))
