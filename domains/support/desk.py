"""What the desk shows, worked out for its templates: the list, one conversation, the panel of suggestions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2s
from typing import Any

from django.contrib.auth.models import User
from django.urls import reverse

from domains.support import selectors
from domains.support.models import Answer, Conversation, Message
from domains.support.selectors import DeskRow, ShownSuggestion
from domains.support.suggesting.variables import fill, known_facts

TABS = {"waiting": "Waiting", "open": "Open", "solved": "Solved", "mine": "Mine"}
LIST_TEXT = 200  # characters of a message in the list
HIDDEN_FACTS = {"name"}  # of a customer: the name is the title
EARLIER_MESSAGES = 500  # that one press brings
POOLS = {"answer": "Answer", "reply": "Earlier reply"}


@dataclass(frozen=True, slots=True)
class Tab:
    name: str
    title: str
    count: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One conversation in the list. `is_answered`: the last word is an agent's."""

    key: str
    name: str
    last_text: str
    is_answered: bool
    waiting_since: datetime | None
    last_message_at: datetime
    assignee: str
    is_mine: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a suggestion is rejected, and the one key that says it."""

    name: str
    key: str
    title: str


REASONS = (
    Reason("wrong", "w", "does not answer"),
    Reason("outdated", "o", "outdated"),
    Reason("incomplete", "i", "incomplete"),
    Reason("tone", "t", "wrong tone"),
    Reason("duplicate", "d", "already said"),
)


@dataclass(frozen=True, slots=True)
class Card:
    """One answer that can be inserted: suggested (`uid` is set), or found by a search."""

    title: str
    insert: str  # what taking it puts into the reply
    body: str  # the same without greeting and closing, for a reply that has begun
    before: str
    marked: str  # the sentence that answers
    after: str
    origin: str  # where it stands, in words
    href: str = ""  # its source, where that is an address or an answer of ours
    uid: str = ""
    found: str = ""  # the answer's key, of a card that was searched for
    confidence: float | None = None
    accepted: str = ""  # "85 of 100 like this were accepted"
    why: Sequence[str] = ()
    sources: Sequence[tuple[str, str]] = ()  # (sentence, where it stands) of what is inserted
    variables: Sequence[str] = ()  # that are asked for before sending
    is_ghost: bool = False  # shown in the empty reply, taken by Tab


@dataclass(frozen=True, slots=True)
class Panel:
    """`state` is looking, answered, nothing or offered. Two panels of one `version` are the same."""

    state: str
    version: str
    cards: Sequence[Card] = ()
    rejected: int = 0
    threshold: float = 0.0
    seconds: float = 0.0
    release: str = ""
    degraded: Sequence[str] = field(default_factory=tuple)


# The list -----------------------------------------------------------------------------------------------------
def tab_of(name: str) -> str:
    return name if name in TABS else "waiting"


def list_context(tab: str, user: User) -> dict[str, Any]:
    """The conversations of a tab, and how many there are in each."""
    counts = selectors.desk_counts(user)
    rows = selectors.desk_list("", user, is_open=True) if tab == "mine" else selectors.desk_list(tab)
    entries = [entry_of(row, user) for row in rows]
    return {
        "tab": tab,
        "tabs": [Tab(name, title, counts[name]) for name, title in TABS.items()],
        "entries": entries,
        "more": max(0, counts[tab] - len(entries)),
        "waiting": counts["waiting"],
    }


def entry_of(row: DeskRow, user: User) -> Entry:
    return Entry(
        row.key,
        name_of(row.customer, row.key),
        row.last_text[:LIST_TEXT],
        row.last_author == Message.Author.AGENT,
        row.waiting_since,
        row.last_message_at,
        row.assignee,
        row.assignee == user.get_username(),
    )


def next_waiting(user: User, tab: str, but: str = "") -> Entry | None:
    """Who waits longest and is nobody else's."""
    rows = selectors.desk_list("waiting", user if tab == "mine" else None, free_for=user, limit=2)
    return next((entry_of(row, user) for row in rows if row.key != but), None)


def name_of(customer: Any, key: str) -> str:
    return str(customer.get("name") or "").strip()[:80] or f"Visitor {key[-6:]}"


# One conversation ---------------------------------------------------------------------------------------------
def conversation_context(key: str, user: User) -> dict[str, Any]:
    """Everything of an open conversation. Raises `selectors.NotFound`."""
    shown = selectors.thread(key, user)
    conversation = shown.conversation
    return about(conversation, user) | {
        "messages": shown.messages,
        "is_cut": shown.is_cut,
        "others": shown.others,
        "after": newest_event(conversation),
        "panel": panel_of(key, user),
    }


