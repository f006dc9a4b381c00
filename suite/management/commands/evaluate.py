"""Measure a release on held-out data: `manage.py evaluate NAME --data FILE`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from suite.domain import declared
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.heads import HeadMissing
from suite.encoder.model import Encoder
from suite.formats import FormatError
from suite.management.plain import PlainCommand
from suite.releases import runtime, selectors
from suite.releases.comparison import ACTIVE
from suite.releases.evaluation import Evaluation, EvaluationError, Report, Request
from suite.releases.measures import RELEASE, Measure, intervals
from suite.releases.selectors import NoSuchRelease
from suite.releases.snapshot import unknown_fields

HEADING = "  95% of release"
SHOWN_PROBLEMS = 20  # bad lines that are told one by one


class Command(PlainCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        names = "\n".join(f"  {name:24} {evaluation.help}" for name, evaluation in sorted(evaluations().items()))
        return (
            "Measure a release on data that it has not seen. Exit status 2 where the release has no head for it.\n\n"
            f"evaluations:\n{names or '  none'}\n\n"
            "Example:\n  manage.py evaluate shop.sales --data ratings.jsonl --baselines --json"
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="an evaluation of the list above")
        parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="records that hold the answers")
        parser.add_argument("--against", type=Path, nargs="+", default=[], metavar="FILE", help="what is ranked")
        parser.add_argument("--release", default="", metavar="ID|DIR", help="default: the active release")
        parser.add_argument("--baselines", action="store_true", help="measure the simple rivals, too")
        parser.add_argument("--cut", type=moment, metavar="DATE", help="hold out what came at or after this time (UTC)")
        parser.add_argument("--option", type=pair, action="append", default=[], metavar="NAME=VALUE")
        parser.add_argument("--json", action="store_true", help="one JSON object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        evaluation = evaluations().get(options["name"])
        if evaluation is None:
            known = ", ".join(sorted(evaluations())) or "none"
            raise CommandError(f"There is no evaluation {options['name']!r}; there are: {known}")
        for path in (options["data"], *options["against"]):
            if not path.exists():
                raise CommandError(f"{path}: there is no such file")

        @cache
        def encoder() -> Encoder:
            return runtime.resolve(options["release"])

        request = Request(
            data=options["data"],
            encoder=encoder,
            against=tuple(options["against"]),
            has_baselines=options["baselines"],
            cut=options["cut"],
            options=dict(options["option"]),
        )
        started = time.monotonic()
        with clear_errors():
            if options["release"]:
                encoder()  # one that is not there is said before anything is measured
            report = evaluation.run(request)
            for problem in report.bad[:SHOWN_PROBLEMS]:
                self.stderr.write(f"line {problem.line}: {problem.reason}")
            if report.bad:
                self.stderr.write(f"{len(report.bad):,} bad lines were left out")
            for note in report.notes:
                self.stderr.write(note)
            if unknown := unknown_fields(options["name"], options["data"]):
                self.stderr.write(unknown)
            if options["baselines"]:
                report = beside_active(report, evaluation, request)
            answer = as_json(options["name"], report, encoder, time.monotonic() - started)
        self.stdout.write(json.dumps(answer) if options["json"] else as_text(answer))


@contextmanager
def clear_errors() -> Iterator[None]:
    """What is wrong with the data or the release ends the command with one line."""
    try:
        yield
    except HeadMissing as error:
        raise CommandError(str(error), returncode=2) from error
    except (EvaluationError, FormatError, CheckpointError, NoSuchRelease) as error:
        raise CommandError(str(error)) from error
    except DatabaseError as error:
        raise CommandError(f"the database cannot be read ({type(error).__name__}); is it up, and migrated?") from error


def beside_active(report: Report, evaluation: Evaluation, request: Request) -> Report:
    """The report with the active release among the baselines, where that is another one that can be measured."""
    try:
        active = selectors.active()
    except DatabaseError:  # there is none yet: a folder can be measured without one
        return report
    if active is None or active.fingerprint == request.encoder().fingerprint:
        return report
    try:
        other = evaluation.run(
            replace(request, encoder=lambda: runtime.encoder_for(active.fingerprint), has_baselines=False)
        )
    except (HeadMissing, EvaluationError, CheckpointError):
        return report
    both = report.measure and other.measure and together(report.measure, other.measure)
    return replace(report, baselines={ACTIVE: other.metrics, **report.baselines}, measure=both)


def together(ours: Measure, theirs: Measure) -> Measure:
    return lambda rows: ours(rows) | {ACTIVE: theirs(rows)[RELEASE]}


@cache
def evaluations() -> dict[str, Evaluation]:
    """Every evaluation that a domain declares, by name."""
    return {name: evaluation for _, name, evaluation in declared("evaluations", "EVALUATIONS")}


def moment(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError
    return name, value


def as_json(name: str, report: Report, encoder: Callable[[], Encoder], seconds: float) -> dict[str, Any]:
    """What is printed; numbers that are not defined are null. Intervals and leads over the baselines are of 95%."""
    return {
        "name": name,
        "n": report.n,
        "release": encoder().fingerprint,
        "metrics": defined(report.metrics),
        "baselines": {rival: defined(metrics) for rival, metrics in report.baselines.items()},
        "protocol": report.protocol,
        "seconds": round(seconds, 2),
        **(certainty(report.measure, report.n) if report.measure else {}),
        **report.details,
    }


def certainty(measure: Measure, count: int) -> dict[str, Any]:
    own, leads = intervals(measure, count)
    return {"intervals": own.pop(RELEASE), "baseline_intervals": own, "leads": leads}


def defined(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}


def as_text(answer: Mapping[str, Any]) -> str:
    """A table: a line a metric, a column the release and each rival."""
    columns = {"release": answer["metrics"], **answer["baselines"]}
    width = max(map(len, answer["metrics"]), default=0)
    lines = [f"{answer['name']}, {answer['n']:,} cases, release {answer['release']}", answer["protocol"], ""]
    lines.append(" " * width + "".join(f"  {column:>12}" for column in columns) + HEADING * ("intervals" in answer))
    for metric in answer["metrics"]:
        cells = (metrics.get(metric) for metrics in columns.values())
        shown = (f"  {cell:>12.4f}" if cell is not None else f"  {'-':>12}" for cell in cells)
        ends = answer.get("intervals", {}).get(metric)
        interval = f"  {ends[0]:.4f} to {ends[1]:.4f}" if ends else ""
        lines.append(f"{metric:{width}}" + "".join(shown) + interval)
    if "ece" in answer:
        lines += [
            "",
            "calibration error {before:.4f} before temperature scaling, {after:.4f} after it".format(**answer["ece"]),
        ]
    return "\n".join(lines)
