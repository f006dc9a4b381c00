"""Writes about releases for everybody: a request is a row and a ring; a worker carries it out. No torch."""

from __future__ import annotations

from django.db import transaction

from suite.events import doorbell
from suite.live.broadcast import broadcast
from suite.releases import selectors
from suite.releases.models import Promotion, Release

TOPIC = "suite.releases"


class RequestRefused(Exception):
    """A promotion or rollback that makes no sense now; the message says why."""


def request_promotion(release: Release, by: str = "") -> Promotion:
    """Ask for `release` to serve; an outstanding request for it is returned as it is. Raises `RequestRefused`."""
    return _request(release, by, is_rollback=False)


def request_rollback(by: str = "") -> Promotion:
    """Ask for the release that served before to serve again. Raises `RequestRefused`."""
    target = selectors.rollback_target()
    if target is None:
        raise RequestRefused("there is no earlier release to go back to")
    return _request(target, by, is_rollback=True)


def _request(release: Release, by: str, *, is_rollback: bool) -> Promotion:
    with transaction.atomic():
        locked = Release.objects.select_for_update().get(pk=release.pk)  # one request at a time for a release
        if locked.state == Release.State.ACTIVE:
            raise RequestRefused(f"release {locked} is serving already")
        promotion = selectors.outstanding().filter(release=locked).first()
        if promotion is None:
            promotion = Promotion.objects.create(
                release=locked, previous=selectors.active(), is_rollback=is_rollback, requested_by=by[:150]
            )
            broadcast([TOPIC])
        transaction.on_commit(ring)
    return promotion


def ring() -> None:
    """Wake the worker that carries promotions out."""
    doorbell.ring("workers.train.promote")
