"""Speed and quality, each beside its rival in the same run.

A benchmark is a module of `benchmarks/` with NAME, HELP and `run(**options) -> dict`, or an entry of a domain's
`benchmarks.py: BENCHMARKS = {name: run}`.
"""

from __future__ import annotations

import json
import pkgutil
import platform
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.core.management.base import CommandError

import benchmarks
from suite.domain import declared
from suite.management.plain import PlainCommand


@dataclass(frozen=True, slots=True)
class Benchmark:
    help: str
    run: Callable[..., dict[str, Any]]


class Command(PlainCommand):
    help = (
        "List the benchmarks, or run one and print its figures beside its rival's.\n\n"
        "Example:\n  manage.py benchmark\n  manage.py benchmark encoder texts=2000 --json"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="without a name, the list is printed")
        parser.add_argument("options", nargs="*", metavar="key=value", help="passed to the benchmark")
        parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
        parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]  # --json before key=value, too

    def handle(self, *args: Any, **options: Any) -> None:
        found = find_benchmarks()
        name = options["name"]
        if name is None:
            self.print_list(found, options["json"])
            return
        if name not in found:
            raise CommandError(f"There is no benchmark {name!r}; there are: {', '.join(sorted(found)) or 'none'}")
        try:
            figures = found[name].run(**parse_options(options["options"]))
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            raise CommandError(f"{name} does not take this option: {error}") from error
        self.print_figures({"name": name, **figures, "machine": platform.machine()}, options["json"])

    def print_list(self, found: dict[str, Benchmark], as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({name: benchmark.help for name, benchmark in sorted(found.items())}))
            return
        width = max(map(len, found), default=0)
        for name, benchmark in sorted(found.items()):
            self.stdout.write(f"{name:{width}}  {benchmark.help}")

    def print_figures(self, figures: dict[str, Any], as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(figures, default=str))
            return
        width = max(map(len, figures))
        for key, value in figures.items():
            text = f"{value:,.4g}" if isinstance(value, float) else str(value)
            self.stdout.write(f"{key:{width}}  {text}")


def find_benchmarks() -> dict[str, Benchmark]:
    """Every benchmark by name. Raises `CommandError` where two share one."""
    found: dict[str, Benchmark] = {}
    for info in pkgutil.iter_modules(benchmarks.__path__, "benchmarks."):
        module = import_module(info.name)
        if hasattr(module, "NAME"):
            add(found, module.NAME, Benchmark(module.HELP, module.run))
    for _, name, run in declared("benchmarks", "BENCHMARKS"):
        add(found, name, Benchmark((run.__doc__ or "").strip().split("\n")[0], run))
    return found


def add(found: dict[str, Benchmark], name: str, benchmark: Benchmark) -> None:
    if name in found:
        raise CommandError(f"Two benchmarks are called {name!r}; rename one")
    found[name] = benchmark


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """{"texts": 2000} of ["texts=2000"]: JSON where it reads as JSON, text otherwise."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key.isidentifier():
            raise CommandError(f"{pair!r} is not an option: write key=value")
        try:
            parsed[key] = json.loads(value)
        except ValueError:
            parsed[key] = value
    return parsed