def about(conversation: Conversation, user: User) -> dict[str, Any]:
    return {
        "conversation": conversation,
        "opened": conversation.key,
        "title": name_of(conversation.customer, conversation.key),
        "facts": [(name, value) for name, value in conversation.customer.items() if name not in HIDDEN_FACTS],
        "is_mine": conversation.assignee_id == user.pk,
        "may_reply": user.has_perm("support.change_conversation"),
        "may_write": user.has_perm("support.add_answer"),
        "reasons": REASONS,
    }


def newest_event(conversation: Conversation) -> int:
    """Event ids are given out in the order of commits, so nothing that comes later has a smaller one."""
    newest = conversation.messages.order_by("-event_id").values_list("event_id", flat=True).first()
    return newest or 0


def messages_after(conversation: Conversation, event_id: int) -> list[Message]:
    """What came since: all of it, however much that is."""
    return list(conversation.messages.filter(event_id__gt=event_id).select_related("by").order_by("sent_at", "id"))


def messages_before(conversation: Conversation, message_id: int) -> list[Message]:
    """The messages that stand before one, oldest first."""
    first = conversation.messages.filter(pk=message_id).values_list("sent_at", flat=True).first()
    older = conversation.messages.select_related("by").order_by("-sent_at", "-id")
    older = older.filter(sent_at__lte=first) if first else older.none()
    return [row for row in older[: EARLIER_MESSAGES + 1] if row.pk != message_id][EARLIER_MESSAGES - 1 :: -1]


# Suggestions --------------------------------------------------------------------------------------------------
def panel_of(key: str, user: User) -> Panel:
    """Raises `selectors.NotFound`."""
    found = selectors.suggestions_for(key, user)
    offered = [item for item in found.items if item.state == "offered"]
    states = {"pending": "looking", "none": "answered", "withdrawn": "answered"}
    state = states.get(found.outcome) or ("offered" if found.outcome == "offered" and offered else "nothing")
    identity = repr((state, found.release, found.degraded, [(item.uid, item.state) for item in found.items]))
    cards = [card_of(item, is_ghost=number == 0) for number, item in enumerate(offered)]
    return Panel(
        state,
        blake2s(identity.encode(), digest_size=8).hexdigest(),
        cards if state == "offered" else (),
        sum(item.state == "rejected" for item in found.items),
        found.threshold,
        found.seconds,
        found.release,
        found.degraded,
    )


def card_of(item: ShownSuggestion, *, is_ghost: bool) -> Card:
    start, end = item.sentence
    alike = f"{item.alike[0]} of {item.alike[1]} like this were taken" if item.alike else ""
    return Card(
        title=item.title or item.text[:60],
        insert=item.composed,
        body=item.body,
        before=item.text[:start],
        marked=item.text[start:end],
        after=item.text[end:],
        origin=" · ".join(filter(None, (POOLS.get(item.pool, item.pool), item.source, item.language))),
        href=href_of(item.source, item.answer_key),
        uid=item.uid,
        confidence=item.confidence,
        accepted=alike,
        why=item.why,
        sources=[(part["text"].strip(), part["source"]) for part in item.parts if part["text"].strip()],
        variables=item.missing,
        is_ghost=is_ghost,
    )


def found_card(answer: Answer, conversation: Conversation | None, user: User) -> Card:
    """An answer that a search found, filled in with what the conversation knows."""
    facts = facts_of(conversation, user)
    text, missing = fill(answer.text, facts)
    return Card(
        title=answer.title or answer.key,
        insert=text,
        body=text,
        before=answer.text,
        marked="",
        after="",
        origin=" · ".join(filter(None, ("Answer", answer.source, answer.language))),
        href=href_of(answer.source, answer.key),
        found=answer.key,
        variables=missing,
    )


def facts_of(conversation: Conversation | None, user: User) -> dict[str, str]:
    name = user.get_full_name() or user.get_username()
    return known_facts(conversation.customer, conversation.key, name) if conversation else known_facts({}, "", name)


def href_of(source: str, answer_key: str) -> str:
    """The address of a source: what it names itself, else the answer's page."""
    if source.startswith(("https://", "http://")):
        return source
    return reverse("support:answer", args=[answer_key]) if answer_key else ""
