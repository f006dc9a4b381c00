"""What changes the index: marking documents, bringing a generation to the end, switching generations.

`touch` marks documents in the transaction that changes their rows. `synchronise_generation` does everything else, for
a fresh change, a new generation, an outage that is over and an engine that lost its data alike: it brings a generation
from its watermark to the end of its collection. Who does it holds a lease, and moves the watermark only while it does.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from suite.events.doorbell import ring_indexing
from suite.index.collections import collections
from suite.index.engine import EngineUnavailable
from suite.index.models import Collection, DocumentChange, DocumentVector, Generation, RefusedDocument
from suite.index.selectors import engine, forget_active_generations
from suite.index.vectors import Encode, document_vectors, remove_old_queries

log = logging.getLogger(__name__)
BATCH_DOCUMENTS = 500
DROP_AFTER = timedelta(seconds=30)  # a generation that is no longer read; requests that pinned it are over by then


class LeaseLost(Exception):
    """Another worker brings the generation forward, or the lease ran out and it was taken over."""


# Marking documents ------------------------------------------------------------------------------------------
def touch(collection: str, keys: Iterable[str]) -> None:
    """Mark documents as changed or removed. Call it inside the transaction that changes their rows, as its last step:
    the collection's row stays locked until the commit, so that sequences become visible in order."""
    wanted = sorted(set(keys))
    if not wanted:
        return
    with transaction.atomic():
        Collection.objects.bulk_create([Collection(name=collection)], ignore_conflicts=True)
        Collection.objects.filter(pk=collection).update(last_sequence=F("last_sequence") + len(wanted))
        last = Collection.objects.values_list("last_sequence", flat=True).get(pk=collection)
        first = last - len(wanted) + 1
        DocumentChange.objects.bulk_create(
            [DocumentChange(collection_id=collection, key=key, sequence=first + i) for i, key in enumerate(wanted)],
            update_conflicts=True,
            unique_fields=["collection", "key"],
            update_fields=["sequence"],
        )
        transaction.on_commit(ring_indexing)


def touch_forgotten(collection: str) -> int:
    """Mark every document of the domain that never was; returns how many. For building from nothing."""
    marked = set(DocumentChange.objects.filter(collection=collection).values_list("key", flat=True))
    forgotten = [key for key in collections()[collection].keys() if key not in marked]  # noqa: SIM118  not a dict
    touch(collection, forgotten)
    return len(forgotten)


# Generations ------------------------------------------------------------------------------------------------
def create_generation(collection: str, fingerprint: str, dimensions: int) -> Generation:
    """A new, empty generation in state BUILDING. The engine makes it when it is first brought forward."""
    Collection.objects.bulk_create([Collection(name=collection)], ignore_conflicts=True)
    name = f"{settings.INDEX_PREFIX}.{collection}.{fingerprint[:8]}.{secrets.token_hex(4)}".lower()
    return Generation.objects.create(
        collection_id=collection, fingerprint=fingerprint, dimensions=dimensions, name=name
    )


def ensure_generations(fingerprint: str, dimensions: int) -> None:
    """Give every declared collection that has no active generation one of this, the active, release: a domain that
    came after the promotion is searched as soon as its documents are in."""
    served = set(Generation.objects.filter(state=Generation.State.ACTIVE).values_list("collection", flat=True))
    for collection in collections().keys() - served:
        with transaction.atomic():
            generation = create_generation(collection, fingerprint, dimensions)
            Collection.objects.select_for_update().get(pk=collection)
            if not Generation.objects.filter(collection=collection, state=Generation.State.ACTIVE).exists():
                activate(generation)
            else:
                generation.delete()


