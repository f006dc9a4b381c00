"""Where a run is: plain data, which goes into its row, its state and its log."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

SMOOTHING = 0.95  # of the losses that are shown


@dataclass(slots=True)
class Progress:
    """`evaluations` are {"batch", "metrics": {task: primary metric}, "mean", "worse": tasks that the body was better at
    as it came, "seconds" or, of an average, "averaged": batches}, the first one of the body as it came; `curve` has
    {"batch", "losses": {task: smoothed}} for every hundredth of the run."""

    batch: int = 0
    batches: int = 0
    task: str = ""
    losses: dict[str, float] = field(default_factory=dict)
    learning_rate: float = 0.0  # of the last layer, at the last step
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    seconds_left: float = 0.0
    examples_a_second: float = 0.0
    megabytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def evaluated(self, metrics: dict[str, float], mean: float, **more: Any) -> None:
        first = self.evaluations[0]["metrics"] if self.evaluations else metrics
        worse = [name for name, value in metrics.items() if value < first.get(name, value)]
        self.evaluations.append({"batch": self.batch, "metrics": metrics, "mean": mean, "worse": worse} | more)

    def note(self, task: str, loss: float, *, seconds: float, share: float, at_once: int) -> None:
        """A batch of the task is done, one of those that `at_once` processes work on; `share` is how much of the run
        is."""
        self.task = task
        self.losses[task] = round(SMOOTHING * self.losses.get(task, loss) + (1 - SMOOTHING) * loss, 5)
        self.seconds, self.seconds_left = round(seconds, 1), round(seconds * (1 / max(share, 1e-6) - 1), 1)
        self.megabytes = peak_megabytes()
        if self.batch % max(1, self.batches // 100) < at_once:
            self.curve.append({"batch": self.batch, "losses": dict(self.losses)})


Report = Callable[[Progress], None]  # called after every batch; what it raises ends the run, which can be resumed


def peak_megabytes() -> int:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)
