"""What became of the suggestions: by position, by answer, by release; answers that nobody takes; questions without one.

Counts are of what agents decided: accepted or edited is taken, rejected or ignored is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db.models import Avg, Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from domains.support.documents import QUESTIONS, is_sought
from domains.support.models import Answer, Conversation, Feedback, Suggestion, SuggestionRun
from suite.index import selectors as index

TAKEN = Q(state__in=(Suggestion.State.ACCEPTED, Suggestion.State.EDITED))
DECIDED = Q(
    state__in=(
        Suggestion.State.ACCEPTED,
        Suggestion.State.EDITED,
        Suggestion.State.REJECTED,
        Suggestion.State.IGNORED,
    )
)
DAYS = 90  # that are looked at
MOST_ANSWERS = 200
NEVER_SHOWN = 5  # times shown before an answer counts as never taken
GAP_RUNS = 1_000  # newest questions without an answer that are clustered
GAP_SIMILARITY = 0.6  # cosine within a cluster of questions
GAP_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Share:
    """How often something was taken of the times it was shown and decided on."""

    name: str  # a position, a release, a title
    key: str
    shown: int
    taken: int
    edited: int
    rejected: int
    edit_distance: float  # mean of those edited

    @property
    def rate(self) -> float:
        return self.taken / self.shown if self.shown else 0.0


@dataclass(frozen=True, slots=True)
class Analytics:
    since: datetime
    runs: int  # questions that were looked at
    offered: int  # of which something was offered for
    nothing_good: int
    taken: int
    median_seconds: float  # from message to suggestion; 0 where there is no question
    by_position: list[Share]
    by_answer: list[Share]
    by_release: list[Share]
    never_taken: list[Share]  # shown at least `NEVER_SHOWN` times
    never_shown: int  # answers that were never offered


@dataclass(frozen=True, slots=True)
class Gap:
    """Questions that mean much the same, and for which nothing good was found, or all was rejected."""

    question: str  # the most central one, masked
    count: int
    examples: list[str]
    newest: datetime
    conversation: str  # id of the newest one
    runs: list[int]


def analytics(days: int = DAYS) -> Analytics:
    since = timezone.now() - timedelta(days=days)
    runs = SuggestionRun.objects.filter(created_at__gte=since)
    decided = Suggestion.objects.filter(DECIDED, offered_at__gte=since)
    by_answer = shares(decided.filter(answer__isnull=False), "answer__key", "answer__title")[:MOST_ANSWERS]
    nothing = SuggestionRun.Outcome.NOTHING_GOOD
    offered = Answer.objects.filter(Exists(Suggestion.objects.filter(answer=OuterRef("pk"))))
    shown = set(offered.values_list("key", flat=True))
    existing = Answer.objects.filter(is_removed=False).values_list("key", flat=True)
    return Analytics(
        since=since,
        runs=runs.count(),
        offered=runs.exclude(outcome=nothing).count(),
        nothing_good=runs.filter(outcome=nothing).count(),
        taken=decided.filter(TAKEN).count(),
        median_seconds=median_seconds(runs),
        by_position=sorted(shares(decided, "position", "position"), key=lambda share: int(share.key)),
        by_answer=by_answer,
        by_release=shares(decided, "release", "release"),
        never_taken=[share for share in by_answer if not share.taken and share.shown >= NEVER_SHOWN],
        never_shown=sum(is_sought(key) and key not in shown for key in existing),
    )


def median_seconds(runs: QuerySet[SuggestionRun]) -> float:
    """The lower of the two in the middle, where they are two: one old question that a release answered late moves it
    no more than any other."""
    middle = max(runs.count() - 1, 0) // 2
    return runs.order_by("seconds").values_list("seconds", flat=True)[middle : middle + 1].first() or 0.0


def shares(suggestions: object, key: str, name: str) -> list[Share]:
    """One share a value, the most shown first."""
    rows = (
        suggestions.order_by()  # type: ignore[attr-defined]
        .values(key, name)
        .annotate(
            shown=Count("pk", distinct=True),
            taken=Count("pk", filter=TAKEN, distinct=True),
            edited=Count("pk", filter=Q(state=Suggestion.State.EDITED), distinct=True),
            rejected=Count("pk", filter=Q(state=Suggestion.State.REJECTED), distinct=True),
            distance=Avg("feedback__edit_distance", filter=Q(feedback__kind=Feedback.Kind.EDITED)),
        )
    )
    found = [
        Share(
            str(row[name] or row[key]), str(row[key]), row["shown"], row["taken"], row["edited"], row["rejected"],
            row["distance"] or 0.0,
        )
        for row in rows
    ]  # fmt: skip
    return sorted(found, key=lambda share: (-share.shown, share.key))


def knowledge_gaps(most: int = 20) -> list[Gap]:
    """Clusters of questions without an answer, the largest first."""
    taken = Suggestion.objects.filter(TAKEN, run=OuterRef("pk"))
    rejected = Suggestion.objects.filter(run=OuterRef("pk"), state=Suggestion.State.REJECTED)
    unanswered = SuggestionRun.objects.filter(
        Q(outcome=SuggestionRun.Outcome.NOTHING_GOOD) | Q(Exists(rejected)), ~Exists(taken)
    )
    newest = unanswered.exclude(question="").select_related("message__conversation").order_by("-id")[:GAP_RUNS]
    rows = list(newest)
    generation = index.active_generation(QUESTIONS)
    known = index.vectors(QUESTIONS, [str(row.pk) for row in rows], generation.fingerprint) if generation else {}
    placed = [row for row in rows if str(row.pk) in known]
    if not placed:
        return []
    vectors = np.stack([known[str(row.pk)] for row in placed])
    gaps = [gap_of([placed[i] for i in members], vectors[members]) for members in clusters(vectors)]
    return sorted(gaps, key=lambda gap: (-gap.count, -gap.newest.timestamp()))[:most]


def clusters(vectors: np.ndarray) -> list[np.ndarray]:
    """Positions of unit vectors (n, d) in groups: each takes the ones near the vector that has most neighbours left."""
    near = vectors @ vectors.T >= GAP_SIMILARITY  # (n, n)
    left = np.ones(len(vectors), dtype=bool)
    found = []
    while left.any():
        counts = (near & left[None, :]).sum(axis=1) * left
        members = np.flatnonzero(near[counts.argmax()] & left)
        found.append(members)
        left[members] = False
    return found


def gap_of(rows: Sequence[SuggestionRun], vectors: np.ndarray) -> Gap:
    """`rows` newest first; the central question is the nearest to their mean."""
    central = int((vectors @ vectors.mean(axis=0)).argmax())
    texts = list(dict.fromkeys(row.question for row in rows))
    newest = rows[0].message
    conversation: Conversation = newest.conversation
    return Gap(
        rows[central].question, len(rows), texts[:GAP_EXAMPLES], newest.sent_at, conversation.key, [r.pk for r in rows]
    )
