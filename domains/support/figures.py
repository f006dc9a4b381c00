"""What the operator's first page says of support: who waits, what is suggested, how often it is taken."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Min
from django.utils import timezone

from domains.support.documents import is_sought
from domains.support.models import Answer, Conversation, Ranker, Suggestion, SuggestionRun
from domains.support.selectors import serving_ranker
from domains.support.suggesting.past import DECIDED, TAKEN
from suite.dashboard import BAD, GOOD, WARN, Figure, list_page

LONG_WAITS = (5.0, 30.0)  # minutes that a customer waits before it is amber, and red
DAYS = 30


def support_figures() -> list[Figure]:
    return [answers_figure(), waiting_figure(), taken_figure(), gaps_figure()]


def answers_figure() -> Figure:
    count = sum(map(is_sought, Answer.objects.filter(is_removed=False).values_list("key", flat=True)))
    note = "that can be suggested" if count else "load some: manage.py load support.answers FILE"
    return Figure("Answers", count, note, list_page(Answer), GOOD if count else WARN)


def waiting_figure() -> Figure:
    waiting = Conversation.objects.filter(state=Conversation.State.WAITING)
    since = waiting.aggregate(since=Min("waiting_since"))["since"]
    minutes = (timezone.now() - since).total_seconds() / 60 if since else 0.0
    amber, red = LONG_WAITS
    state = BAD if minutes > red else WARN if minutes > amber else GOOD
    note = f"the longest for {minutes:.0f} minutes" if since else "nobody waits"
    return Figure("Customers waiting", waiting.count(), note, list_page(Conversation), state)


def taken_figure() -> Figure:
    since = timezone.now() - timedelta(days=DAYS)
    decided = Suggestion.objects.filter(state__in=DECIDED, offered_at__gte=since, position=1)
    shown, taken = decided.count(), decided.filter(state__in=TAKEN).count()
    ranker = serving_ranker()
    learned = f"learned from {ranker.trained_on} decisions" if ranker and ranker.trained_on else "nothing learned yet"
    value = f"{taken / shown:.0%}" if shown else "no decision yet"
    return Figure("First suggestion taken", value, f"of {shown} in {DAYS} days; {learned}", list_page(Ranker))


def gaps_figure() -> Figure:
    since = timezone.now() - timedelta(days=DAYS)
    runs = SuggestionRun.objects.filter(created_at__gte=since)
    nothing = runs.filter(outcome=SuggestionRun.Outcome.NOTHING_GOOD).count()
    return Figure("Questions without an answer", nothing, f"of {runs.count()} in {DAYS} days", list_page(SuggestionRun))


FIGURES = {"Support": support_figures}
