"""Reads of labelling for everybody: no torch."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import F, Q, QuerySet

from suite.labelling.models import LabelList, LabelRequest
from suite.releases.models import TrainingRun
from suite.releases.snapshot import labelling

OPEN = LabelRequest.State.OPEN
LEARNED = (TrainingRun.State.RUNNING, TrainingRun.State.DONE)


def heads() -> list[str]:
    """The heads that people can label texts for."""
    return sorted(labelling())


def wanted() -> QuerySet[LabelList]:
    """Lists that are to be made, oldest first."""
    return LabelList.objects.filter(Q(made_at=None) | Q(made_at__lt=F("wanted_at"))).order_by("wanted_at")


def next_request(head: str) -> LabelRequest | None:
    return LabelRequest.objects.filter(head=head, state=OPEN).order_by("place").first()


def last_decided(head: str, by: str) -> LabelRequest | None:
    """What somebody decided last, on the newest list."""
    decided = LabelRequest.objects.filter(head=head, decided_by=by, made_at=made_at(head)).exclude(state=OPEN)
    return decided.order_by("-decided_at").first()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the newest list is."""

    decided: int
    total: int


def progress(head: str) -> Progress:
    rows = LabelRequest.objects.filter(head=head, made_at=made_at(head))
    return Progress(rows.exclude(state=OPEN).count(), rows.count())


def made_at(head: str) -> QuerySet:
    return LabelList.objects.filter(head=head).values("made_at")[:1]


def new_labels(head: str) -> int:
    """Labels given here since the last training run on the applications' own rows began."""
    given = LabelRequest.objects.filter(head=head, state=LabelRequest.State.LABELLED)
    run = TrainingRun.objects.filter(has_rows=True, trials_wanted=0, state__in=LEARNED).exclude(started_at=None).first()
    return given.filter(decided_at__gt=run.started_at).count() if run else given.count()
