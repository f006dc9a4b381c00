"""The registry of domains: the folders of `domains/` that hold a `domain.py`.

A domain is one folder. Its parts are modules with fixed names (`events`, `handlers`, `documents`, `heads`, `decisions`,
`jobs`, `loaders`, `evaluations`, `benchmarks`, `api`, `urls`), found here and imported on first use, so that a process
only loads what it needs: a web process never imports `handlers`, and so never loads torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.events.envelope import Envelope
    from suite.events.models import Event

DOMAINS_FOLDER = Path(__file__).resolve().parent.parent / "domains"


class DomainError(Exception):
    """A folder under `domains/` breaks the contract; the message names the folder and the mend."""


class NotYet(Exception):
    """What a handler needs is not there yet; raised in `prepare`, and its events wait without being blamed for it."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What a folder under `domains/` declares in its `domain.py` as `DOMAIN`.

    `label` is the folder's name, the Django app label, the first word of its event types, the API and URL prefix.
    """

    label: str
    title: str
    description: str = ""
    home: str = ""  # URL name of its first page, empty where it has none

    def part(self, name: str) -> ModuleType | None:
        """The module `domains.<label>.<name>`, imported now; None where the domain has no such part."""
        path = f"domains.{self.label}.{name}"
        return import_module(path) if find_spec(path) else None

    def declared(self, part: str, constant: str) -> dict[str, Any]:
        """The mapping `constant` of the part's module, empty where there is none."""
        module = self.part(part)
        return dict(getattr(module, constant, {})) if module else {}


@dataclass(frozen=True, slots=True)
class EventType:
    """How one event type comes in. Declared by a domain in `events.py` as `EVENT_TYPES = {type: EventType(...)}`.

    `validate(envelope) -> data` returns the data to store or raises `suite.events.envelope.Rejected(field, reason)`.
    `record(events)` writes the domain's own rows in the transaction that stores the events, in order of arrival.
    `is_handled` is True where `handlers.py` has a handler for the type.
    """

    validate: Callable[[Envelope], dict[str, Any]]
    record: Callable[[Sequence[Event]], None] | None = None
    is_handled: bool = False
    schema: Mapping[str, Any] = field(default_factory=dict)  # JSON Schema of `data`, for the OpenAPI page

    def unused(self, data: Mapping[str, Any]) -> list[str]:
        """The names in `data` that the schema does not know; none where it takes any."""
        known = self.schema.get("properties")
        if known is None or "additionalProperties" in self.schema or data.keys() <= known.keys():
            return []
        return [name for name in data if name not in known]


@dataclass(frozen=True, slots=True)
class Handler:
    """What a worker does with a batch of events of one type. Declared in `handlers.py` as `HANDLERS = {type: Handler}`.

    `prepare(events)` does slow work (the encoder) outside any transaction; its result goes to
    `apply(events, prepared)`, which runs in the transaction that removes the pending marks: the effect happens once.
    """

    apply: Callable[[Sequence[Event], Any], None]
    prepare: Callable[[Sequence[Event]], Any] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Background work that a domain repeats. Declared in `jobs.py` as `JOBS = {name: Job}`; one run at a time."""

    run: Callable[[], None]
    every: float  # seconds


@cache
def domains() -> dict[str, Domain]:
    """Every domain by label, in alphabetical order. Raises `DomainError` where a folder breaks the contract."""
    found = {}
    for folder in sorted(DOMAINS_FOLDER.iterdir()):
        if not (folder / "domain.py").is_file():
            continue
        domain = getattr(import_module(f"domains.{folder.name}.domain"), "DOMAIN", None)
        if not isinstance(domain, Domain):
            raise DomainError(f"domains/{folder.name}/domain.py: DOMAIN must be a suite.domain.Domain")
        if domain.label != folder.name or not re.fullmatch(r"[a-z][a-z0-9_]*", domain.label):
            raise DomainError(f"domains/{folder.name}/domain.py: label {domain.label!r} must be the folder's name")
        found[domain.label] = domain
    return found


def declared(part: str, constant: str) -> Iterator[tuple[Domain, str, Any]]:
    """(domain, name, value) of a constant mapping of every domain, e.g. `declared("documents", "COLLECTIONS")`."""
    for domain in domains().values():
        for name, value in domain.declared(part, constant).items():
            yield domain, name, value


@cache
def event_types() -> dict[str, EventType]:
    """Every event type that can be ingested, by its full name."""
    types = {}
    for domain, name, event_type in declared("events", "EVENT_TYPES"):
        if not name.startswith(f"{domain.label}."):
            raise DomainError(f"domains/{domain.label}/events.py: type {name!r} must start with '{domain.label}.'")
        types[name] = event_type
    return types


@cache
def handlers() -> dict[str, Handler]:
    """Every handler by event type; imports the `handlers` modules, so workers only."""
    found = {name: handler for _, name, handler in declared("handlers", "HANDLERS")}
    promised = {name for name, event_type in event_types().items() if event_type.is_handled}
    if promised != found.keys():
        raise DomainError(f"is_handled and HANDLERS disagree on: {', '.join(sorted(promised ^ found.keys()))}")
    return found
