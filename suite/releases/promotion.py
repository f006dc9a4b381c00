"""Carry promotions and rollbacks out: bring a generation of every collection to the end, gate them, switch all at once.

A rollback is the same thing with a release whose generations are there already. All that is done before the switch can
be done again, so whoever is killed leaves a row that another worker takes up; the switch itself is one transaction.
Until then, and where anything is wrong, the old release serves on. Imports torch: for workers and commands only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from suite.encoder import checkpoint
from suite.encoder.checkpoint import CheckpointError
from suite.events.database import UNAVAILABLE
from suite.events.envelope import Envelope
from suite.events.services import record_events
from suite.index import services as index
from suite.index.collections import collections
from suite.index.engine import EngineError, EngineUnavailable
from suite.index.models import DocumentChange, Generation
from suite.index.vectors import Encode
from suite.jobs import held
from suite.live.broadcast import broadcast
from suite.releases import gate, runtime, selectors
from suite.releases.models import Promotion, Release
from suite.releases.services import TOPIC

log = logging.getLogger(__name__)
LEASE = "suite.promotion"
GATE_TRIES = 3  # documents may come and go while they are counted
MAX_FAILURES = 3  # unexpected ones, before a promotion is refused
NOTE_SECONDS = 0.5  # between two notes of progress
POLL_SECONDS = 0.5
REFUSED = "not promoted: "  # begins the line of a release's message that says why
USABLE = (Generation.State.BUILDING, Generation.State.STANDBY, Generation.State.ACTIVE)


class GateRefused(Exception):
    """A generation may not serve; the message says why."""


class Overtaken(Exception):
    """A rollback was asked for, which goes first."""


def carry_out_requested() -> None:
    """Carry out what is outstanding, oldest first; does nothing where another worker is at it.

    Stops at one that has to wait for the engine or the database; the sweep rings again.
    """
    with held(LEASE) as is_ours:
        while is_ours and (promotion := selectors.outstanding().first()):
            if not attempt(promotion):
                return


def see_through(promotion: Promotion, say: Callable[[Promotion], None]) -> Promotion:
    """Wait until a promotion is finished, carrying it out here where no other worker does."""
    while promotion.state in selectors.OUTSTANDING:
        carry_out_requested()
        promotion.refresh_from_db()
        say(promotion)
        if promotion.state in selectors.OUTSTANDING:
            time.sleep(POLL_SECONDS)
    return promotion


def attempt(promotion: Promotion) -> bool:
    """Carry one out, or refuse it; False where it has to wait."""
    try:
        carry_out(promotion)
    except (CheckpointError, runtime.NoRelease) as error:
        refuse(promotion, str(error))
    except GateRefused as error:
        refuse(promotion, str(error))
        drop(promotion, Generation.State.STANDBY)  # the next request builds anew what did not pass
    except Overtaken:
        note(promotion, message="waits for a rollback")
    except (EngineUnavailable, index.LeaseLost, *UNAVAILABLE) as error:
        note(promotion, message=f"waits: {type(error).__name__}")
        return False
    except Exception as error:  # whatever it is, the old release serves on and the row says what happened
        log.exception("promotion %s failed", promotion.pk)
        promotion.failures += 1
        reason = f"{type(error).__name__}: {error}"
        if promotion.failures >= MAX_FAILURES:
            refuse(promotion, f"failed {promotion.failures} times, the last time with {reason}")
            return True
        note(promotion, failures=promotion.failures, message=f"will be tried again after {reason}")
        return False
    return True


def carry_out(promotion: Promotion) -> None:
    """The whole way. Raises what `attempt` catches; leaves the old release serving until the last line."""
    release = start(promotion)
    checkpoint.read(release.folder)  # as it lies on the disk now, whatever this process has loaded before
    encoder = runtime.encoder_for(release.fingerprint)
    generations = [generation_for(name, release) for name in sorted(collections())]
    progress = Progress(promotion, generations)
    for generation in generations:
        index.synchronise_generation(generation, encoder.embed, progress.of(generation))
    for generation in generations:
        pass_gate(promotion, generation, encoder.embed)
    switch(promotion, release, generations)
    for generation in generations:
        try:
            index.switch_alias(generation)
        except EngineError as error:  # searches read the row; the alias is for those who look at the engine itself
            log.warning("the alias of %s was not switched: %s", generation.collection_id, error)


def start(promotion: Promotion) -> Release:
    release = promotion.release
    note(promotion, state=Promotion.State.RUNNING, message="")
    if release.state in {Release.State.CANDIDATE, Release.State.FAILED}:
        release.state = Release.State.BUILDING
        release.save(update_fields=["state"])
    return release


def generation_for(collection: str, release: Release) -> Generation:
    """The collection's newest generation of this release: a standby one, one that was begun, or a new one."""
    existing = Generation.objects.filter(collection=collection, fingerprint=release.fingerprint, state__in=USABLE)
    return existing.first() or index.create_generation(collection, release.fingerprint, release.dimensions)