def activate(generation: Generation) -> None:
    """Let it serve, in the caller's transaction. The one before stays as STANDBY where it is of another release;
    what a rollback cannot want any more is dropped by the sweep."""
    now = timezone.now()
    others = Generation.objects.filter(collection=generation.collection_id).exclude(pk=generation.pk)
    previous = others.filter(state=Generation.State.ACTIVE).first()
    with transaction.atomic():
        if previous and previous.fingerprint != generation.fingerprint:
            others.filter(state=Generation.State.STANDBY).update(state=Generation.State.DROPPED, retired_at=now)
            Generation.objects.filter(pk=previous.pk).update(state=Generation.State.STANDBY, retired_at=now)
        elif previous:
            Generation.objects.filter(pk=previous.pk).update(state=Generation.State.DROPPED, retired_at=now)
        generation.state, generation.activated_at, generation.retired_at = Generation.State.ACTIVE, now, None
        generation.save(update_fields=["state", "activated_at", "retired_at"])
        transaction.on_commit(forget_active_generations)
        transaction.on_commit(ring_indexing)


def switch_alias(generation: Generation) -> None:
    """Let the engine's alias of the collection name this generation, for those who look at the engine itself;
    searches read the active `Generation` row. Raises `EngineError`."""
    engine().switch(alias_of(generation.collection_id), generation.name)


def alias_of(collection: str) -> str:
    return f"{settings.INDEX_PREFIX}.{collection}".lower()


def drop_generation(generation: Generation) -> None:
    """Mark a generation that serves nobody as dropped; the sweep removes it from the engine."""
    if generation.state == Generation.State.ACTIVE:
        raise ValueError(f"{generation.name} is active; switch to another generation first")
    Generation.objects.filter(pk=generation.pk).update(state=Generation.State.DROPPED, retired_at=timezone.now())


def remove_dropped() -> None:
    """Remove dropped generations from the engine, and the vectors of releases that no generation uses."""
    due = Q(retired_at__isnull=True) | Q(retired_at__lt=timezone.now() - DROP_AFTER)
    for generation in Generation.objects.filter(due, state=Generation.State.DROPPED):
        engine().drop(generation.name)
        generation.delete()
        same = Generation.objects.filter(collection=generation.collection_id, fingerprint=generation.fingerprint)
        if not same.exists():
            DocumentVector.objects.filter(
                collection=generation.collection_id, fingerprint=generation.fingerprint
            ).delete()


# Bringing generations forward -------------------------------------------------------------------------------
def synchronise(encode_for: Callable[[str], Encode]) -> int:
    """Bring every active generation to the end; returns how many documents were written or removed.

    A standby generation waits until a rollback asks for it, so a machine encodes with one release at a time. What
    goes wrong with one generation is kept in its `last_error` and tried again at the next call; it stops no other.
    """
    done = 0
    for generation in Generation.objects.filter(state=Generation.State.ACTIVE).select_related("collection"):
        if generation.collection_id not in collections():
            continue
        try:
            done += synchronise_generation(generation, _loaded_late(encode_for, generation.fingerprint))
        except LeaseLost:
            continue
        except Exception as error:  # one collection's trouble must not stop the others
            log.warning("%s was not brought forward: %s: %s", generation.name, type(error).__name__, error)
            _set_error(generation, f"{type(error).__name__}: {error}")
    return done


def _loaded_late(encode_for: Callable[[str], Encode], fingerprint: str) -> Encode:
    """An encoder that is loaded when the first text needs it: removals and unchanged texts do not."""
    return lambda texts: encode_for(fingerprint)(texts)


def tidy() -> None:
    """Remove what nobody needs any more: dropped generations, vectors of old typed texts."""
    remove_old_queries()
    try:
        remove_dropped()
    except EngineUnavailable as error:
        log.info("dropped generations wait: %s", error)


