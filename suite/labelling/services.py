"""Writes of labelling: a list is asked for, a text is labelled or skipped, and that is undone. No torch.

A label is an event like any other: it goes the one way in, and the domain makes a row of it that training reads.
"""

from __future__ import annotations

from uuid import uuid4

from django.db import transaction
from django.utils import timezone

from suite.events import doorbell
from suite.events.ingestion import BacklogFull, ingest
from suite.labelling import selectors
from suite.labelling.models import LabelList, LabelRequest
from suite.live.broadcast import broadcast
from suite.releases.snapshot import labelling

SOURCE = "labelling"  # of the events
State = LabelRequest.State


class Refused(Exception):
    """Something that cannot be done now; the message says why."""


def topic(head: str) -> str:
    return f"suite.labelling:{head}"


def want_list(head: str) -> None:
    """Ask for a new list of a head, unless one is outstanding."""
    with transaction.atomic():
        made, is_new = LabelList.objects.get_or_create(head=head, defaults={"wanted_at": timezone.now()})
        if not is_new and not made.is_outstanding:
            LabelList.objects.filter(head=head).update(wanted_at=timezone.now())
        broadcast([topic(head)])
        transaction.on_commit(ring)


def ring() -> None:
    """Wake the worker that makes lists."""
    doorbell.ring("workers.jobs.list_examples")


def label(request: LabelRequest, label: str, by: str) -> None:
    """Raises `Refused`."""
    if label not in request.chances:
        raise Refused(f"the labels of this head are {', '.join(request.chances)}")
    with transaction.atomic():
        decide(request, State.LABELLED, by, label)
        send(request, labelling()[request.head].labelled, by, label=label)


def skip(request: LabelRequest, by: str) -> None:
    """Raises `Refused`."""
    with transaction.atomic():
        decide(request, State.SKIPPED, by)


def undo(head: str, by: str) -> LabelRequest:
    """Take back what somebody decided last, and a label's event with it. Raises `Refused`."""
    request = selectors.last_decided(head, by)
    if request is None:
        raise Refused("there is nothing of yours to undo on this list")
    with transaction.atomic():
        decided = LabelRequest.objects.filter(pk=request.pk, state=request.state)
        if not decided.update(state=State.OPEN, label="", decided_by="", decided_at=None):
            raise Refused("it is undone already")
        if request.state == State.LABELLED:
            send(request, labelling()[head].withdrawn, by)
        broadcast([topic(head)])
    return request


def decide(request: LabelRequest, state: LabelRequest.State, by: str, label: str = "") -> None:
    still_open = LabelRequest.objects.filter(pk=request.pk, state=State.OPEN)
    if not still_open.update(state=state, label=label, decided_by=by, decided_at=timezone.now()):
        raise Refused("somebody has decided on that text already")
    broadcast([topic(request.head)])


def send(request: LabelRequest, event_type: str, by: str, **more: str) -> None:
    """One event, in the caller's transaction. Raises `Refused`."""
    data = request.record | {"by": by} | more
    event = {"id": uuid4().hex, "source": SOURCE, "type": event_type, "time": timezone.now().isoformat(), "data": data}
    try:
        [result] = ingest([event])
    except BacklogFull:
        raise Refused("more events wait than may wait; try again in a moment") from None
    if result.status == "rejected":
        raise Refused(f"the label was not taken: {result.field} {result.reason}")
