"""The Elasticsearch engine: plain calls of the official client (bulk, msearch, count, aliases), any server from 9.1.

The mapping is explicit and never grows: attributes are strings in two keyword fields, terms as name and value, numbers
as name and sixteen digits that sort as the number does. So a thousand attribute names cost no field, and one name may
be a number here and a string there. Tokens come from `suite.index.text` and are only split at spaces.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from elasticsearch import ApiError, Elasticsearch, NotFoundError, TransportError

from suite.index.engine import (
    LEG_DEPTH,
    QUERY_TOKENS,
    Document,
    EngineError,
    EngineUnavailable,
    Filter,
    GenerationMissing,
    Legs,
    PutReport,
    Query,
    Term,
    newest_valid,
    numbers_of,
    plain,
    terms_of,
)
from suite.index.text import document_tokens, query_tokens

log = logging.getLogger(__name__)
SEARCH_SECONDS = 2.0  # a page is never held longer
PAUSE_SECONDS = 1.0  # after a search that got no answer, others are refused at once for this long
WRITE_SECONDS = 30.0
BUSY_WAITS = (0.2, 0.4, 0.8, 1.6, 3.2)  # back-off while the server is busy (429), then it counts as unavailable
BUSY = frozenset({429, 502, 503, 504})
BULK_DOCUMENTS = 500  # with vectors about 2 MB
SEPARATOR = "\x1f"  # between the name and the value of an attribute
MOST_CANDIDATES = 10_000  # of a vector search, the server's own limit


class ElasticsearchEngine:
    """`suite.index.engine.Engine` on one Elasticsearch cluster. `prefix` is what its generations' names begin with."""

    def __init__(self, url: str, *, prefix: str, api_key: str = "") -> None:
        self.prefix = prefix.lower()
        client = Elasticsearch(url, api_key=api_key or None, max_retries=0, http_compress=False)
        self._reads = client.options(request_timeout=SEARCH_SECONDS)
        self._writes = client.options(request_timeout=WRITE_SECONDS)
        self._paused_until = 0.0
        self._dimensions: dict[str, int] = {}

    # Generations --------------------------------------------------------------------------------------------
    def create(self, generation: str, dimensions: int, fingerprint: str) -> None:
        with translated(generation):
            try:
                self._writes.indices.create(
                    index=generation,
                    settings=SETTINGS,
                    mappings=mapping(dimensions, fingerprint),
                    aliases={write_alias(generation): {}},
                )
            except ApiError as error:
                if error.error != "resource_already_exists_exception":
                    raise
                if self._stamp(generation) != {"fingerprint": fingerprint, "dimensions": dimensions}:
                    raise EngineError(f"{generation} exists with another stamp") from error

    def exists(self, generation: str) -> bool:
        try:
            return bool(self._stamp(generation))
        except GenerationMissing:
            return False

    def fingerprint(self, generation: str) -> str:
        return str(self._stamp(generation)["fingerprint"])

    def generations(self) -> list[str]:
        with translated(self.prefix):
            found = self._reads.indices.get(index=f"{self.prefix}.*", filter_path="*.mappings._meta")
            return sorted(found.body)

    def drop(self, generation: str) -> None:
        with translated(generation):
            self._writes.indices.delete(index=generation, ignore_unavailable=True)
            self._dimensions.pop(generation, None)

    def switch(self, alias: str, generation: str) -> None:
        with translated(generation):
            self._writes.indices.update_aliases(
                actions=[
                    {"remove": {"index": "*", "alias": alias, "must_exist": False}},
                    {"add": {"index": generation, "alias": alias}},
                ]
            )

    def resolve(self, alias: str) -> str | None:
        with translated(alias):
            try:
                return next(iter(self._reads.indices.get_alias(name=alias).body), None)
            except NotFoundError:
                return None

    def refresh(self, generation: str) -> None:
        with translated(generation):
            self._writes.indices.refresh(index=generation)

    def count(self, generation: str) -> int:
        with translated(generation):
            return int(self._reads.count(index=generation)["count"])

    def _stamp(self, generation: str) -> dict[str, Any]:
        """What `create` wrote into the mapping; empty for an index that is not ours."""
        with translated(generation):
            found = self._reads.indices.get_mapping(index=generation).body
            return dict(found[generation]["mappings"].get("_meta", {})) if generation in found else {}

    # Writes -------------------------------------------------------------------------------------------------
    def put(self, generation: str, documents: Sequence[Document]) -> PutReport:
        if generation not in self._dimensions:
            self._dimensions[generation] = int(self._stamp(generation)["dimensions"])
        newest, refused = newest_valid(documents, self._dimensions[generation])
        operations = [
            [{"index": versioned(key, document.version)}, source_of(document)] for key, document in newest.items()
        ]
        return PutReport(refused | self._bulk(generation, operations))

    def delete(self, generation: str, versions: Mapping[str, int]) -> None:
        operations = [[{"delete": versioned(key, version)}] for key, version in versions.items()]
        refused = self._bulk(generation, operations)
        if refused:
            raise EngineError(f"{generation} does not remove {len(refused)} documents: {next(iter(refused.values()))}")

    def _bulk(self, generation: str, operations: Sequence[list[dict[str, Any]]]) -> dict[str, str]:
        """Carry out {action, source} pairs; returns {key: why} for what is refused for good."""
        refused: dict[str, str] = {}
        for start in range(0, len(operations), BULK_DOCUMENTS):
            waiting = list(operations[start : start + BULK_DOCUMENTS])
            for wait in (*BUSY_WAITS, None):
                waiting = self._bulk_once(generation, waiting, refused)
                if not waiting:
                    break
                if wait is None:
                    raise EngineUnavailable(f"{generation} is busy: {len(waiting)} documents wait")
                time.sleep(wait)
        return refused

    def _bulk_once(
        self, generation: str, operations: list[list[dict[str, Any]]], refused: dict[str, str]
    ) -> list[list[dict[str, Any]]]:
        """One request; returns the operations to send again. A version conflict says that a newer one is there."""
        with translated(generation):
            try:
                answer = self._writes.bulk(
                    index=write_alias(generation),  # an alias, so that a lost index is not made anew by this request
                    require_alias=True,
                    operations=[line for operation in operations for line in operation],
                )
            except ApiError as error:
                if error.status_code == 429:
                    return operations
                raise
            return self._sorted_out(generation, operations, answer["items"], refused)

    def _sorted_out(
        self,
        generation: str,
        operations: list[list[dict[str, Any]]],
        items: Sequence[Mapping[str, Any]],
        refused: dict[str, str],
    ) -> list[list[dict[str, Any]]]:
        """Read each item's outcome, for a bulk request that succeeds says nothing about its items."""
        again = []
        for operation, item in zip(operations, items, strict=True):
            result = next(iter(item.values()))
            trouble, status = result.get("error"), result["status"]
            if result["_index"] == write_alias(generation) and not trouble:
                self._writes.indices.delete(index=write_alias(generation), ignore_unavailable=True)
                raise GenerationMissing(f"{generation} is not there")  # a removal made an index in place of the alias
            if status in BUSY:
                again.append(operation)
            elif trouble and trouble.get("type") == "index_not_found_exception":
                raise GenerationMissing(f"{generation} is not there")
            elif trouble and status != 409:
                refused[result["_id"]] = f"{trouble.get('type')}: {trouble.get('reason')}"
        return again

    # Reads --------------------------------------------------------------------------------------------------
    def search(self, target: str, query: Query) -> Legs:
        depth = min(max(query.k, LEG_DEPTH), MOST_CANDIDATES)
        bodies: dict[str, dict[str, Any]] = {}
        if wanted := query_tokens(query.text, QUERY_TOKENS):
            bodies["text"] = text_body(wanted, query, depth)
        if query.vector is not None and np.any(query.vector):
            bodies["vector"] = vector_body(query.vector, query, depth)
        if not bodies:
            return Legs()
        if time.monotonic() < self._paused_until:
            raise EngineUnavailable("Elasticsearch did not answer a moment ago")
        try:
            answers = self._search(target, list(bodies.values()))
        except EngineUnavailable:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            raise
        found = dict(zip(bodies, answers, strict=True))
        by_vector = [(key, 2 * score - 1) for key, score in found.get("vector", [])]  # the server gives (1 + cosine)/2
        return Legs(found.get("text", []), by_vector)

    def _search(self, target: str, bodies: Sequence[dict[str, Any]]) -> list[list[tuple[str, float]]]:
        """Both legs in one request; again where an alias moved between them, for they must be of one generation."""
        lines = [line for body in bodies for line in ({"index": target}, body)]
        while True:
            with translated(target):
                answers = self._reads.msearch(searches=lines, filter_path=SEARCH_PATHS)["responses"]
            for answer in answers:
                if "error" in answer:
                    raise failure(target, answer["status"], answer["error"].get("type", ""))
            legs = [answer.get("hits", {}).get("hits", []) for answer in answers]
            if len({hit["_index"] for leg in legs for hit in leg}) <= 1:
                return [[(hit["_id"], float(hit["_score"])) for hit in leg] for leg in legs]


