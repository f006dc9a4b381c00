"""The collections that domains declare: `COLLECTIONS = {"label.name": Collection(...)}` in their `documents.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from suite.domain import DomainError, declared
from suite.index.engine import Document


@dataclass(frozen=True, slots=True)
class Collection:
    """Where a collection's documents come from: the domain's rows.

    `load(keys)` gives the documents that are there now, by key; a key it leaves out is removed from the index.
    `keys()` gives every key, for building from nothing and for counting.
    """

    load: Callable[[Sequence[str]], dict[str, Document]]
    keys: Callable[[], Iterable[str]]


@cache
def collections() -> dict[str, Collection]:
    """Every collection by its full name."""
    found: dict[str, Collection] = {}
    for domain, name, collection in declared("documents", "COLLECTIONS"):
        if not name.startswith(f"{domain.label}."):
            raise DomainError(f"domains/{domain.label}/documents.py: {name!r} must start with '{domain.label}.'")
        found[name] = collection
    return found
