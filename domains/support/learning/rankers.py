"""The ranker rows: the first of a release, made by whichever worker comes first."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from domains.support.learning.prior import Embedder, build_weights, relevance_head
from domains.support.models import Ranker
from domains.support.suggesting.suggest import Loaded, active_ranker


def ensure_ranker(fingerprint: str, encoder: Embedder) -> Loaded:
    """The ranker that serves under a release; its first one takes a second or two to make."""
    found = active_ranker(fingerprint)
    if found is None:
        make_first(fingerprint, encoder)
        found = active_ranker(fingerprint)
        assert found is not None
    return found


def make_first(fingerprint: str, encoder: Embedder) -> None:
    weights, metrics = build_weights(encoder)
    head = relevance_head(encoder)
    try:
        with transaction.atomic():
            Ranker.objects.create(
                fingerprint=fingerprint,
                head=head.pack() if head else b"",
                weights=weights.as_json(),
                metrics={"sample": {name: round(value, 4) for name, value in metrics.items()}},
            )
    except IntegrityError:  # another worker was first
        return