SEARCH_PATHS = [f"responses.{path}" for path in ("hits.hits._index", "hits.hits._id", "hits.hits._score")] + [
    "responses.status",
    "responses.error.type",
]
SETTINGS = {
    "number_of_shards": 1,  # term statistics are then of the whole generation
    "auto_expand_replicas": "0-1",
    "refresh_interval": "1s",
    "gc_deletes": "1h",  # how long the version of a removed document is remembered
    "similarity": {"default": {"type": "BM25", "k1": 1.2, "b": 0.75}},  # tantivy's own
}


def mapping(dimensions: int, fingerprint: str) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "tokens": {"type": "text", "analyzer": "whitespace", "index_options": "freqs"},
        "terms": {"type": "keyword", "doc_values": False},
        "numbers": {"type": "keyword", "doc_values": False},
    }
    if dimensions:
        properties["vector"] = {
            "type": "dense_vector",
            "dims": dimensions,
            "index": True,
            "similarity": "cosine",
            "index_options": {"type": "int8_hnsw"},
        }
    return {
        "dynamic": "strict",
        "_source": {"excludes": ["vector", "tokens"]},
        "_meta": {"fingerprint": fingerprint, "dimensions": dimensions},
        "properties": properties,
    }


def write_alias(generation: str) -> str:
    return f"{generation}.write"


