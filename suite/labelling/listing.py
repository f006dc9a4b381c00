"""Makes the lists of what to label next, by the active release. Imports torch: for workers only."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from itertools import islice

import numpy as np
from django.db import transaction
from django.utils import timezone

from suite.encoder.checkpoint import CheckpointError
from suite.encoder.heads import HeadSpec, features_of
from suite.encoder.model import Encoder
from suite.jobs import held
from suite.labelling import selectors
from suite.labelling.choice import choose, uncertainties
from suite.labelling.models import LabelList, LabelRequest
from suite.labelling.services import topic
from suite.live.broadcast import broadcast
from suite.releases import runtime
from suite.releases import selectors as releases
from suite.releases.runtime import NoRelease
from suite.releases.snapshot import labelling
from suite.releases.training_data import Labelling, Record

log = logging.getLogger(__name__)
LEASE = "suite.labelling"
LENGTH = 50  # texts of a list
POOL = 2_000  # newest texts that it is chosen from; some seconds on two cores
KNOWN = 500  # newest labelled texts that a chosen one should not be like
AT_ONCE = 256  # texts encoded together
State = LabelRequest.State


class NothingToList(Exception):
    """Why a list is empty."""


def make_wanted() -> None:
    """Make the lists that are asked for, oldest first, unless another process is at it."""
    with held(LEASE) as is_ours:
        while is_ours and (wanted := selectors.wanted().first()):
            make(wanted)


def make(wanted: LabelList) -> None:
    """Replace what is open on a head's list, or say on it why there is nothing."""
    began = timezone.now()
    now = max(began, wanted.wanted_at)
    requests: list[LabelRequest] = []
    active = releases.active()  # noted although it cannot be read, or the page would ask for its list again
    release, considered, message = active.fingerprint if active else "", 0, ""
    try:
        encoder = runtime.active_encoder()
        release = encoder.fingerprint
        requests, considered = requests_of(wanted.head, encoder)
    except (NothingToList, NoRelease) as reason:
        message = f"{reason}"
    except CheckpointError:
        message = "the active release cannot be read; `manage.py doctor` says more"
    except Exception as error:  # whatever it is, the page says so and is not waited for
        log.exception("the list of head %s could not be made", wanted.head)
        message = f"the list could not be made ({type(error).__name__})"
    for place, request in enumerate(requests, 1):
        request.place, request.made_at = place, now
    with transaction.atomic():
        LabelRequest.objects.filter(head=wanted.head, state=State.OPEN).delete()
        lately = LabelRequest.objects.filter(head=wanted.head, decided_at__gte=began).values_list("digest", flat=True)
        decided = set(lately)  # while the list was made
        requests = [request for request in requests if request.digest not in decided]
        LabelRequest.objects.bulk_create(
            requests, update_conflicts=True, unique_fields=["head", "digest"],
            update_fields=["record", "place", "made_at", "release", "probabilities", "uncertainty", "state", "label",
                           "decided_by", "decided_at"],
        )  # fmt: skip
        LabelList.objects.filter(head=wanted.head).update(
            made_at=now, release=release, considered=considered, message=message
        )
        broadcast([topic(wanted.head)])


def requests_of(head: str, encoder: Encoder) -> tuple[list[LabelRequest], int]:
    """(what is worth labelling, in order; how many texts it was chosen from). Raises `NothingToList`."""
    given = labelling().get(head)
    if given is None or head not in encoder.heads:
        raise NothingToList(f"release {encoder.fingerprint[:8]} has no head {head!r} that texts can be labelled for")
    pool = pool_of(head, given)
    if not pool:
        raise NothingToList("there is no text without a label; they come with the events of the application")
    texts = list(pool)
    spec = encoder.heads[head].spec
    vectors = embed(encoder, spec, texts)  # (n, d)
    probabilities = encoder.heads[head].probabilities(vectors)  # (n, k)
    uncertainty = uncertainties(probabilities)
    requests = [
        LabelRequest(
            head=head,
            digest=digest_of(texts[row]),
            record=dict(pool[texts[row]]),
            release=encoder.fingerprint,
            probabilities=list(zip(spec.labels, probabilities[row].round(4).tolist(), strict=True)),
            uncertainty=round(float(uncertainty[row]), 4),
        )
        for row in choose(uncertainty, vectors, embed(encoder, spec, known_texts(head, given)), LENGTH)
    ]
    return requests, len(texts)


def pool_of(head: str, given: Labelling) -> dict[str, Record]:
    """{text as the head reads it: record} of the newest texts that nobody labelled or skipped."""
    skipped = set(LabelRequest.objects.filter(head=head, state=State.SKIPPED).values_list("digest", flat=True))
    found: dict[str, Record] = {}
    for record in islice(given.rows(), POOL):
        text = given.read(record)
        if digest_of(text) not in skipped:
            found.setdefault(text, record)
    return found


def known_texts(head: str, given: Labelling) -> list[str]:
    labelled = LabelRequest.objects.filter(head=head, state=State.LABELLED).order_by("-decided_at")
    return [given.read(record) for record in labelled.values_list("record", flat=True)[:KNOWN]]


def embed(encoder: Encoder, spec: HeadSpec, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors, float32 (n, d), as the head reads the texts, some at a time."""
    parts = [features_of(encoder, spec, texts[start : start + AT_ONCE]) for start in range(0, len(texts), AT_ONCE)]
    return np.vstack(parts) if parts else np.zeros((0, encoder.dimensions), dtype=np.float32)


def digest_of(text: str) -> str:
    """32 hex digits."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
