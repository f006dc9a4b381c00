"""Where every live topic stands, read from its rows: the truth that frames only point at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from suite.live.broadcast import token
from suite.live.models import Topic


@dataclass(frozen=True, slots=True)
class LiveTopic:
    """What a page needs to listen: the name, the signed token, and where the topic stood BEFORE its rows were read."""

    name: str
    token: str
    sequence: int


def sequences(names: Collection[str]) -> dict[str, int]:
    """The sequence of each topic, in one query; 0 where nothing was ever broadcast."""
    rows = dict(Topic.objects.filter(name__in=names).values_list("name", "sequence")) if names else {}
    return {name: rows.get(name, 0) for name in names}


def live_topic(name: str) -> LiveTopic:
    """Call it before reading what the page shows: news that comes in between is then found, not missed."""
    return LiveTopic(name, token(name), sequences([name])[name])
