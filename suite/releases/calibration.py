"""Choose the engine that runs a release on this machine: the fastest of those that keep its vectors and its heads.

Every candidate encodes the same sample in turn. It must give nearly the exact vectors, and no head may lose by it on
its validation examples. The choice stands beside the release; another machine makes its own. Imports torch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from django.conf import settings
from django.utils import timezone

from suite.encoder import checkpoint, engines
from suite.encoder.heads import Embedder, Head, class_indices, features_of, spread
from suite.encoder.metrics import METRICS
from suite.encoder.model import Encoder, pick_device
from suite.encoder.sample import sample_texts
from suite.releases import engine_choice
from suite.releases.comparison import Checks
from suite.releases.engine_choice import Choice, Measured
from suite.releases.heads import LabelledText

log = logging.getLogger(__name__)
AUTO = "auto"
QUICK = (engines.EXACT, engines.NARROW)  # candidates of a first release, which has to be there soon
QUICK_SECONDS, SECONDS = 2.0, 45.0  # after which no more rounds are made, nor, of all engines, further ones tried
QUICK_TEXTS, TEXTS = 48, 128  # of the sample
ROUNDS = 4  # at most; the best one counts
QUICK_EXAMPLES, EXAMPLES = 50, 400  # of a head
LEAST_COSINE = 0.99
MOST_LOSS = 0.005  # of a head's primary metric; and one example at least, which is noise


def load(folder: str | Path) -> Encoder:
    """The encoder of a folder or body, run by the engine that SUITE_ENGINE names or that was chosen for this machine,
    now where it was not before. Raises `CheckpointError`."""
    threads = settings.ENCODER_THREADS
    if settings.ENGINE != AUTO:
        return Encoder.load(str(folder), threads=threads, engine=settings.ENGINE)
    known = engine_choice.read(Path(folder)).get(machine())
    encoder = Encoder.load(str(folder), threads=threads, engine=known.engine if known else "")
    is_release = checkpoint.is_checkpoint(Path(folder))
    return calibrated(encoder, Path(folder), is_quick=True) if is_release and not known else encoder


def machine() -> str:
    """What the choice depends on, in words."""
    return f"{engines.capability(pick_device('auto'))}, {settings.ENCODER_THREADS or 'all'} threads"


def calibrated(
    encoder: Encoder,
    folder: Path,
    checks: Checks = (),
    *,
    is_quick: bool = False,
    say: Callable[[str], None] = log.info,
) -> Encoder:
    """The encoder with the engine that is best here, which is noted in the release's folder. Where SUITE_ENGINE names
    one, it is taken and nothing is measured. Raises `CheckpointError` where that one is not to be had."""
    if settings.ENGINE != AUTO:
        return encoder.with_engine(settings.ENGINE)
    choice = choose(encoder, checks, is_quick=is_quick)
    for measured in choice.table:
        say(f"Engine {measured.engine}: {measured.verdict}")
    say(f"Engine {choice.engine} is chosen for this machine ({machine()})")
    try:
        engine_choice.note(folder, machine(), choice)
    except OSError as error:  # a read-only folder: the choice is made again next time
        log.warning("the choice of the engine cannot be noted in %s (%s)", folder, error.strerror)
    return encoder.with_engine(choice.engine)


def choose(encoder: Encoder, checks: Checks = (), *, is_quick: bool = False) -> Choice:
    """Measure the candidates, the exact engine first."""
    wanted = QUICK if is_quick else [name for name in encoder.engine_names if name != engines.REFERENCE]
    names = [name for name in wanted if name in encoder.engine_names] or [encoder.engine_name]
    now = timezone.now().isoformat(timespec="seconds")
    if len(names) == 1:
        return Choice(names[0], now, ())
    deadline = time.monotonic() + (QUICK_SECONDS if is_quick else SECONDS)
    exact = encoder.with_engine(names[0])
    texts = sample_texts(encoder.tokenizer, QUICK_TEXTS if is_quick else TEXTS)
    expected = exact.embed(texts)
    reference = HeadCheck(exact, checks, QUICK_EXAMPLES if is_quick else EXAMPLES)
    ready: dict[str, Encoder] = {}
    table: dict[str, Measured] = {}
    for name in names:
        if name not in QUICK and time.monotonic() > deadline:
            table[name] = Measured(name, refused="there was no time left to measure it")
            continue
        try:
            candidate = exact if name == exact.engine_name else encoder.with_engine(name)
            table[name] = fidelity(candidate, texts, expected, reference)
            ready[name] = candidate
        except Exception as error:  # an engine's library may fail in ways of its own; the others serve
            log.warning("engine %s cannot be used (%s)", name, type(error).__name__)
            table[name] = Measured(name, refused=f"it failed: {type(error).__name__}")
    rates = timed(ready, texts, deadline)
    rows = [with_rate(measured, rates.get(name, 0.0)) for name, measured in table.items()]
    allowed = [row for row in rows if not row.refused] or rows[:1]  # the exact engine serves, whatever was measured
    best = max(allowed, key=lambda row: row.texts_a_second)
    return Choice(best.engine, now, tuple(rows))


def fidelity(candidate: Encoder, texts: Sequence[str], expected: np.ndarray, reference: HeadCheck) -> Measured:
    """Whether it keeps the vectors of `texts` and the heads."""
    cosines = np.einsum("nd,nd->n", candidate.embed(texts), expected)
    mean, least = float(cosines.mean()), float(cosines.min())
    if not mean >= LEAST_COSINE:
        return Measured(candidate.engine_name, 0.0, mean, least, refused=f"its mean cosine is {mean:.4f}")
    losses = {} if candidate is reference.exact else dict(reference.losses(candidate))
    worst = max(losses.values(), default=0.0)
    refused = [f"head {name} loses {loss:.4f}" for name, loss in losses.items() if loss > reference.allowed[name]]
    return Measured(candidate.engine_name, 0.0, mean, least, worst, "; ".join(refused))


class HeadCheck:
    """The heads' primary metrics with exact vectors, to compare others with."""

    def __init__(self, exact: Encoder, checks: Checks, most: int) -> None:
        self.exact = exact
        self.examples = [
            (exact.heads[spec.name], spread(examples.validation, most))
            for spec, examples in checks
            if spec.name in exact.heads and examples.validation
        ]
        self.allowed = {head.spec.name: max(MOST_LOSS, 1 / len(examples)) + 1e-9 for head, examples in self.examples}
        self.metrics: Mapping[str, float] = dict(self.measure(exact))

    def measure(self, encoder: Encoder) -> Iterator[tuple[str, float]]:
        for head, examples in self.examples:
            yield head.spec.name, primary_metric(head, encoder, examples)

    def losses(self, candidate: Encoder) -> Iterator[tuple[str, float]]:
        for name, value in self.measure(candidate):
            yield name, self.metrics[name] - value


