"""Vectors of documents and of typed texts: encoded once under each release, kept as float16 rows.

The encoder is handed in by the worker that calls, so that nothing here loads torch.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta

import numpy as np
from django.utils import timezone

from suite.index.engine import Document
from suite.index.models import DocumentVector, Generation, QueryVector
from suite.index.selectors import unpack

log = logging.getLogger(__name__)
Encode = Callable[[list[str]], np.ndarray]  # texts -> float32 (n, d) of unit length
QUERY_AGE = timedelta(days=1)  # how long the vector of a typed text is kept
QUERIES_AT_ONCE = 64


def encoded_text(document: Document) -> str:
    """What of a document goes through the encoder."""
    return f"{document.title}\n{document.text}".strip()


def text_hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def document_vectors(generation: Generation, documents: Sequence[Document], encode: Encode) -> dict[str, np.ndarray]:
    """{key: float32 (d,)}: stored vectors where the text is unchanged; the others are encoded in one call and stored.

    Raises `ValueError` where `encode` does not give one vector of the generation's dimensions a text.
    """
    if not generation.dimensions:
        return {}
    texts = {document.key: encoded_text(document) for document in documents}
    hashes = {key: text_hash(text) for key, text in texts.items()}
    rows = DocumentVector.objects.filter(
        fingerprint=generation.fingerprint, collection=generation.collection_id, key__in=list(texts)
    ).values_list("key", "text_hash", "vector")
    found = {key: unpack(vector) for key, stored, vector in rows if bytes(stored) == hashes[key]}
    missing = [key for key in texts if key not in found]
    if not missing:
        return found
    encoded = np.asarray(encode([texts[key] for key in missing]))
    if encoded.shape != (len(missing), generation.dimensions):
        wanted = (len(missing), generation.dimensions)
        raise ValueError(f"the encoder gave vectors of shape {encoded.shape} where {wanted} is needed")
    packed = encoded.astype(np.float16)
    DocumentVector.objects.bulk_create(
        [
            DocumentVector(
                fingerprint=generation.fingerprint,
                collection_id=generation.collection_id,
                key=key,
                text_hash=hashes[key],
                vector=vector.tobytes(),
            )
            for key, vector in zip(missing, packed, strict=True)
        ],
        update_conflicts=True,
        unique_fields=["fingerprint", "collection", "key"],
        update_fields=["text_hash", "vector"],
    )
    return found | dict(zip(missing, packed.astype(np.float32), strict=True))


def encode_queries(encode_for: Callable[[str], Encode]) -> int:
    """Give every waiting typed text its vector, newest first, and forget the text; returns how many."""
    done = 0
    waiting = QueryVector.objects.filter(vector=None)
    skipped: set[str] = set()  # releases that cannot be loaded
    while rows := list(waiting.exclude(fingerprint__in=skipped).order_by("-id")[:QUERIES_AT_ONCE]):
        by_release: dict[str, list[QueryVector]] = defaultdict(list)
        for row in rows:
            by_release[row.fingerprint].append(row)
        for fingerprint, group in by_release.items():
            try:
                encoded = encode_for(fingerprint)([row.text for row in group]).astype(np.float16)
            except Exception as error:  # one release that cannot be loaded must not keep the others waiting
                log.warning("typed texts of release %s wait: %s", fingerprint[:8], type(error).__name__)
                skipped.add(fingerprint)
                continue
            for row, vector in zip(group, encoded, strict=True):
                row.vector, row.text = vector.tobytes(), ""
            QueryVector.objects.bulk_update(group, ["vector", "text"])
            done += len(group)
    return done


def remove_old_queries() -> int:
    """Remove what was typed more than a day ago; returns how many rows."""
    removed, _ = QueryVector.objects.filter(requested_at__lt=timezone.now() - QUERY_AGE).delete()
    return removed
