"""What the active release decides of live traffic: a domain's `decisions.py: DECISIONS = {head: LiveDecisions(...)}`.

Plain data, no torch: a shadow compares a candidate with these rows, and the admin shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from suite.domain import declared


@dataclass(frozen=True, slots=True)
class Decision:
    """One row that holds what a head said: its inputs, as the head takes them, the likeliest label with its calibrated
    probability, and the page that shows it. Inputs are masked where the domain masks."""

    id: int
    inputs: str | tuple[str, str]
    label: str
    probability: float
    url: str

    @property
    def text(self) -> str:
        return self.inputs if isinstance(self.inputs, str) else " / ".join(self.inputs)


@dataclass(frozen=True, slots=True)
class LiveDecisions:
    """Where the decisions of one head stand.

    `rows()` are of a model with a growing id and the column `release`, the fingerprint that decided; `read(rows)` gives
    the decisions of some of them, and leaves out those that the head did not decide.
    """

    rows: Callable[[], QuerySet[Any]]
    read: Callable[[Sequence[Any]], list[Decision]]

    def of(self, ids: Sequence[int]) -> list[Decision]:
        """Those that are still there, in the order of their ids."""
        return self.read(list(self.rows().filter(pk__in=ids).order_by("pk"))) if ids else []


def live_decisions() -> dict[str, LiveDecisions]:
    """Every head that decides of live traffic, in order."""
    return {head: found for _, head, found in sorted(declared("decisions", "DECISIONS"), key=lambda each: each[1])}
