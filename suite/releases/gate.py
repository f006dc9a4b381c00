"""The gate before a generation may serve: are all documents in it, and does its vector search find what is nearest?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from suite.index import models
from suite.index.collections import collections
from suite.index.engine import Query
from suite.index.models import DocumentVector, Generation, RefusedDocument
from suite.index.selectors import engine, unpack, vectors

PROBES = 50  # documents whose neighbours are looked for
NEIGHBOURS = 10
TIE = 1e-3  # similarities this close are one: vectors are kept in float16
RECALL = 0.95
ROWS_AT_ONCE = 5_000
SEED = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found of one generation.

    `expected` are the domain's documents without those that the engine refuses; `in_flight` are changes that came
    after the generation was brought to the end, so that the counts may differ by as many.
    """

    documents: int
    expected: int
    in_flight: int
    recall: float

    @property
    def reason(self) -> str:
        """Why it must not serve; empty where it may."""
        if abs(self.documents - self.expected) > self.in_flight:
            return f"it holds {self.documents:,} documents where {self.expected:,} are expected"
        if self.recall < RECALL:
            return f"its search finds {self.recall:.1%} of the nearest {NEIGHBOURS}, {RECALL:.0%} are wanted"
        return ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"recall": round(self.recall, 4)}


def examine(generation: Generation) -> Outcome:
    """Measure a generation that has been brought to the end. Raises `EngineError` where the engine cannot be asked."""
    documents = engine().count(generation.name)
    refused = RefusedDocument.objects.filter(generation=generation).count()
    expected = len(set(collections()[generation.collection_id].keys())) - refused
    recall = recall_of(generation)
    last = models.Collection.objects.values_list("last_sequence", flat=True).get(pk=generation.collection_id)
    return Outcome(documents, expected, last - generation.synced_sequence, recall)


def recall_of(generation: Generation) -> float:
    """Share of the exact nearest neighbours of sampled documents that the engine's vector search finds.

    1.0 where there are no vectors. A neighbour as near as the last of the exact ones counts as found.
    """
    rows = DocumentVector.objects.filter(fingerprint=generation.fingerprint, collection=generation.collection_id)
    ids = np.fromiter(rows.values_list("id", flat=True).iterator(), dtype=np.int64)
    if not len(ids):
        return 1.0
    sampled = np.random.default_rng(SEED).choice(ids, size=min(PROBES, len(ids)), replace=False).tolist()
    probes = np.vstack([unpack(vector) for vector in rows.filter(id__in=sampled).values_list("vector", flat=True)])
    depth = min(NEIGHBOURS, len(ids))
    last = exact_similarities(generation, probes, depth)[:, -1]  # (p,)
    return float(np.mean([found(generation, probe, least, depth) for probe, least in zip(probes, last, strict=True)]))


def exact_similarities(generation: Generation, probes: np.ndarray, depth: int) -> np.ndarray:
    """The `depth` highest similarities of each probe over all vectors, highest first: (p, d) -> (p, depth)."""
    rows = DocumentVector.objects.filter(fingerprint=generation.fingerprint, collection=generation.collection_id)
    best = np.full((len(probes), depth), -np.inf, dtype=np.float32)
    block: list[np.ndarray] = []
    for vector in rows.values_list("vector", flat=True).iterator(chunk_size=ROWS_AT_ONCE):
        block.append(unpack(vector))
        if len(block) == ROWS_AT_ONCE:
            best = highest(best, probes @ np.vstack(block).T, depth)
            block.clear()
    return highest(best, probes @ np.vstack(block).T, depth) if block else best


def highest(best: np.ndarray, similarities: np.ndarray, depth: int) -> np.ndarray:
    return -np.sort(-np.hstack([best, similarities]), axis=1)[:, :depth]


def found(generation: Generation, probe: np.ndarray, least: float, depth: int) -> float:
    """Share of `depth` neighbours at least as similar as `least` that the engine finds for one probe."""
    legs = engine().search(generation.name, Query(vector=probe, k=depth))
    keys = [key for key, _ in legs.vector[:depth]]
    stored = vectors(generation.collection_id, keys, generation.fingerprint)
    return sum(float(stored[key] @ probe) >= least - TIE for key in keys if key in stored) / depth
