"""What TensorBoard shows of a run: losses by task, primary metrics, the learning rate and the examples per second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from suite.encoder.training.progress import Progress, Report

EVERY = 10  # batches between two notes of the losses
FLUSH_SECONDS = 10


@contextmanager
def logged(folder: Path, say: Callable[[str], None], report: Report) -> Iterator[Report]:
    """`report`, and the same written into the folder. Without the package that is said, and nothing is written.

    Where a run goes on at a batch, what an earlier life wrote of that batch and later ones is not shown any more.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        say("Not logged for TensorBoard: the extra `tensorboard` is not installed")
        yield report
        return
    writer: SummaryWriter | None = None
    shown = 0  # evaluations

    def note(progress: Progress) -> None:
        nonlocal writer, shown
        report(progress)
        batch, found = progress.batch, progress.evaluations
        if writer is None:
            writer = SummaryWriter(str(folder), purge_step=batch if batch > 1 else None, flush_secs=FLUSH_SECONDS)
            shown = sum(one["batch"] < batch - 1 for one in found)
        if batch % EVERY == 0 or len(found) > shown:
            for task, loss in progress.losses.items():
                writer.add_scalar(f"loss/{task}", loss, batch)
            writer.add_scalar("learning rate", progress.learning_rate, batch)
            writer.add_scalar("examples per second", progress.examples_a_second, batch)
        for one in found[shown:]:
            for task, metric in one["metrics"].items():
                writer.add_scalar(f"metric/{task}", metric, one["batch"])
            writer.add_scalar("metric/mean", one["mean"], one["batch"])
        shown = len(found)

    try:
        yield note
    finally:
        if writer is not None:
            writer.close()
