"""What people say that customers' messages are about. A label is an event, and so is taking it back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from domains.support.models import LabelledQuestion, Message
from domains.support.services import name_of
from suite.events.models import Event
from suite.events.rows import upsert_newest
from suite.releases.training_data import Record

COLUMNS = ("digest", "text", "label", "changed_at", "changed_by")


def record_labels(events: Sequence[Event]) -> None:
    rows = []
    for event in events:
        text, label = event.data["text"], event.data["label"]
        rows.append((digest_of(text), text, label, event.time, name_of(event)))
    upsert_newest(LabelledQuestion, COLUMNS, ("digest",), rows)


def labelled() -> Iterator[Record]:
    rows = LabelledQuestion.objects.exclude(label="").order_by("id")
    yield from rows.values("text", "label").iterator(chunk_size=2_000)


def not_labelled() -> Iterator[Record]:
    """What customers wrote, masked, the newest first."""
    known = set(LabelledQuestion.objects.exclude(label="").values_list("digest", flat=True))
    written = Message.objects.filter(author=Message.Author.CUSTOMER).order_by("-pk")
    for text in written.values_list("masked_text", flat=True).iterator(chunk_size=2_000):
        if digest_of(text) not in known:
            yield {"text": text}


def digest_of(text: str) -> str:
    """32 hex digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
