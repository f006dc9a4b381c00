"""Where a release's decisions on live questions stand: does the first suggestion answer, as the relevance head has it.

The ranker's confidence is more than the head's: it was fitted under one release and is not asked here.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet
from django.urls import reverse
from scipy.special import expit

from domains.support.documents import load_answers, load_replies
from domains.support.models import Suggestion
from domains.support.training_data import NO, YES
from suite.index.vectors import encoded_text
from suite.releases.decisions import Decision, LiveDecisions

RELEVANCE = "relevance"  # the head, and the feature that holds its log odds


def first_suggestions() -> QuerySet[Suggestion]:
    return Suggestion.objects.filter(position=1).select_related("run", "conversation", "answer")


def relevances(rows: Sequence[Suggestion]) -> list[Decision]:
    """Without those whose text is gone or was changed since, or where a vector was missing (log odds of exactly 0)."""
    answers = load_answers([row.answer.key for row in rows if row.answer])
    replies = load_replies([str(row.reply_id) for row in rows if row.reply_id])
    found = []
    for row in rows:
        document = answers.get(row.answer.key) if row.answer else replies.get(str(row.reply_id))
        if row.answer and row.answer.changed_at > row.offered_at:
            continue
        log_odds = row.features.get(RELEVANCE, 0.0)
        if document is None or not log_odds:
            continue
        pair = (row.run.question, encoded_text(document))
        url = reverse("support:conversation", args=[row.conversation.key])
        label = YES if log_odds > 0 else NO
        found.append(Decision(row.pk, pair, label, float(expit(abs(log_odds))), url))
    return found


DECISIONS = {RELEVANCE: LiveDecisions(first_suggestions, relevances)}
