"""The one function that tells pages about news. It moves the topics' sequences in the caller's transaction; the frames
after the commit only say "topic X is now at sequence N", and the page asks for the rows.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable

from asgiref.sync import async_to_sync
from channels.layers import BaseChannelLayer, get_channel_layer
from django.core import signing
from django.db import connection, transaction
from django.utils import timezone

from suite.live.models import Topic

log = logging.getLogger(__name__)
SALT = "suite.live.topic"
BATCH = 1_000  # topics in one statement


def broadcast(topics: Iterable[str]) -> None:
    """Move each topic on by one, and ring its pages after the commit."""
    names = sorted(set(topics))  # sorted: two transactions lock rows in the same order
    if not names:
        return
    with transaction.atomic():
        sequences: dict[str, int] = {}
        for start in range(0, len(names), BATCH):
            sequences |= _advance(names[start : start + BATCH])
        transaction.on_commit(lambda: _ring(sequences))


def _advance(names: list[str]) -> dict[str, int]:
    """One upsert for all; returns the new sequences."""
    now = timezone.now()
    table = Topic._meta.db_table
    values = ", ".join(["(%s, 1, %s)"] * len(names))
    sequences = {}
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (name, sequence, changed_at) VALUES {values} "  # noqa: S608  the table is ours
            f"ON CONFLICT (name) DO UPDATE SET sequence = {table}.sequence + 1, changed_at = excluded.changed_at "
            "RETURNING name, sequence",
            [value for name in names for value in (name, connection.ops.adapt_datetimefield_value(now))],
        )
        sequences = dict(cursor.fetchall())
    return sequences


def _ring(sequences: dict[str, int]) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async_to_sync(_send)(layer, sequences)
    except Exception as error:  # a layer that is down must not undo a commit
        log.warning("pages were not rung (%s); their heartbeat will find the news", type(error).__name__)


async def _send(layer: BaseChannelLayer, sequences: dict[str, int]) -> None:
    for topic, sequence in sequences.items():
        await layer.group_send(group(topic), {"type": "topic.moved", "topic": topic, "sequence": sequence})


def group(topic: str) -> str:
    """The channel layer's name for a topic: ASCII and short, whatever the topic is called."""
    return "topic." + hashlib.sha256(topic.encode()).hexdigest()[:32]


def token(topic: str) -> str:
    """A signed name that lets a page listen to the topic; who renders the page decides who may."""
    return signing.dumps(topic, salt=SALT, compress=False)


def topic_of(signed: str) -> str:
    """The topic of a token. Raises `django.core.signing.BadSignature`; tokens live for a day."""
    return signing.loads(signed, salt=SALT, max_age=86_400)
