"""Candidates for a question from two pools, answers and earlier replies, each by words and by meaning.

`Pools` is what serving, learning and evaluation have in common; `IndexPools` reads the index that serves, `MemoryPools`
holds given documents in an engine of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Protocol

import numpy as np

from domains.support.documents import ANSWERS, REPLIES, load_replies
from domains.support.models import Answer
from domains.support.suggesting.features import ANSWER, REPLY, Candidate
from suite.index import selectors as index
from suite.index.embedded import EmbeddedEngine
from suite.index.engine import Document, Filter, Query
from suite.index.fusion import Weights, fuse

DEPTH = 50  # candidates a pool
COLLECTION_OF = {ANSWER: ANSWERS, REPLY: REPLIES}
GENERATION = "memory"


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates, and what could not be had."""

    candidates: list[Candidate]
    degraded: tuple[str, ...] = ()


class Pools(Protocol):
    def find(self, question: str, vector: np.ndarray | None, more: Sequence[str] = ()) -> Found:
        """Candidates of both pools; `more` are keys of answers that are candidates whatever the legs say."""


class IndexPools:
    """The collections under one release: both pools, and the vector of the question, are of that one."""

    def __init__(self, release: str) -> None:
        self.release = release

    def find(self, question: str, vector: np.ndarray | None, more: Sequence[str] = ()) -> Found:
        candidates: list[Candidate] = []
        degraded: list[str] = []
        weights = Weights() if vector is not None else Weights(vector=0)
        for pool, collection in COLLECTION_OF.items():
            query = Query(text=question, vector=vector, k=DEPTH)
            hits = index.search(collection, query, weights=weights, release=self.release)
            degraded += [reason for reason in hits.degraded if reason not in degraded]
            bm25 = {each.key: each.bm25 for each in hits.candidates}
            keys = list(dict.fromkeys([*bm25, *(more if pool == ANSWER else ())]))
            texts = answer_texts(keys) if pool == ANSWER else reply_texts(keys)
            vectors = index.vectors(collection, keys, self.release)
            candidates += [
                Candidate(pool, key, *texts[key], bm25.get(key), rank, vectors.get(key))
                for rank, key in enumerate(keys)
                if key in texts
            ]
        return Found(candidates, tuple(degraded))


def answer_texts(keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    """{key: (title, text)} of the answers that are there."""
    rows = Answer.objects.filter(key__in=keys, is_removed=False).values_list("key", "title", "text")
    return {key: (title, text) for key, title, text in rows}


def reply_texts(keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    return {key: (document.title, document.text) for key, document in load_replies(keys).items()}


class MemoryPools:
    """Answers given as documents with their vectors, in an engine of their own until the `with` ends."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = {document.key: document for document in documents}
        self.folder = TemporaryDirectory(prefix="support-")
        self.engine = EmbeddedEngine(Path(self.folder.name))
        vectors = [document.vector for document in documents if document.vector is not None]
        self.engine.create(GENERATION, len(vectors[0]) if vectors else 0, GENERATION)
        self.engine.put(GENERATION, [replace(document, version=1) for document in documents])
        self.engine.refresh(GENERATION)

    def __enter__(self) -> MemoryPools:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.drop(GENERATION)
        self.folder.cleanup()

    def find(
        self,
        question: str,
        vector: np.ndarray | None,
        more: Sequence[str] = (),
        *,
        weights: Weights = Weights(),  # noqa: B008  frozen
        filters: tuple[Filter, ...] = (),
        k: int = DEPTH,
    ) -> Found:
        legs = self.engine.search(GENERATION, Query(text=question, vector=vector, filters=filters, k=k))
        fused = fuse(legs, weights, k)
        bm25 = {each.key: each.bm25 for each in fused}
        keys = dict.fromkeys([*bm25, *(key for key in more if key in self.documents)])
        return Found([self.candidate(key, bm25.get(key), rank) for rank, key in enumerate(keys)])

    def candidate(self, key: str, bm25: float | None, rank: int) -> Candidate:
        document = self.documents[key]
        return Candidate(ANSWER, key, document.title, document.text, bm25, rank, document.vector)
