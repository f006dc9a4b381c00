"""What a candidate engine promises. Two engines keep it, and one conformance suite holds both to it.

A generation is one index of one collection, built with one release and stamped with its fingerprint. Writes carry
external versions: an older one never overwrites a newer one, so a late or repeated write does no harm. An alias moves
from one generation to another in one step, and a search that runs meanwhile never fails for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

Attribute = str | float | bool | Sequence[str]


class EngineError(Exception):
    """The engine cannot do what was asked."""


class EngineUnavailable(EngineError):
    """The engine does not answer, or not in time. The same call may succeed later."""


class GenerationMissing(EngineError):
    """There is no such generation or alias, or its files are gone: it must be built again."""


@dataclass(frozen=True, slots=True)
class Document:
    """What can be found. `text` follows the title; a `vector` is float32 (d,) of unit length.

    Attributes that are strings, booleans (`"true"`, `"false"`), numbers (`number_text`) or lists of strings can be
    asked for by `Term`, numbers by `Range`, too. One name may be a number in one document and a string in another.
    """

    key: str
    title: str
    text: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    version: int = 0
    vector: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """The attribute, or one of its list, is one of `values`."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The attribute is a number from `gte` to `lte`, both included; None leaves that end open."""

    field: str
    gte: float | None = None
    lte: float | None = None


Filter = Term | Range


@dataclass(frozen=True, slots=True)
class Query:
    """One search: a text leg where `text` is given, a vector leg where `vector` is. All filters must hold."""

    text: str = ""
    vector: np.ndarray | None = None  # float32 (d,), unit length
    filters: tuple[Filter, ...] = ()
    exclude: frozenset[str] = frozenset()  # keys
    k: int = 100


@dataclass(frozen=True, slots=True)
class Legs:
    """What each leg found, best first: `text` as (key, BM25 score), `vector` as (key, cosine similarity)."""

    text: Sequence[tuple[str, float]] = ()
    vector: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document found; a score is None where that leg did not find it."""

    key: str
    bm25: float | None
    similarity: float | None
    score: float  # of both legs together


@dataclass(frozen=True, slots=True)
class PutReport:
    """Documents that the engine refuses for good, with its reason; everything else is in or was there, newer."""

    refused: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """Every method raises `EngineUnavailable` where the engine does not answer, and `GenerationMissing` for a
    generation (or, in `search`, an alias) that is not there."""

    def create(self, generation: str, dimensions: int, fingerprint: str) -> None:
        """Make an empty generation; one that exists with the same stamp is left as it is. 0 dimensions: text only."""

    def put(self, generation: str, documents: Sequence[Document]) -> PutReport:
        """Add or replace documents, except where a version as new or newer is there."""

    def delete(self, generation: str, versions: Mapping[str, int]) -> None:
        """Remove documents by {key: version}, except where a newer version is there."""

    def search(self, target: str, query: Query) -> Legs:
        """Up to `max(query.k, LEG_DEPTH)` documents a leg, from a generation or the one that an alias names."""

    def refresh(self, generation: str) -> None:
        """Make everything written so far visible to searches."""

    def count(self, generation: str) -> int:
        """Documents in it, deleted ones not counted."""

    def exists(self, generation: str) -> bool: ...

    def fingerprint(self, generation: str) -> str: ...

    def generations(self) -> list[str]: ...

    def drop(self, generation: str) -> None:
        """Remove a generation; one that is not there is no error."""

    def switch(self, alias: str, generation: str) -> None:
        """Let the alias name this generation and no other, in one step."""

    def resolve(self, alias: str) -> str | None:
        """The generation that an alias names."""


LEG_DEPTH = 100  # a leg looks at least this deep, so that the fusion of a short list sees both
QUERY_TOKENS = 64  # distinct tokens of a query that count
KEY_BYTES = 512  # what Elasticsearch takes as an id
TERM_LENGTH = 256  # longer names and values of attributes cannot be asked for


def refusal(document: Document, dimensions: int) -> str:
    """Why no engine can ever take a document, empty where it can."""
    key, vector = document.key, document.vector
    if not key or not key.isprintable() or len(key.encode()) > KEY_BYTES:
        return f"its key must be 1 to {KEY_BYTES} bytes of printable characters"
    if vector is not None and dimensions and vector.shape != (dimensions,):
        return f"its vector has shape {vector.shape}, this generation takes ({dimensions},)"
    if vector is not None and not np.isfinite(vector).all():
        return "its vector holds values that are not finite"
    return ""


def newest_valid(documents: Sequence[Document], dimensions: int) -> tuple[dict[str, Document], dict[str, str]]:
    """({key: its newest document}, {key: why it is refused})."""
    newest: dict[str, Document] = {}
    refused = {}
    for document in documents:
        if reason := refusal(document, dimensions):
            refused[document.key] = reason
        elif document.key not in newest or newest[document.key].version < document.version:
            newest[document.key] = document
    return newest, refused


def terms_of(attributes: Mapping[str, Attribute]) -> list[tuple[str, str]]:
    """The (field, value) pairs that `Term` finds: strings, booleans, numbers, lists of strings; any other value is
    passed by."""
    pairs = [(name, number_text(value)) for name, value in numbers_of(attributes)]
    for name, value in attributes.items():
        if isinstance(value, bool):
            pairs.append((name, "true" if value else "false"))
        elif isinstance(value, str):
            pairs.append((name, value))
        elif isinstance(value, Sequence):
            pairs += [(name, each) for each in value if isinstance(each, str)]
    return [(plain(name), plain(value)) for name, value in pairs if value and len(name + value) <= TERM_LENGTH]


def number_text(value: float) -> str:
    """A number as a term: 42 for 42.0."""
    return f"{value:.15g}"


def numbers_of(attributes: Mapping[str, Attribute]) -> list[tuple[str, float]]:
    """The (field, value) pairs that `Range` finds."""
    return [
        (plain(name), float(value))
        for name, value in attributes.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and len(name) <= TERM_LENGTH
    ]


def plain(text: str) -> str:
    """Without lone surrogates, which no engine can store."""
    return text.encode("utf-8", "replace").decode()
