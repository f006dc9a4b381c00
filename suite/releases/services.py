"""Writes about releases for everybody: a request is a row and a ring; a worker carries it out. No torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from suite.events import doorbell
from suite.index.models import Generation
from suite.index.services import drop_generation
from suite.live.broadcast import broadcast
from suite.releases import selectors
from suite.releases.models import Promotion, Release, Shadow, TrainingRun

TOPIC = "suite.releases"
TRAINING_LEASE = "suite.training"
TEACHING_MINUTES = 40  # that a smaller release is taught for, where nothing else is said
MOST_MINUTES = 100_000  # as the configuration of training has it


class RequestRefused(Exception):
    """Something that makes no sense now; the message says why."""


def request_promotion(release: Release, by: str = "", override: str = "") -> Promotion:
    """Ask for `release` to serve; an outstanding request for it is returned as it is.

    One that is worse beyond noise than the active one, or that was not measured while another serves, needs a written
    reason, `override`. Raises `RequestRefused`.
    """
    is_new = release.state in {Release.State.CANDIDATE, Release.State.FAILED}
    if is_new and not release.evaluation and selectors.active() and not override.strip():
        raise RequestRefused(
            f"release {release} has not been measured, or not yet; wait for its run, or give a reason to promote it "
            "all the same"
        )
    if release.worse_in and not override.strip():
        raise RequestRefused(
            f"release {release} is worse beyond noise than {release.compared_with[:8]} in "
            f"{', '.join(release.worse_in)}; give a reason to promote it all the same"
        )
    return _request(release, by, override=override.strip(), is_rollback=False)


def request_rollback(by: str = "") -> Promotion:
    """Ask for the release that served before to serve again. Raises `RequestRefused`."""
    target = selectors.rollback_target()
    if target is None:
        raise RequestRefused("there is no earlier release to go back to")
    return _request(target, by, is_rollback=True)


def _request(release: Release, by: str, override: str = "", *, is_rollback: bool) -> Promotion:
    with transaction.atomic():
        locked = Release.objects.select_for_update().get(pk=release.pk)  # one request at a time for a release
        if locked.state == Release.State.ACTIVE:
            raise RequestRefused(f"release {locked} is serving already")
        promotion = selectors.outstanding().filter(release=locked).first()
        if promotion is None:
            promotion = Promotion.objects.create(
                release=locked,
                previous=selectors.active(),
                is_rollback=is_rollback,
                requested_by=by[:150],
                override_reason=override,
            )
            broadcast([TOPIC])
        elif override and not promotion.override_reason:
            promotion.override_reason = override
            promotion.save(update_fields=["override_reason"])
        transaction.on_commit(ring)
    return promotion


def ring() -> None:
    """Wake the worker that carries promotions out."""
    doorbell.ring("workers.train.promote")


# Removing ----------------------------------------------------------------------------------------------------
def remove(release: Release) -> Path | None:
    """Remove a release that nobody needs: its row, with its promotions, shadows and compressions, its index generations
    and its folder; that folder where it could not be removed. Raises `RequestRefused`."""
    with transaction.atomic():
        locked = Release.objects.select_for_update().get(pk=release.pk)
        if reason := needed_for(locked):
            raise RequestRefused(f"release {locked} {reason}")
        for generation in Generation.objects.filter(fingerprint=locked.pk).exclude(state=Generation.State.DROPPED):
            drop_generation(generation)
        folder = locked.folder if not Path(locked.path).is_absolute() else None  # what lies elsewhere is not ours
        locked.delete()
        broadcast([TOPIC])
    if folder is None or not folder.exists():
        return None
    shutil.rmtree(folder, ignore_errors=True)
    return folder if folder.exists() else None


def needed_for(release: Release) -> str:
    """Why a release cannot be removed; empty where it can."""
    if release.state in {Release.State.ACTIVE, Release.State.BUILDING}:
        return "serves, or is about to"
    if release == selectors.rollback_target():
        return "is what a rollback goes back to"
    if selectors.outstanding().filter(release=release).exists():
        return "waits to be promoted"
    shadow = selectors.running_shadow()
    if shadow and release in (shadow.release, shadow.active):
        return "is in shadow; stop that first"
    if run := selectors.outstanding_runs().filter(teacher=release).first():
        return f"teaches in {run}; stop that first"
    if not release.evaluation and (run := selectors.outstanding_runs().first()):
        return f"may be what {run} measures now; wait for it, or stop it"
    return ""


# Shadow ------------------------------------------------------------------------------------------------------
def request_shadow(release: Release, share: float, by: str = "") -> Shadow:
    """Let `release` score a share of the active one's decisions beside it, from now on. Raises `RequestRefused`."""
    active = selectors.active()
    if not 0 < share <= 1:
        raise RequestRefused("the share must be above 0 and at most 1")
    if active is None or active == release:
        raise RequestRefused("no release serves yet" if active is None else f"release {release} is serving already")
    try:
        with transaction.atomic():
            shadow = Shadow.objects.create(release=release, active=active, share=share, requested_by=by[:150])
            broadcast([TOPIC])
            transaction.on_commit(ring_shadow)
    except IntegrityError:
        running = selectors.running_shadow()
        raise RequestRefused(f"release {running and running.release} is in shadow already; stop it first") from None
    return shadow


