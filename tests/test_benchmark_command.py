"""`manage.py benchmark`: how options may be written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import call_command

from suite.management.commands import benchmark


@pytest.mark.parametrize("arguments", [("echo", "items=5", "--json"), ("echo", "--json", "items=5")])
def test_options_stand_before_or_after_the_switches(monkeypatch: Any, capsys: Any, arguments: tuple[str, ...]) -> None:
    found = {"echo": benchmark.Benchmark("", lambda items: {"items": items})}
    monkeypatch.setattr(benchmark, "find_benchmarks", lambda: found)
    call_command("benchmark", *arguments)
    assert json.loads(capsys.readouterr().out)["items"] == 5