class Progress:
    """Documents that are in the new generations, of all that there are; kept on the promotion's row."""

    def __init__(self, promotion: Promotion, generations: Sequence[Generation]) -> None:
        self.promotion = promotion
        self.totals = {
            generation.pk: DocumentChange.objects.filter(collection=generation.collection_id).count()
            for generation in generations
        }
        self.done = dict.fromkeys(self.totals, 0)
        self.noted_at = 0.0

    def of(self, generation: Generation) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            self.done[generation.pk] = max(0, self.totals[generation.pk] - (total - done))
            if done == total or time.monotonic() - self.noted_at >= NOTE_SECONDS:
                self.noted_at = time.monotonic()
                if not self.promotion.is_rollback and selectors.outstanding().filter(is_rollback=True).exists():
                    raise Overtaken
                note(
                    self.promotion,
                    documents_done=sum(self.done.values()),
                    documents_total=sum(self.totals.values()),
                )

        return progress


def pass_gate(promotion: Promotion, generation: Generation, encode: Encode) -> None:
    """Bring the generation to the end and examine it, again where documents changed meanwhile. Raises `GateRefused`."""
    for _ in range(GATE_TRIES):
        index.synchronise_generation(generation, encode)
        outcome = gate.examine(generation)
        if not outcome.reason:
            break
    promotion.gate[generation.collection_id] = outcome.as_dict()
    note(promotion, gate=promotion.gate)
    if outcome.reason:
        raise GateRefused(f"{generation.collection_id}: {outcome.reason}")


def switch(promotion: Promotion, release: Release, generations: Sequence[Generation]) -> None:
    """Let the release and its generations serve, in one transaction; a promotion that is not running any more does
    nothing."""
    now = timezone.now()
    with transaction.atomic():
        running = Promotion.objects.select_for_update().filter(pk=promotion.pk, state=Promotion.State.RUNNING)
        previous = selectors.active()
        if not running.update(state=Promotion.State.DONE, finished_at=now, previous=previous, message=""):
            return
        for generation in generations:
            index.activate(generation)
        Release.objects.filter(state=Release.State.ACTIVE).update(state=Release.State.RETIRED)
        Release.objects.filter(pk=release.pk).update(
            state=Release.State.ACTIVE, activated_at=now, message=remarks(release)
        )
        broadcast([TOPIC])
        record_events([promoted_event(promotion, release, previous)])  # last: it may lock the order of events
    promotion.refresh_from_db()
    log.info("release %s serves", release.fingerprint)


def promoted_event(promotion: Promotion, release: Release, previous: Release | None) -> Envelope:
    return Envelope(
        id=f"promotion-{promotion.pk}",
        source="suite",
        type="suite.release.promoted",
        subject=release.fingerprint,
        data={
            "release": release.fingerprint,
            "previous": previous.fingerprint if previous else None,
            "is_rollback": promotion.is_rollback,
            "requested_by": promotion.requested_by,
            "gate": promotion.gate,
        },
    )


def refuse(promotion: Promotion, reason: str) -> None:
    """End a promotion without a switch: the reason is kept, and what was built for it is dropped."""
    with transaction.atomic():
        if not note(promotion, state=Promotion.State.REFUSED, message=reason, finished_at=timezone.now()):
            return
        Release.objects.filter(pk=promotion.release_id, state=Release.State.BUILDING).update(
            state=Release.State.FAILED, message=f"{remarks(promotion.release)}\n{REFUSED}{reason}".strip()
        )
        drop(promotion, Generation.State.BUILDING)
    log.warning("promotion %s to %s is refused: %s", promotion.pk, promotion.release_id, reason)


def drop(promotion: Promotion, state: Generation.State) -> None:
    """Drop the generations of its release that are in this state."""
    for generation in Generation.objects.filter(fingerprint=promotion.release_id, state=state):
        index.drop_generation(generation)


def remarks(release: Release) -> str:
    """What its message says beside why it was not promoted."""
    return "\n".join(line for line in release.message.split("\n") if not line.startswith(REFUSED))


def note(promotion: Promotion, **changes: Any) -> bool:
    """Change the row and tell the pages; False where it is finished already, and nothing is changed."""
    with transaction.atomic():
        if not Promotion.objects.filter(pk=promotion.pk, state__in=selectors.OUTSTANDING).update(**changes):
            return False
        broadcast([TOPIC])
    for name, value in changes.items():
        setattr(promotion, name, value)
    return True
