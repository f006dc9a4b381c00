"""How often a release in shadow and the active one disagree: for the admin and the command line. No torch in here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from suite.releases.decisions import Decision, live_decisions
from suite.releases.models import Shadow


@dataclass(frozen=True)
class Disagreement:
    """Two labels with their calibrated probabilities; `decision` is None where its row is gone."""

    id: int
    active_label: str
    active_probability: float
    shadow_label: str
    shadow_probability: float
    decision: Decision | None = None


@dataclass(frozen=True)
class HeadReport:
    """What was counted of one head. `is_missing` where the release in shadow was made without it."""

    head: str
    is_missing: bool
    counts: dict[str, dict[str, int]]  # {the active one's label: {the shadow's label: decisions}}
    examples: list[Disagreement]

    @property
    def compared(self) -> int:
        return sum(sum(row.values()) for row in self.counts.values())

    @property
    def differing(self) -> int:
        return sum(n for active, row in self.counts.items() for label, n in row.items() if label != active)

    @property
    def rate(self) -> float:
        """Share of the decisions that differ; 0 where none was compared."""
        return self.differing / max(self.compared, 1)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95% interval of the rate, (0, 1) where none was compared. Wilson, Probable Inference, the Law of Succession,
        and Statistical Inference, 1927."""
        if not self.compared:
            return 0.0, 1.0
        from scipy.stats import binomtest  # slow to import

        found = binomtest(self.differing, self.compared).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    @property
    def summary(self) -> str:
        """In words."""
        if self.is_missing:
            return "the release has no such head"
        if not self.compared:
            return "nothing was compared yet"
        low, high = self.interval
        return f"{self.differing:,} of {self.compared:,} differ: {self.rate:.1%} (95% interval {low:.1%} to {high:.1%})"

    @property
    def labels(self) -> list[str]:
        """Of either release, in alphabetical order."""
        return sorted({*self.counts, *(label for row in self.counts.values() for label in row)})

    @property
    def matrix(self) -> list[tuple[str, list[tuple[int, int]]]]:
        """(the active one's label, of each label of the shadow in the order of `labels`: decisions, and their per cent
        of the row)."""
        rows = [(label, self.counts.get(label, {})) for label in self.labels]
        return [
            (
                label,
                [(row.get(one, 0), round(100 * row.get(one, 0) / max(sum(row.values()), 1))) for one in self.labels],
            )
            for label, row in rows
        ]

    def as_dict(self) -> dict[str, Any]:
        """For a program: figures and references, without anybody's text."""
        names = ("head", "is_missing", "compared", "differing", "rate", "interval", "counts")
        kept = (asdict(one) for one in self.examples)
        examples = [{name: value for name, value in one.items() if name != "decision"} for one in kept]
        return {name: getattr(self, name) for name in names} | {"examples": examples}


def report(shadow: Shadow) -> list[HeadReport]:
    """Of every head that decides of live traffic."""
    found = []
    for head, decisions in live_decisions().items():
        kept = shadow.examples.get(head, [])
        rows = {one.id: one for one in decisions.of([example[0] for example in kept])}
        examples = [
            Disagreement(number, active, sure, label, surely, rows.get(number))
            for number, active, sure, label, surely in kept
        ]
        found.append(HeadReport(head, head not in shadow.release.metrics, shadow.counts.get(head, {}), examples))
    return found
