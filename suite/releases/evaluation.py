"""How a domain measures a release: `evaluations.py: EVALUATIONS = {"<label>.<format>": Evaluation(run)}`. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from suite.formats import Problem
from suite.releases.measures import Measure

SHOWN_LABELS = 5


class Scorer(Protocol):
    """What an evaluation may ask of the encoder it measures; see `suite.encoder.model.Encoder`."""

    dimensions: int

    @property
    def fingerprint(self) -> str: ...
    def embed(self, texts: Sequence[str]) -> np.ndarray: ...
    def classify(self, head: str, texts: Sequence[str]) -> np.ndarray: ...
    def score_pairs(self, pairs: Sequence[tuple[str, str]], head: str) -> np.ndarray: ...


class EvaluationError(Exception):
    """Data that cannot be evaluated; the message names the file, the field and the mend."""


@dataclass(frozen=True, slots=True)
class Request:
    """What `manage.py evaluate` was asked for. `encoder()` loads the release on its first call, and only then."""

    data: Path
    encoder: Callable[[], Scorer]
    against: tuple[Path, ...] = ()
    has_baselines: bool = False
    cut: datetime | None = None
    options: Mapping[str, str] = field(default_factory=dict)  # of --option NAME=VALUE, for one evaluation's own needs


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured on `n` cases. Metric names in lower case: ndcg@10, mrr, accuracy, macro_f1, ..."""

    n: int
    metrics: Mapping[str, float]
    protocol: str  # one sentence: what was held out and what was ranked
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)  # more keys for the JSON, e.g. a table per class
    measure: Measure | None = None  # of the release and the baselines on some of the cases, for intervals
    bad: Sequence[Problem] = ()  # lines that were left out
    notes: Sequence[str] = ()  # what whoever reads the figures must know


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One protocol. `run` raises `EvaluationError`, and lets `HeadMissing` of the encoder through."""

    run: Callable[[Request], Report]
    help: str = ""


def unknown_labels(labels: Sequence[str], unknown: Sequence[str]) -> tuple[str, ...]:
    """The note on records whose labels are among the `unknown` ones; none where there are none."""
    count = sum(label in unknown for label in labels)
    if not count:
        return ()
    shown = ", ".join(map(repr, unknown[:SHOWN_LABELS]))
    more = f" and {len(unknown) - SHOWN_LABELS:,} more" if len(unknown) > SHOWN_LABELS else ""
    return (f"counted as wrong, since the head does not have their label: {count:,} of {len(labels):,} records "
            f"({shown}{more})",)  # fmt: skip
