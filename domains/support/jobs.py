"""What support repeats: a ranker for the release that serves, answers for who was missed, learning from decisions."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef, Subquery

from domains.support.handlers import drafts_for
from domains.support.learning.online import learn
from domains.support.learning.rankers import ensure_ranker
from domains.support.models import Conversation, Message, SuggestionRun
from domains.support.suggesting.drafts import store
from domains.support.suggesting.suggest import active_fingerprint, active_ranker
from suite.domain import Job
from suite.releases.runtime import encoder_for

AT_ONCE = 50


def make_ranker() -> None:
    """A release that has just come to serve gets its ranker before somebody waits for it."""
    fingerprint = active_fingerprint()
    if fingerprint and active_ranker(fingerprint) is None:
        ensure_ranker(fingerprint, encoder_for(fingerprint))


def answer_missed() -> None:
    """Conversations that wait without a run for their newest message: those that came before any release served."""
    newest = Message.objects.filter(conversation=OuterRef("pk")).order_by("-sent_at", "-id")
    runs = SuggestionRun.objects.filter(message=OuterRef("newest"))
    waiting = Conversation.objects.filter(state=Conversation.State.WAITING, revision__gt=0)
    missed = waiting.annotate(newest=Subquery(newest.values("pk")[:1])).filter(~Exists(runs))
    drafts = drafts_for(missed.order_by("waiting_since")[:AT_ONCE])
    with transaction.atomic():
        store(drafts)


def learn_from_feedback() -> None:
    learn()


JOBS = {
    "support.ranker": Job(make_ranker, every=5.0),
    "support.missed": Job(answer_missed, every=5.0),
    "support.learn": Job(learn_from_feedback, every=10.0),
}