def stop_shadow() -> Shadow:
    """End the shadow that runs; what it counted stays. Raises `RequestRefused`."""
    shadow = selectors.running_shadow()
    if shadow is None:
        raise RequestRefused("no release is in shadow")
    end_shadow(shadow, "stopped")
    return shadow


def end_shadow(shadow: Shadow, message: str) -> None:
    with transaction.atomic():
        running = Shadow.objects.filter(pk=shadow.pk, is_running=True)
        running.update(is_running=False, ended_at=timezone.now(), message=message)
        broadcast([TOPIC])


def ring_shadow() -> None:
    """Wake the worker that scores live traffic."""
    doorbell.ring("workers.train.shadow")


# Training ----------------------------------------------------------------------------------------------------
def training_topic(run: int) -> str:
    return f"suite.training:{run}"


def request_training(
    data: Sequence[tuple[str, str]] = (), validation: Sequence[tuple[str, str]] = (), *, has_rows: bool = True,
    config: Mapping[str, Any] | None = None, trials: int = 0, by: str = "", is_rung: bool = True,
) -> TrainingRun:  # fmt: skip
    """Ask for a training run on files, (format, path), and on the applications' own rows where `has_rows`; with
    `trials`, for a search for settings in so many of them."""
    with transaction.atomic():
        run = TrainingRun.objects.create(
            data=list(data),
            validation=list(validation),
            has_rows=has_rows,
            config=dict(config or {}),
            trials_wanted=trials,
            requested_by=by[:150],
        )
        broadcast([TOPIC])
        if is_rung:
            transaction.on_commit(ring_training)
    return run


def request_compression(
    teacher: Release, *, layers: int = 0, feed_forward: int = 0, is_int8: bool = False,
    minutes: float = TEACHING_MINUTES, data: Sequence[tuple[str, str]] = (), has_rows: bool = True, by: str = "",
    is_rung: bool = True,
) -> TrainingRun:  # fmt: skip
    """Ask for a smaller release of `teacher`, which learns from what a training run would. `layers`, and
    `feed_forward`, the width of that part of all but the last, are what is left; 0 keeps all. Raises `RequestRefused`
    where nothing would be smaller, or no time is left to teach."""
    refuse_sizes(teacher, layers, feed_forward, is_int8=is_int8)
    if not 0 < minutes <= MOST_MINUTES:
        raise RequestRefused(f"minutes must be above 0 and at most {MOST_MINUTES:,}, not {minutes:g}")
    with transaction.atomic():
        run = TrainingRun.objects.create(
            teacher=teacher,
            data=list(data),
            has_rows=has_rows,
            config={"layers": layers, "feed_forward": feed_forward, "is_int8": is_int8, "minutes": minutes},
            requested_by=by[:150],
        )
        broadcast([TOPIC])
        if is_rung:
            transaction.on_commit(ring_training)
    return run


def refuse_sizes(teacher: Release, layers: int, feed_forward: int, *, is_int8: bool) -> None:
    """Raises `RequestRefused` where such a body cannot be made so small, or would be no smaller, as far as
    it can be seen from here: who carries it out looks again."""
    if not (layers or feed_forward or is_int8):
        raise RequestRefused("nothing would be smaller: give fewer layers, a narrower feed-forward part, or int8")
    sizes: dict[str, Any] = {}
    with suppress(OSError, ValueError):  # the folder may lie on another machine
        sizes = json.loads((teacher.folder / "config.json").read_text(encoding="utf-8"))
    asked = {"layers": (layers, "num_hidden_layers"), "feed-forward": (feed_forward, "intermediate_size")}
    for name, (count, setting) in asked.items():
        has = sizes.get(setting)
        if count < 0:
            raise RequestRefused(f"{name} must be 0 or more, not {count}")
        if has and count >= has:
            raise RequestRefused(f"{name} must be less than the {has:,} of release {teacher}, not {count:,}")
    if feed_forward and 1 in (layers, sizes.get("num_hidden_layers")):
        raise RequestRefused("feed-forward must be 0 where one layer is left, which keeps all of it")
    if sizes.get("weights") == "int8" and not (layers or feed_forward):
        raise RequestRefused(f"nothing would be smaller: the weights of release {teacher} are in int8 already")


def stop_training(run: TrainingRun) -> None:
    """Ask a run to end; one that nobody has begun ends here. Raises `RequestRefused` where it is finished."""
    now = timezone.now()
    with transaction.atomic():
        waiting = TrainingRun.objects.filter(pk=run.pk, state=TrainingRun.State.REQUESTED)
        running = TrainingRun.objects.filter(pk=run.pk, state=TrainingRun.State.RUNNING)
        is_stopped = waiting.update(
            state=TrainingRun.State.STOPPED, message="stopped", finished_at=now, is_stop_wanted=True
        )  # fmt: skip  who is just taking it ends it, too
        if not is_stopped and not running.update(is_stop_wanted=True):
            raise RequestRefused(f"{run} is finished already")
        broadcast([training_topic(run.pk)])


def ring_training() -> None:
    """Wake the worker that sees to it that training runs are worked on."""
    doorbell.ring("workers.train.train")
