"""Let a release score live traffic beside the active one, and count where they disagree.

What the active release decided stands in the domains' rows (`decisions`). A worker reads a sample of those that are
new, a batch at a time, and scores them with the release in shadow: no request and no event waits for that, and its
encoder lets every other call go before. A batch's counts and its cursor are one statement, so a decision counts once
whoever is killed. Imports torch: for workers only.
"""

from __future__ import annotations

import logging
import time
from random import Random

from django.db import transaction

from suite.encoder.checkpoint import CheckpointError
from suite.encoder.model import Encoder
from suite.events.database import UNAVAILABLE
from suite.jobs import held
from suite.live.broadcast import broadcast
from suite.releases import runtime, selectors, services
from suite.releases.decisions import Decision, LiveDecisions, live_decisions
from suite.releases.models import Shadow

log = logging.getLogger(__name__)
LEASE = "suite.shadow"
RECENT = 1_000  # decisions of a head that are there already when it begins, and are looked at, too
BATCH = 64  # decisions scored at once
TURN_SECONDS = 5.0  # a task ends then; the sweep rings again
EXAMPLES = 20  # disagreements kept a head, the newest
MAX_FAILURES = 3  # unexpected ones, before it ends


def score_live_traffic() -> None:
    """Bring the running shadow forward for a while; does nothing where there is none or another worker is at it."""
    if not selectors.running_shadow():
        return
    with held(LEASE) as is_ours:
        shadow = selectors.running_shadow() if is_ours else None
        if shadow is not None:
            attempt(shadow)


def attempt(shadow: Shadow) -> None:
    """Bring one forward, or end it where it has nothing to compare with any more or cannot be loaded."""
    active = selectors.active()
    if active != shadow.active:
        services.end_shadow(shadow, f"release {active} serves now")
        return
    try:
        bring_forward(shadow)
    except (CheckpointError, runtime.NoRelease) as error:
        services.end_shadow(shadow, str(error))
    except UNAVAILABLE as error:
        log.warning("%s waits: %s", shadow, type(error).__name__)
    except Exception as error:  # whatever it is, the active release serves on and the row says what happened
        log.exception("%s failed", shadow)
        failures, reason = shadow.failures + 1, f"{type(error).__name__}: {error}"
        Shadow.objects.filter(pk=shadow.pk, is_running=True).update(failures=failures, message=reason)
        if failures >= MAX_FAILURES:
            services.end_shadow(shadow, f"failed {failures} times, the last time with {reason}")


def bring_forward(shadow: Shadow) -> None:
    """Score what is new of every head that the release has, for `TURN_SECONDS` at most."""
    encoder = runtime.encoder_for(shadow.release_id).yielding()
    deadline = time.monotonic() + TURN_SECONDS
    for head, decisions in live_decisions().items():
        if head in encoder.heads:
            while time.monotonic() < deadline and score_batch(shadow, head, decisions, encoder):
                pass


def score_batch(shadow: Shadow, head: str, decisions: LiveDecisions, encoder: Encoder) -> bool:
    """Score the next decisions of the sample and move the cursor behind them; False where there are none, or where the
    shadow was stopped meanwhile. A row that commits late, under a smaller id, is left out: it is a sample."""
    rows = decisions.rows().filter(release=shadow.active_id)
    if head not in shadow.cursors:
        before = rows.order_by("-pk").values_list("pk", flat=True)[RECENT : RECENT + 1]
        shadow.cursors[head] = next(iter(before), 0)
    after = rows.filter(pk__gt=shadow.cursors[head]).order_by("pk").values_list("pk", flat=True)
    ids = list(after[: round(BATCH / shadow.share)])
    if not ids:
        return False
    count(shadow, head, decisions.of([pk for pk in ids if Random(pk).random() < shadow.share]), encoder)
    shadow.cursors[head] = ids[-1]
    changes = {name: getattr(shadow, name) for name in ("cursors", "counts", "examples")}
    with transaction.atomic():
        is_running = Shadow.objects.filter(pk=shadow.pk, is_running=True).update(**changes, failures=0, message="")
        broadcast([services.TOPIC])
    return bool(is_running)


def count(shadow: Shadow, head: str, decisions: list[Decision], encoder: Encoder) -> None:
    """Add decisions to the counts, and to the examples where the release in shadow decides otherwise."""
    if not decisions:
        return
    labels = encoder.heads[head].spec.labels
    probabilities = encoder.classify(head, [one.inputs for one in decisions])  # type: ignore[misc]  # pairs, too
    counts, examples = shadow.counts.setdefault(head, {}), shadow.examples.setdefault(head, [])
    for decision, row in zip(decisions, probabilities, strict=True):
        label, probability = labels[int(row.argmax())], float(row.max())
        told = counts.setdefault(decision.label, {})
        told[label] = told.get(label, 0) + 1
        if label != decision.label:
            mine = (round(decision.probability, 4), label, round(probability, 4))
            examples.insert(0, [decision.id, decision.label, *mine])
    del examples[EXAMPLES:]
