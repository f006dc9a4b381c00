"""From what agents did to examples: each suggestion of a decided run, taken or not, with how much it counts.

Nobody looks at all places alike, so the places are made up for. One that was taken counts more the less likely its
place was looked at (inverse propensity: Joachims, Swaminathan and Schnabel, Unbiased Learning-to-Rank with Biased
Feedback, WSDM 2017). One that was not taken counts by the probability that it was looked at and not wanted, rather than
not looked at (the position-based model, Chuklin, Markov and de Rijke, Click Models for Web Search, 2015); what stood
above one that was taken was looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domains.support.models import Feedback, Suggestion
from domains.support.suggesting.features import FEATURES
from domains.support.suggesting.past import DECIDED, TAKEN, examination

MOST_RUNS = 5_000  # newest ones that are learned from
SLIGHT = 0.2  # how much a rejection counts that is not about being right
SLIGHT_REASONS = ("tone", "duplicate")


@dataclass(frozen=True, slots=True)
class DecidedRun:
    """The suggestions of one question in the order they were shown: features (n, f), taken (n,), how much each counts
    (n,). What an agent found by hand and was not even considered has no features, and is left out."""

    features: np.ndarray
    taken: np.ndarray
    counts: np.ndarray


def decided_runs(fingerprint: str) -> list[DecidedRun]:
    """Every run under a release that an agent decided on, oldest first."""
    feedback = Feedback.objects.filter(release=fingerprint).order_by("at", "event")
    newest = {one.suggestion_id: one for one in feedback}
    runs: dict[int, list[Suggestion]] = defaultdict(list)
    rows = Suggestion.objects.filter(release=fingerprint, run__suggestions__feedback__isnull=False, state__in=DECIDED)
    for row in rows.distinct().order_by("run", "position"):
        runs[row.run_id].append(row)
    latest = [runs[run] for run in sorted(runs)[-MOST_RUNS:]]
    return [example_of(rows, newest) for rows in latest if any(row.features for row in rows)]


def example_of(rows: Sequence[Suggestion], feedback: dict[int, Feedback]) -> DecidedRun:
    lowest = max((row.position for row in rows if row.state in TAKEN), default=0)
    rows = [row for row in rows if row.features]
    return DecidedRun(
        np.array([[row.features.get(name, 0.0) for name in FEATURES] for row in rows]),
        np.array([row.state in TAKEN for row in rows]),
        np.array([count_of(row, feedback.get(row.pk), lowest) for row in rows]),
    )


def count_of(row: Suggestion, feedback: Feedback | None, lowest: int) -> float:
    """How much a suggestion says; `lowest` is the last position that was taken, 0 where none was."""
    looked = examination(row.position)
    if row.state in TAKEN:
        return (1.0 - (feedback.edit_distance if feedback else 0.0)) / looked
    if row.state == Suggestion.State.REJECTED:
        return SLIGHT if feedback and feedback.reason in SLIGHT_REASONS else 1.0
    if row.position < lowest:
        return 1.0
    return looked * (1 - row.confidence) / (1 - looked * row.confidence)
