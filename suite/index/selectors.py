"""What pages and the API read: candidates, vectors of documents, the vector of a typed text. Nothing here loads torch.

A request pins one active generation and takes the fingerprint from it; what it searches after that, in this collection
or another, it searches under that release, so vectors of two releases never meet. What could not be had is named in the
answer (`Hits.degraded`), never left out in silence.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from django.conf import settings

from suite.events.doorbell import ring, ring_indexing
from suite.index.embedded import EmbeddedEngine
from suite.index.engine import Candidate, Engine, EngineError, GenerationMissing, Query
from suite.index.fusion import Weights, fuse
from suite.index.models import DocumentVector, Generation, QueryVector

log = logging.getLogger(__name__)
ACTIVE_AGE = 1.0  # seconds that a pinned generation may be old
QUERY_LENGTH = 2_000  # characters of a typed text that count
POLL_SECONDS = 0.01
KEYS_AT_ONCE = 500

NO_RELEASE = "no_release"  # nothing was promoted yet
INDEX_UNAVAILABLE = "index_unavailable"  # the engine does not answer
INDEX_REBUILDING = "index_rebuilding"  # the generation is gone from the engine and is being built again
QUERY_VECTOR_PENDING = "query_vector_pending"  # no worker encoded the text in time: words alone were matched


@dataclass(frozen=True, slots=True)
class Hits:
    """The answer to one search: candidates best first, the fingerprint they were found with, and what is missing."""

    candidates: tuple[Candidate, ...] = ()
    release: str = ""
    degraded: tuple[str, ...] = ()


@cache
def engine() -> Engine:
    """The engine that the settings name: Elasticsearch where its address is set, else the embedded one."""
    if settings.ELASTICSEARCH_URL:
        from suite.index.elasticsearch import ElasticsearchEngine  # its client takes half a second to import

        return ElasticsearchEngine(
            settings.ELASTICSEARCH_URL, prefix=settings.INDEX_PREFIX, api_key=settings.ELASTICSEARCH_API_KEY
        )
    return EmbeddedEngine(settings.INDEX_DIR)


_read: dict[tuple[str, str], tuple[float, Generation | None]] = {}


def active_generation(collection: str) -> Generation | None:
    """The generation that serves, at most a second old."""
    return _generation(collection, "")


def _generation(collection: str, release: str) -> Generation | None:
    """The generation that serves or, for a request that has pinned a release, the one that serves or served last under
    it: a switch in the middle of a request changes nothing for it."""
    read_at, generation = _read.get((collection, release), (-ACTIVE_AGE, None))
    if generation is None or time.monotonic() - read_at >= ACTIVE_AGE:
        rows = Generation.objects.filter(collection=collection)
        if release:
            served = rows.filter(fingerprint=release, activated_at__isnull=False)
            generation = served.order_by("-activated_at", "-id").first()
        else:
            generation = rows.filter(state=Generation.State.ACTIVE).first()
        _read[collection, release] = (time.monotonic(), generation)
    return generation


def forget_active_generations() -> None:
    """Read them anew at the next search; for the process that has just switched one."""
    _read.clear()


def search(collection: str, query: Query, *, weights: Weights = Weights(), release: str = "") -> Hits:  # noqa: B008
    """Candidates for a query. A text without a vector is encoded by a worker within `SUITE_QUERY_DEADLINE`.

    `release` is the one that the request has pinned: its generation is searched, whatever serves by now. A query that
    brings its vector must name the vector's release; raises `ValueError` where it does not. A leg of weight 0 is not
    asked. Nothing is raised for an engine that is down: the answer is empty and says so.
    """
    if query.vector is not None and not release:
        raise ValueError("a query with a vector must name the release that the vector is of")
    generation = _generation(collection, release)
    if generation is None:
        return Hits(degraded=(NO_RELEASE,))
    degraded = []
    if query.text.strip() and query.vector is None and weights.vector > 0:
        vector, reason = query_vector(query.text, generation.fingerprint)
        query = replace(query, vector=vector)
        degraded += [reason] if reason else []
    query = replace(
        query, text=query.text if weights.text > 0 else "", vector=query.vector if weights.vector > 0 else None
    )
    try:
        legs = engine().search(generation.name, query)
    except GenerationMissing:
        forget_active_generations()
        ring_indexing()
        return Hits(release=generation.fingerprint, degraded=(*degraded, INDEX_REBUILDING))
    except EngineError as error:
        log.warning("candidates of %s cannot be searched: %s", collection, error)
        return Hits(release=generation.fingerprint, degraded=(*degraded, INDEX_UNAVAILABLE))
    return Hits(tuple(fuse(legs, weights, query.k)), generation.fingerprint, tuple(degraded))


def vectors(collection: str, keys: Iterable[str], fingerprint: str) -> dict[str, np.ndarray]:
    """{key: float32 (d,)} of the documents that have a vector under this release."""
    wanted, found = list(dict.fromkeys(keys)), {}
    for start in range(0, len(wanted), KEYS_AT_ONCE):
        rows = DocumentVector.objects.filter(
            fingerprint=fingerprint, collection=collection, key__in=wanted[start : start + KEYS_AT_ONCE]
        ).values_list("key", "vector")
        found.update({key: unpack(vector) for key, vector in rows})
    return found


def unpack(stored: bytes | memoryview) -> np.ndarray:
    """A stored float16 vector as float32 (d,)."""
    return np.frombuffer(stored, dtype=np.float16).astype(np.float32)


def query_vector(text: str, fingerprint: str = "") -> tuple[np.ndarray | None, str]:
    """(float32 (d,), "") or (None, why not): the vector of a typed text, by a worker, within the deadline.

    `fingerprint` is the pinned generation's; empty stands for the newest active one.
    """
    text = " ".join(text.split())[:QUERY_LENGTH]
    fingerprint = fingerprint or _any_fingerprint()
    if not fingerprint:
        return None, NO_RELEASE
    text_hash = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    rows = QueryVector.objects.filter(fingerprint=fingerprint, text_hash=text_hash)
    deadline = time.monotonic() + settings.QUERY_DEADLINE
    stored = rows.values_list("vector", flat=True).first()
    if stored is None:
        QueryVector.objects.bulk_create(
            [QueryVector(fingerprint=fingerprint, text_hash=text_hash, text=_storable(text))], ignore_conflicts=True
        )
        ring("workers.interactive.encode_queries")
    while stored is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        stored = rows.values_list("vector", flat=True).first()
    return (None, QUERY_VECTOR_PENDING) if stored is None else (unpack(stored), "")


def _storable(text: str) -> str:
    """Without what a database refuses: NUL and lone surrogates."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def _any_fingerprint() -> str:
    newest = Generation.objects.filter(state=Generation.State.ACTIVE).order_by("-activated_at")
    return newest.values_list("fingerprint", flat=True).first() or ""


def is_index_reachable() -> bool:
    """Whether the engine answers now; for readiness and the doctor."""
    try:
        engine().generations()
    except EngineError:
        return False
    return True