def primary_metric(head: Head, encoder: Encoder, examples: Sequence[LabelledText]) -> float:
    """Higher is better; an expected calibration error is taken from 1."""
    labels = class_indices(head.spec, examples, "validation")
    inputs = [one for one, _ in examples]
    value = METRICS[head.spec.primary_metric](head.probabilities(features_of(encoder, head.spec, inputs)), labels)
    return 1 - value if head.spec.primary_metric == "ece" else value


def timed(encoders: Mapping[str, Embedder], texts: Sequence[str], deadline: float) -> dict[str, float]:
    """Texts a second of each in its best round; they take turns, so that all see the same machine."""
    best = dict.fromkeys(encoders, np.inf)
    for number in range(ROUNDS):
        if number and time.monotonic() > deadline:
            break
        for name, encoder in encoders.items():
            started = time.perf_counter()
            encoder.embed(texts)
            best[name] = min(best[name], time.perf_counter() - started)
    return {name: round(len(texts) / seconds, 1) for name, seconds in best.items()}


def with_rate(measured: Measured, rate: float) -> Measured:
    return Measured(
        measured.engine, rate, round(measured.mean_cosine, 6), round(measured.min_cosine, 6),
        round(measured.worst_loss, 5), measured.refused,
    )  # fmt: skip
