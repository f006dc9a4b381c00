"""Live streams: what the sample's people do from now on, so that screens move without waiting for real ones.

A domain declares `loaders.py: LIVE = {"<label>.<name>": stream}`. `stream()` yields, without end, (seconds since
the one before, one CloudEvent as `suite.events.ingestion.ingest` takes it, without a time); an id may never come twice,
in another run neither.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from suite.domain import DomainError, declared

Live = Callable[[], Iterator[tuple[float, dict[str, Any]]]]


@cache
def live_streams() -> dict[str, Live]:
    """Every live stream that a domain declares, by name."""
    found = {}
    for domain, name, stream in declared("loaders", "LIVE"):
        if not name.startswith(f"{domain.label}."):
            raise DomainError(f"domains/{domain.label}/loaders.py: live stream {name!r} must start '{domain.label}.'")
        found[name] = stream
    return found


def merged(streams: Mapping[str, Live], names: Sequence[str]) -> Iterator[tuple[float, dict[str, Any]]]:
    """(seconds since the start, event) of the named streams side by side, in order of time."""
    running = [streams[name]() for name in names]
    due: list[tuple[float, int, dict[str, Any]]] = []
    for place, stream in enumerate(running):
        for delay, event in stream:
            heapq.heappush(due, (delay, place, event))
            break
    while due:
        moment, place, event = heapq.heappop(due)
        yield moment, event
        for delay, following in running[place]:
            heapq.heappush(due, (moment + delay, place, following))
            break