def versioned(key: str, version: int) -> dict[str, Any]:
    return {"_id": key, "version": version, "version_type": "external"}


def source_of(document: Document) -> dict[str, Any]:
    source: dict[str, Any] = {
        "tokens": document_tokens(document.title, document.text),
        "terms": [f"{name}{SEPARATOR}{value}" for name, value in terms_of(document.attributes)],
        "numbers": [f"{name}{SEPARATOR}{sortable(value)}" for name, value in numbers_of(document.attributes)],
    }
    if document.vector is not None and np.any(document.vector):
        source["vector"] = rounded(document.vector)
    return source


def rounded(vector: np.ndarray) -> list[float]:
    """Six decimals: finer than float16, and half the bytes."""
    return [float(value) for value in np.round(vector.astype(np.float64), 6)]


def sortable(value: float) -> str:
    """Sixteen hexadecimal digits that sort as strings in the order of the numbers."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # + 0.0: the two zeros are one
    return f"{bits ^ 0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else bits | 1 << 63:016x}"


def text_body(wanted: Sequence[str], query: Query, depth: int) -> dict[str, Any]:
    match = {"match": {"tokens": {"query": " ".join(wanted)}}}
    return {
        "query": {"bool": {"must": [match], **restrictions(query)}},
        "size": depth,
        "_source": False,
        "track_total_hits": False,
    }


def vector_body(vector: np.ndarray, query: Query, depth: int) -> dict[str, Any]:
    return {
        "knn": {
            "field": "vector",
            "query_vector": rounded(vector),
            "k": depth,
            "num_candidates": min(3 * depth, MOST_CANDIDATES),
            "rescore_vector": {"oversample": 2.0},  # bytes find, floats rank
            "filter": [{"bool": restrictions(query)}],
        },
        "size": depth,
        "_source": False,
        "track_total_hits": False,
    }


def restrictions(query: Query) -> dict[str, Any]:
    """The filters and exclusions as parts of a `bool` query."""
    return {
        "filter": [condition(each) for each in query.filters],
        "must_not": [{"ids": {"values": sorted(query.exclude)}}] if query.exclude else [],
    }


def condition(wanted: Filter) -> dict[str, Any]:
    name = f"{plain(wanted.field)}{SEPARATOR}"
    if isinstance(wanted, Term):
        return {"terms": {"terms": [name + plain(value) for value in wanted.values]}}
    lowest = sortable(float("-inf") if wanted.gte is None else wanted.gte)
    highest = sortable(float("inf") if wanted.lte is None else wanted.lte)
    return {"range": {"numbers": {"gte": name + lowest, "lte": name + highest}}}


@contextmanager
def translated(target: str) -> Iterator[None]:
    """The client's errors as ours."""
    try:
        yield
    except ApiError as error:
        raise failure(target, error.status_code, error.error) from error
    except TransportError as error:
        raise EngineUnavailable(f"Elasticsearch does not answer ({type(error).__name__})") from error


def failure(target: str, status: int, kind: str) -> EngineError:
    if kind == "index_not_found_exception" or status == 404:
        return GenerationMissing(f"{target} is not there")
    if status in BUSY:
        return EngineUnavailable(f"Elasticsearch is busy or starting ({status} {kind})")
    return EngineError(f"Elasticsearch refuses: {status} {kind}")
