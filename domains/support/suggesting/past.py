"""What agents decided on questions like this one, read from the rows: which answers were taken, which passed over.

The questions that teach stand in an index of their own, so their vectors are always those of the release that serves.
Nobody looks at all places alike: a suggestion counts as looked at by its position.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from domains.support.documents import QUESTIONS
from domains.support.models import Suggestion
from domains.support.suggesting.features import ANSWER, REPLY, Name, Past
from suite.index import selectors as index
from suite.index.engine import Query
from suite.index.fusion import Weights

NEAREST = 30  # earlier questions that are looked at
MOST_ADDED = 5  # answers that are candidates because they were taken for a question like this one
EXAMINED = (1.0, 0.75, 0.6, 0.5, 0.43)  # how likely an agent looks at a position (1 / position ** 0.5)
TAKEN = (Suggestion.State.ACCEPTED, Suggestion.State.EDITED)
DECIDED = (*TAKEN, Suggestion.State.REJECTED, Suggestion.State.IGNORED)
PRIOR_TAKEN, PRIOR_LOOKS = 1.0, 3.0  # of every answer, before anything is known of it


def examination(position: int) -> float:
    """How likely an agent looked at a position, from 1: the position-based model of Richardson, Dominowska and Ragno
    (Predicting Clicks, WWW 2007) with propensities that fall as Joachims, Swaminathan and Schnabel use them
    (Unbiased Learning-to-Rank with Biased Feedback, WSDM 2017)."""
    return EXAMINED[min(position, len(EXAMINED)) - 1]


def near_decisions(vector: np.ndarray | None, release: str) -> Past:
    """What was decided on the nearest earlier questions, by candidate; the vector is of this release."""
    if vector is None:
        return Past()
    hits = index.search(QUESTIONS, Query(vector=vector, k=NEAREST), weights=Weights(text=0), release=release)
    near = {each.key: each.similarity or 0.0 for each in hits.candidates}
    return past_of(near, suggestions_of(near))


def suggestions_of(runs: Iterable[str]) -> list[tuple[int, str, str | None, int | None, int]]:
    """(run, state, answer key, reply id, position) of the decided suggestions of runs."""
    rows = Suggestion.objects.filter(run__in=list(runs), state__in=DECIDED)
    return list(rows.values_list("run", "state", "answer__key", "reply", "position"))


def past_of(near: dict[str, float], decided: Sequence[tuple[int, str, str | None, int | None, int]]) -> Past:
    """From {run: cosine} and the suggestions of those runs. One that stood below the one taken says nothing."""
    accepted: dict[Name, float] = defaultdict(float)
    rejected: dict[Name, float] = defaultdict(float)
    lowest: dict[int, int] = {}
    for run, state, _, _, position in decided:
        if state in TAKEN:
            lowest[run] = max(lowest.get(run, 0), position)
    for run, state, answer, reply, position in decided:
        name = (ANSWER, answer) if answer else (REPLY, str(reply))
        cosine = near[str(run)]
        if state in TAKEN:
            accepted[name] = max(accepted[name], cosine)
        elif state == Suggestion.State.REJECTED or position < lowest.get(run, 0):
            rejected[name] = max(rejected[name], cosine)
    return Past(dict(accepted), dict(rejected))


def added(past: Past) -> list[str]:
    """Keys of answers to look at whatever the legs say: those taken for the nearest questions, the nearest first."""
    taken = sorted(
        ((cosine, key) for (pool, key), cosine in past.accepted_near.items() if pool == ANSWER), reverse=True
    )
    return [key for _, key in taken[:MOST_ADDED]]


def with_acceptance(past: Past, names: Sequence[Name]) -> Past:
    """The same with how often each candidate was taken, of the times it was looked at (clicks over expected clicks:
    Zhang and Jones, Comparing Click Logs and Editorial Labels, WWW 2007)."""
    answers = [key for pool, key in names if pool == ANSWER]
    rows = Suggestion.objects.filter(answer__key__in=answers, state__in=DECIDED)
    taken: dict[str, float] = defaultdict(float)
    looks: dict[str, float] = defaultdict(float)
    for key, state, position in rows.values_list("answer__key", "state", "position"):
        is_taken = state in TAKEN
        taken[key] += is_taken
        looks[key] += 1.0 if is_taken or state == Suggestion.State.REJECTED else examination(position)
    usual = math.log(PRIOR_TAKEN / (PRIOR_LOOKS - PRIOR_TAKEN))
    acceptance = {(ANSWER, key): log_odds(taken[key], looks[key]) - usual for key in looks}
    return Past(past.accepted_near, past.rejected_near, acceptance)


def log_odds(taken: float, looks: float) -> float:
    share = (taken + PRIOR_TAKEN) / (max(looks, taken) + PRIOR_LOOKS)
    return math.log(share / (1 - share))
