"""Reads of support: the desk, a thread, what is suggested for it, answers, and what became of the suggestions.

Nothing here loads torch. Texts of customers are shown as written, to agents only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from domains.support.documents import ANSWERS
from domains.support.models import Answer, Conversation, Message, Presence, Ranker, Suggestion, SuggestionRun
from domains.support.services import NEVER, PRESENT
from domains.support.suggesting.variables import fill, known_facts, names
from suite.index import selectors as index
from suite.index.engine import Query

DESK_ROWS = 100
THREAD_MESSAGES = 500  # newest ones of a conversation that are shown
ALIKE = 0.1  # confidences that lie so close are alike
ALIKE_LEAST, ALIKE_MOST = 10, 500  # decided suggestions that a share is told of
TAKEN = (Suggestion.State.ACCEPTED, Suggestion.State.EDITED)
DECIDED = (*TAKEN, Suggestion.State.REJECTED, Suggestion.State.IGNORED)
DUPLICATE = 0.85  # cosine of title and text above which two answers say the same


class NotFound(LookupError):
    """There is no such conversation or answer; the message names it."""


@dataclass(frozen=True, slots=True)
class DeskRow:
    """One line of the desk's list."""

    key: str
    customer: Mapping[str, Any]
    state: str
    assignee: str  # user name, empty for nobody
    waiting_since: datetime | None
    last_message_at: datetime
    last_text: str
    last_author: str
    best_confidence: float  # of what is suggested for it; 0 where nothing is


@dataclass(frozen=True, slots=True)
class Thread:
    conversation: Conversation
    messages: list[Message]  # oldest first
    others: list[str]  # user names of who else has it open
    is_cut: bool  # older messages are left out