def synchronise_generation(
    generation: Generation, encode: Encode, progress: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Bring one generation to the end of its collection; returns how many documents were written or removed.

    `progress(done, total)` is called after each batch. Raises `LeaseLost` where another worker is at it (that one
    goes to the end), `EngineError` where the engine cannot be written, and whatever `encode` raises.
    """
    done = 0
    while True:
        lease = _lease(generation)
        try:
            _ensure_there(generation, lease)
            total = done + _changes(generation).count()
            progress(done, total)
            while batch := list(_changes(generation).order_by("sequence")[:BATCH_DOCUMENTS]):
                _write(generation, batch, encode)
                _move_watermark(generation, lease, batch[-1].sequence)
                done += len(batch)
                progress(done, max(total, done))
            if done:
                engine().refresh(generation.name)
            _set_error(generation, "")
        finally:
            Generation.objects.filter(pk=generation.pk, lease=lease).update(lease="", leased_until=None)
        if not _changes(generation).exists():  # else something came between the last look and the end of the lease
            return done


def _changes(generation: Generation) -> QuerySet[DocumentChange]:
    return DocumentChange.objects.filter(collection=generation.collection_id, sequence__gt=generation.synced_sequence)


def _lease(generation: Generation) -> str:
    """Take the generation for a while and read its watermark. Raises `LeaseLost` where another worker has it."""
    lease, now = secrets.token_hex(16), timezone.now()
    free = Q(leased_until__isnull=True) | Q(leased_until__lt=now)
    taken = Generation.objects.filter(free, pk=generation.pk).update(
        lease=lease, leased_until=now + timedelta(seconds=settings.LEASE_SECONDS)
    )
    if not taken:
        raise LeaseLost(generation.name)
    generation.refresh_from_db(fields=["synced_sequence", "last_error", "state"])
    return lease


def _move_watermark(generation: Generation, lease: str, sequence: int) -> None:
    """Note how far it has come and hold the lease for longer. Raises `LeaseLost` where it was taken over."""
    until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
    held = Generation.objects.filter(pk=generation.pk, lease=lease)
    if not held.update(synced_sequence=sequence, leased_until=until):
        raise LeaseLost(generation.name)
    generation.synced_sequence = sequence


def _ensure_there(generation: Generation, lease: str) -> None:
    """An engine that does not have the generation, because it is new or its data is lost, is filled from the rows."""
    if engine().exists(generation.name):
        return
    if generation.synced_sequence:
        log.warning("%s is gone from the engine and is built again from the rows", generation.name)
    RefusedDocument.objects.filter(generation=generation).delete()
    _move_watermark(
        generation, lease, 0
    )  # before it is there again: whoever is killed in between leaves it to be filled
    engine().drop(generation.name)  # what is left of it, such as a folder without its files
    engine().create(generation.name, generation.dimensions, generation.fingerprint)
    if generation.state == Generation.State.ACTIVE:
        switch_alias(generation)


def _set_error(generation: Generation, message: str) -> None:
    if generation.last_error != message[:1000]:
        generation.last_error = message[:1000]
        generation.save(update_fields=["last_error"])


def _write(generation: Generation, batch: Sequence[DocumentChange], encode: Encode) -> None:
    """Write a batch of changed documents and remove the ones that are gone; versions are the changes' sequences."""
    versions = {change.key: change.sequence for change in batch}
    documents = collections()[generation.collection_id].load(list(versions))
    found = document_vectors(generation, list(documents.values()), encode)
    report = engine().put(
        generation.name,
        [replace(document, version=versions[key], vector=found.get(key)) for key, document in documents.items()],
    )
    gone = {key: version for key, version in versions.items() if key not in documents}
    if gone:
        engine().delete(generation.name, gone)
        DocumentVector.objects.filter(
            fingerprint=generation.fingerprint, collection=generation.collection_id, key__in=list(gone)
        ).delete()
    _note_refused(generation, versions, report.refused)


def _note_refused(generation: Generation, versions: Mapping[str, int], refused: Mapping[str, str]) -> None:
    """Replace what is known of these documents' refusals."""
    RefusedDocument.objects.filter(generation=generation, key__in=list(versions)).delete()
    RefusedDocument.objects.bulk_create(
        RefusedDocument(generation=generation, key=key, sequence=versions[key], reason=reason[:500])
        for key, reason in refused.items()
    )
    if refused:
        log.warning("%s refused %s documents for good; see the admin", generation.name, len(refused))