@dataclass(frozen=True, slots=True)
class ShownSuggestion:
    """One suggestion as the agent sees it. `composed` is what taking it inserts, variables filled in where known."""

    uid: str
    position: int
    pool: str
    title: str
    source: str  # where it stands, in words or as an address
    text: str
    sentence: tuple[int, int]  # (start, end) in `text` of the sentence that answers
    composed: str
    body: str  # `composed` without greeting and closing, for a reply that has begun
    parts: list[dict[str, str]]  # [{"text", "source"}] of `composed`
    missing: list[str]  # variables that are asked for
    confidence: float
    alike: tuple[int, int] | None  # (taken, shown) of earlier suggestions that were about as sure
    why: list[str]
    state: str
    answer_key: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What stands for a conversation now. `outcome` is offered, nothing_good, withdrawn, pending (being looked for),
    or none (no customer waits)."""

    outcome: str
    items: list[ShownSuggestion] = field(default_factory=list)
    question: str = ""
    best_confidence: float = 0.0
    threshold: float = 0.0
    seconds: float = 0.0
    release: str = ""
    degraded: list[str] = field(default_factory=list)


# The desk -----------------------------------------------------------------------------------------------------
def desk_list(
    state: str = "", user: User | None = None, *, limit: int = DESK_ROWS, search: str = "", is_open: bool = False,
    free_for: User | None = None,
) -> list[DeskRow]:  # fmt: skip
    """Conversations in a state ("" for all), of one assignee where `user` is given: who waits longest first, then the
    newest. `search` looks at the customer's name and the id; `is_open`: none that are solved; `free_for` somebody: none
    that somebody else has."""
    rows = conversations(state, user)
    if is_open:
        rows = rows.exclude(state=Conversation.State.SOLVED)
    if free_for:
        rows = rows.filter(Q(assignee=None) | Q(assignee=free_for))
    if search:
        rows = rows.filter(Q(key__icontains=search) | Q(customer__name__icontains=search))
    newest = Message.objects.filter(conversation=OuterRef("pk")).order_by("-sent_at", "-id")
    best = Suggestion.objects.filter(conversation=OuterRef("pk"), state=Suggestion.State.OFFERED).order_by("position")
    rows = rows.annotate(
        last_text=Subquery(newest.values("text")[:1]),
        last_author=Subquery(newest.values("author")[:1]),
        best_confidence=Subquery(best.values("confidence")[:1]),
        assignee_name=F("assignee__username"),
    ).order_by(F("waiting_since").asc(nulls_last=True), "-last_message_at")
    return [
        DeskRow(
            row.key,
            row.customer,
            row.state,
            row.assignee_name or "",
            row.waiting_since,
            row.last_message_at,
            row.last_text or "",
            row.last_author or "",
            row.best_confidence or 0.0,
        )
        for row in rows[:limit]
    ]


def desk_counts(user: User | None = None) -> dict[str, int]:
    """{state: conversations}, and "mine": those of the user that are not solved."""
    counts = dict.fromkeys(Conversation.State.values, 0)
    counts |= dict(conversations().order_by().values_list("state").annotate(Count("pk")))
    mine = conversations(user=user).exclude(state=Conversation.State.SOLVED).count() if user else 0
    return counts | {"mine": mine}


def conversations(state: str = "", user: User | None = None) -> QuerySet[Conversation]:
    """Those with a message; a state event may have come before any."""
    rows = Conversation.objects.filter(last_message_at__gt=NEVER)
    if state:
        rows = rows.filter(state=state)
    return rows.filter(assignee=user) if user else rows


def find_conversation(key: str) -> Conversation:
    """Raises `NotFound`."""
    found = conversations().filter(key=key).select_related("assignee").first()
    if found is None:
        raise NotFound(f"There is no conversation {key[:200]!r}.")
    return found


def thread(key: str, user: User | None = None) -> Thread:
    """A conversation with its newest messages. Raises `NotFound`."""
    conversation = find_conversation(key)
    newest = conversation.messages.select_related("by").order_by("-sent_at", "-id")[: THREAD_MESSAGES + 1]
    found = list(newest)
    present = Presence.objects.filter(conversation=conversation, seen_at__gte=timezone.now() - PRESENT)
    others = present.exclude(user=user) if user else present
    return Thread(
        conversation,
        found[THREAD_MESSAGES - 1 :: -1] if len(found) > THREAD_MESSAGES else found[::-1],
        list(others.order_by("user__username").values_list("user__username", flat=True)),
        len(found) > THREAD_MESSAGES,
    )


# Suggestions --------------------------------------------------------------------------------------------------
def suggestions_for(key: str, user: User | None = None) -> Suggestions:
    """What is suggested for a conversation now. Raises `NotFound`."""
    conversation = find_conversation(key)
    newest = conversation.messages.order_by("-sent_at", "-id").first()
    if newest is None or newest.author != Message.Author.CUSTOMER:
        return Suggestions("none")
    run = SuggestionRun.objects.filter(message=newest).order_by("-id").first()
    if run is None:
        return Suggestions("pending")
    rows = standing(run.suggestions.all()).exclude(state=Suggestion.State.WITHDRAWN)
    rows = rows.select_related("answer", "reply__conversation")
    facts = known_facts(conversation.customer, key, (user.get_full_name() or user.get_username()) if user else "")
    shares = accepted_alike(run.release)
    items = [shown_suggestion(row, facts, shares) for row in rows.order_by("position")]
    return Suggestions(
        run.outcome,
        items,
        run.question,
        run.best_confidence,
        run.threshold,
        run.seconds,
        run.release,
        list(run.degraded),
    )


def serving_ranker() -> Ranker | None:
    """The active ranker of the release that serves, which after a rollback is not the newest."""
    generation = index.active_generation(ANSWERS)
    return Ranker.objects.filter(is_active=True, fingerprint=generation.fingerprint).first() if generation else None


def standing(suggestions: QuerySet[Suggestion]) -> QuerySet[Suggestion]:
    """Without those of answers that were removed or changed since: their words are those of before."""
    return suggestions.exclude(answer__is_removed=True).exclude(answer__changed_at__gt=F("offered_at"))


def shown_suggestion(
    row: Suggestion, facts: Mapping[str, str], decided: Sequence[tuple[float, bool]] = ()
) -> ShownSuggestion:
    parts = [{"text": fill(part["text"], facts)[0], "source": part["source"]} for part in row.composed]
    composed = "".join(part["text"] for part in row.composed)
    return ShownSuggestion(
        uid=row.uid,
        position=row.position,
        pool=row.pool,
        title=row.answer.title if row.answer else "An earlier reply",
        source=where(row),
        text=row.text,
        sentence=(row.sentence_start, row.sentence_end),
        composed=fill(composed, facts)[0],
        body=fill("".join(part["text"] for part in row.composed if "frame" not in part), facts)[0],
        parts=parts,
        missing=[name for name in names(composed) if not facts.get(name)],
        confidence=row.confidence,
        alike=share_alike(row.confidence, decided),
        why=reasons(row.features),
        state=row.state,
        answer_key=row.answer.key if row.answer else "",
        language=row.answer.language if row.answer else "",
    )


def where(row: Suggestion) -> str:
    """Where the text of a suggestion stands."""
    if row.answer:
        return row.answer.source or row.answer.key
    return f"conversation {row.reply.conversation.key}" if row.reply else ""


def reasons(features: Mapping[str, float]) -> list[str]:
    """Why a suggestion is here, in words, the strongest first."""
    found = []
    if features.get("accepted_near", 0.0) >= 0.5:
        found.append("taken for a question like this before")
    if features.get("relevance", -9.0) > 0:
        found.append("answers this kind of question")
    if features.get("cosine", 0.0) >= 0.5:
        found.append("means much the same")
    if features.get("coverage", 0.0) >= 0.5:
        found.append("has most of its words")
    return found or ["the nearest that there is"]


def accepted_alike(release: str) -> list[tuple[float, bool]]:
    """(confidence, was taken) of the newest decided suggestions under a release."""
    rows = Suggestion.objects.filter(release=release, state__in=DECIDED).order_by("-id")[:ALIKE_MOST]
    return [(confidence, state in TAKEN) for confidence, state in rows.values_list("confidence", "state")]


def share_alike(confidence: float, decided: Sequence[tuple[float, bool]]) -> tuple[int, int] | None:
    near = [was_taken for other, was_taken in decided if abs(other - confidence) <= ALIKE]
    return (sum(near), len(near)) if len(near) >= ALIKE_LEAST else None


# Answers ------------------------------------------------------------------------------------------------------
def answers(search: str = "", *, language: str = "", limit: int = 200) -> list[Answer]:
    """Answers by title, those whose title, id or text holds the words where some are given."""
    rows = Answer.objects.filter(is_removed=False)
    if search:
        rows = rows.filter(Q(title__icontains=search) | Q(text__icontains=search) | Q(key__icontains=search))
    if language:
        rows = rows.filter(language__istartswith=language)
    return list(rows.order_by("title", "id")[:limit])


def answers_after(key: str, limit: int, words: str = "") -> list[Answer]:
    """Answers in the order of their ids, from the one after `key` on."""
    rows = Answer.objects.filter(is_removed=False, key__gt=key)
    if words:
        rows = rows.filter(Q(title__icontains=words) | Q(text__icontains=words) | Q(key__icontains=words))
    return list(rows.order_by("key")[:limit])


def find_answer(key: str) -> Answer:
    """Raises `NotFound`."""
    found = Answer.objects.filter(key=key, is_removed=False).first()
    if found is None:
        raise NotFound(f"There is no answer {key[:200]!r}.")
    return found


def search_answers(text: str, k: int = 10) -> list[Answer]:
    """Answers that match a typed text, by words and meaning; by words in the rows where the index cannot answer."""
    hits = index.search(ANSWERS, Query(text=text, k=k))
    rows = Answer.objects.filter(key__in=[each.key for each in hits.candidates], is_removed=False)
    found = {row.key: row for row in rows}
    if not found:
        return answers(text, limit=k)
    return [found[each.key] for each in hits.candidates if each.key in found][:k]


def similar_answers(title: str, text: str, *, key: str = "", k: int = 5) -> list[tuple[Answer, float]]:
    """(answer, cosine) of the answers that say much the same as one that is being written; itself left out."""
    written = f"{title}\n{text}".strip()
    hits = index.search(ANSWERS, Query(text=written, k=20, exclude=frozenset({key} if key else ())))
    near = {each.key: each.similarity or 0.0 for each in hits.candidates if (each.similarity or 0.0) >= DUPLICATE}
    rows = Answer.objects.filter(key__in=near, is_removed=False)
    return sorted(((row, near[row.key]) for row in rows), key=lambda pair: -pair[1])[:k]
