"""Writes of support. Everything that people do is an event and goes the one way in, from pages and the API alike;
`record_*` write its rows in the transaction that stores it.

A conversation's state is worked out from its messages and state events, and a suggestion's from its feedback, so events
in any order and number end in the same rows.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Exists, Max, Min, OuterRef
from django.utils import timezone
from rapidfuzz.distance import Indel

from domains.support.models import Answer, Conversation, Feedback, Message, Presence, Suggestion, SuggestionRun
from domains.support.privacy import mask
from domains.support.suggesting.variables import VARIABLE, fill, known_facts
from suite.events.envelope import Rejected
from suite.events.ingestion import ingest
from suite.events.models import Event
from suite.events.rows import insert, upsert_newest
from suite.live.broadcast import broadcast

SOURCE = "desk"  # of the events that pages and the API send
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
DESK_TOPIC = "support.desk"
PRESENT = timedelta(seconds=45)  # who looked this long ago is still here
ANSWER_COLUMNS = ("key", "title", "text", "source", "language", "is_removed", "changed_at", "changed_by")
MESSAGE_COLUMNS = (
    "conversation_id", "key", "author", "text", "masked_text", "customer", "sent_at", "by_id", "event_id",
    "changed_at", "changed_by",
)  # fmt: skip
FEEDBACK_COLUMNS = (
    "event_id", "suggestion_id", "kind", "position", "release", "text", "edit_distance", "reason", "agent_id", "at",
)  # fmt: skip


def conversation_topic(key: str) -> str:
    """What pages of one conversation listen to: thread, suggestions, who is present."""
    return f"support.conversation:{key}"


# What people do: each an event --------------------------------------------------------------------------------
def save_answer(user: User, *, title: str, text: str, source: str = "", language: str = "", key: str = "") -> str:
    """Write an answer, a new one where no key is given; returns its key. Raises `Rejected`, `BacklogFull`."""
    key = key or f"answer-{uuid.uuid4().hex[:12]}"
    data = {"answer_id": key, "title": title, "text": text, "source": source, "language": language}
    take([event("support.answer.changed", data, user)])
    return key


def remove_answer(user: User, key: str) -> None:
    take([event("support.answer.removed", {"answer_id": key}, user)])


def start_conversation(text: str, *, customer: Mapping[str, Any] | None = None, key: str = "") -> tuple[str, str]:
    """A customer's first message; returns (conversation id, message id). Raises `Rejected`, `BacklogFull`."""
    key = key or uuid.uuid4().hex
    return key, add_message(key, text, customer=customer)


def add_message(key: str, text: str, *, customer: Mapping[str, Any] | None = None, message: str = "") -> str:
    """A customer's message; returns its id."""
    message = message or uuid.uuid4().hex
    data = {"conversation_id": key, "message_id": message, "text": text, "customer": dict(customer or {})}
    take([event("support.message.received", data)])
    return message


def send_reply(key: str, user: User, text: str, used: Collection[str] = (), message: str = "") -> str:
    """An agent's message, and what it says of the suggestions on screen: those `used` (their ids) were accepted where
    their words stand in the text, else edited; the others were ignored. Returns the message's id, the given one where
    there is one: what is sent twice under one id is one message."""
    message = message or uuid.uuid4().hex
    sent = {"conversation_id": key, "message_id": message, "text": text, "author": "agent"}
    events = [event("support.message.received", sent | {"agent": user.get_username()}, user)]
    known = Conversation.objects.filter(key=key).first()
    for suggestion in offered(key):
        kind = "ignored" if suggestion.uid not in used else kind_of(text, suggestion, known.customer if known else {})
        feedback = {"suggestion_id": suggestion.uid, "position": suggestion.position, "agent": user.get_username()}
        words = {"text": text} if kind != "ignored" else {}
        events.append(event(f"support.suggestion.{kind}", feedback | words, user))
    take(events)
    return message


def take_found(key: str, answer: str) -> str:
    """An agent took an answer that was searched for: from now on it stands below the suggestions, like one more, so
    that sending it is feedback on the question. Returns its suggestion id, empty where nobody waits or the answer is
    not there."""
    newest = Message.objects.filter(conversation__key=key).order_by("-sent_at", "-id").first()
    if newest is None or newest.author != Message.Author.CUSTOMER:
        return ""
    run = (
        SuggestionRun.objects.filter(message=newest).order_by("-id").first()
    )  # none yet: it is no answer to an earlier one
    row = Answer.objects.filter(key=answer, is_removed=False).first()
    if run is None or row is None:
        return ""
    with transaction.atomic():
        SuggestionRun.objects.select_for_update().get(pk=run.pk)
        shown = list(run.suggestions.order_by("position"))
        for suggestion in shown:
            if suggestion.answer_id == row.pk:
                return suggestion.uid
        position = shown[-1].position + 1 if shown else 1
        return Suggestion.objects.create(
            uid=uuid.uuid4().hex[:24],
            run=run,
            conversation_id=run.message.conversation_id,
            message=run.message,
            pool=Suggestion.Pool.ANSWER,
            answer=row,
            position=position,
            confidence=0.0,
            text=row.text,
            composed=[{"text": row.text, "source": row.source or row.title or row.key}],
            features=run.considered.get(row.key, {}),
            release=run.release,
            ranker_id=run.ranker_id,
            offered_at=timezone.now(),
        ).uid


def give_feedback(
    uid: str, kind: str, user: User, *, text: str = "", reason: str = "", position: int | None = None
) -> None:
    """Raises `Rejected` where the suggestion or the kind is not known."""
    data = {"suggestion_id": uid, "text": text, "reason": reason, "agent": user.get_username()}
    given = {"position": position} if position else {}
    take([event(f"support.suggestion.{kind}", data | given, user)])


def set_state(key: str, state: str, user: User) -> None:
    take([event("support.conversation.changed", {"conversation_id": key, "state": state}, user)])


def event(kind: str, data: dict[str, Any], user: User | None = None) -> dict[str, Any]:
    """One event of now. Its id is random: a click that is sent twice is two clicks."""
    return {
        "id": uuid.uuid4().hex,
        "source": SOURCE,
        "type": kind,
        "subject": user.get_username() if user else "",
        "time": timezone.now().isoformat(),
        "data": data,
    }


def take(events: Sequence[dict[str, Any]]) -> None:
    """Ingest; raises `Rejected` for the first event that is refused."""
    for result in ingest(events):
        if result.status == "rejected":
            raise Rejected(result.field, result.reason)


# What is no event: who works on what, who looks -----------------------------------------------------------------
def assign(key: str, user: User | None) -> None:
    with transaction.atomic():
        Conversation.objects.filter(key=key).update(assignee=user)
        broadcast([DESK_TOPIC, conversation_topic(key)])


def present(user: User, key: str) -> None:
    """Note that somebody has the conversation open; the others hear of it when it is news."""
    conversation = Conversation.objects.filter(key=key).only("pk").first()
    if conversation is None:
        return
    now = timezone.now()
    with transaction.atomic():
        row, is_new = Presence.objects.get_or_create(conversation=conversation, user=user, defaults={"seen_at": now})
        is_news = is_new or row.seen_at < now - PRESENT
        Presence.objects.filter(pk=row.pk).update(seen_at=now)
        if is_news:
            broadcast([conversation_topic(key)])


def absent(user: User, key: str) -> None:
    with transaction.atomic():
        if Presence.objects.filter(conversation__key=key, user=user).delete()[0]:
            broadcast([conversation_topic(key)])


# Rows of events ---------------------------------------------------------------------------------------------
def record_answers(events: Sequence[Event]) -> None:
    rows = [
        (d["answer_id"], d["title"], d["text"], d["source"], d["language"], False, e.time, name_of(e))
        for e, d in ((e, e.data) for e in events)
    ]
    upsert_newest(Answer, ANSWER_COLUMNS, ("key",), rows)


def record_removals(events: Sequence[Event]) -> None:
    """Tombstones: empty, so that they look the same whether the older events came before or after."""
    rows = [(e.data["answer_id"], "", "", "", "", True, e.time, name_of(e)) for e in events]
    upsert_newest(Answer, ANSWER_COLUMNS, ("key",), rows)


def record_messages(events: Sequence[Event]) -> None:
    ids = ensure_conversations(event.data["conversation_id"] for event in events)
    agents = users_by_name(event.data["agent"] for event in events)
    rows = []
    for event in events:
        data = event.data
        text, sent_at = data["text"], data["sent_at"]
        rows.append(
            (
                ids[data["conversation_id"]], data["message_id"], data["author"], text, mask(text),
                json.dumps(data["customer"], ensure_ascii=False),
                datetime.fromisoformat(sent_at) if sent_at else event.time, agents.get(data["agent"]), event.pk,
                event.time, name_of(event),
            )
        )  # fmt: skip
    upsert_newest(Message, MESSAGE_COLUMNS, ("conversation_id", "key"), rows)
    if any(event.data["customer"] for event in events):
        refresh_customers(ids.values())
    refresh_conversations(ids.values())


def record_states(events: Sequence[Event]) -> None:
    ids = ensure_conversations(event.data["conversation_id"] for event in events)
    rows = {row.key: row for row in Conversation.objects.filter(pk__in=ids.values())}
    for event in events:
        row = rows[event.data["conversation_id"]]
        if (event.time, name_of(event)) > (row.changed_at, row.changed_by):
            row.set_state, row.changed_at, row.changed_by = event.data["state"], event.time, name_of(event)
    Conversation.objects.bulk_update(rows.values(), ["set_state", "changed_at", "changed_by"])
    refresh_conversations(ids.values())


def record_feedback(events: Sequence[Event]) -> None:
    wanted = {event.data["suggestion_id"] for event in events}
    suggestions = {row.uid: row for row in Suggestion.objects.filter(uid__in=wanted).select_related("conversation")}
    agents = users_by_name(event.data["agent"] for event in events)
    rows = []
    for event in events:
        data, suggestion = event.data, suggestions[event.data["suggestion_id"]]
        distance = edit_distance(data["text"], suggestion, suggestion.conversation.customer) if data["text"] else 0.0
        rows.append(
            (
                event.pk, suggestion.pk, event.type.rpartition(".")[2], data["position"], suggestion.release,
                mask(data["text"]), distance, mask(data["reason"]), agents.get(data["agent"]), event.time,
            )
        )  # fmt: skip
    insert(Feedback, FEEDBACK_COLUMNS, rows)
    refresh_suggestions(suggestions.values())


def ensure_conversations(keys: Iterable[str]) -> dict[str, int]:
    """{conversation id: its row's id}, made where it is not there."""
    wanted = sorted(set(keys))
    blank = {"opened_at": NEVER, "last_message_at": NEVER, "changed_at": NEVER}
    Conversation.objects.bulk_create([Conversation(key=key, **blank) for key in wanted], ignore_conflicts=True)
    return dict(Conversation.objects.filter(key__in=wanted).values_list("key", "pk"))


def refresh_conversations(ids: Collection[int]) -> None:
    """Work out anew what follows from messages and state events, and which suggestions are superseded."""
    messages = Message.objects.filter(conversation__in=ids)
    found: dict[int, dict[str, Any]] = {pk: {} for pk in ids}
    for each in messages.values("conversation", "author").annotate(
        first=Min("sent_at"), last=Max("sent_at"), count=Count("pk")
    ):
        found[each["conversation"]][each["author"]] = each
    later_reply = Message.objects.filter(
        conversation=OuterRef("conversation"), author=Message.Author.AGENT, sent_at__gte=OuterRef("sent_at")
    )
    unanswered = messages.filter(~Exists(later_reply), author=Message.Author.CUSTOMER)
    waiting = dict(unanswered.values_list("conversation").annotate(Min("sent_at")).order_by())
    rows = list(Conversation.objects.filter(pk__in=ids))
    for row in rows:
        settle(row, found[row.pk], waiting.get(row.pk))
    Conversation.objects.bulk_update(
        rows, ["state", "waiting_since", "opened_at", "last_message_at", "revision"], batch_size=500
    )
    supersede(ids)


def settle(row: Conversation, by_author: Mapping[str, Any], waiting_since: datetime | None) -> None:
    """The newest word holds: a message, or what somebody set."""
    row.revision = by_author.get("customer", {}).get("count", 0)
    row.opened_at = min((each["first"] for each in by_author.values()), default=NEVER)
    row.last_message_at = max((each["last"] for each in by_author.values()), default=NEVER)
    row.waiting_since = waiting_since
    row.state = Conversation.State.WAITING if waiting_since else Conversation.State.OPEN
    if row.set_state and row.changed_at >= row.last_message_at:
        row.state = row.set_state
        if row.state != Conversation.State.WAITING:
            row.waiting_since = None
        elif row.waiting_since is None:
            row.waiting_since = row.changed_at


def supersede(ids: Collection[int]) -> None:
    """Suggestions that nobody used are withdrawn when the customer writes on, and ignored when an agent replies."""
    for author, state in ((Message.Author.CUSTOMER, "withdrawn"), (Message.Author.AGENT, "ignored")):
        later = Message.objects.filter(
            conversation=OuterRef("conversation"), author=author, sent_at__gt=OuterRef("message__sent_at")
        )
        unused = Suggestion.objects.filter(Exists(later), conversation__in=ids, state=Suggestion.State.OFFERED)
        if state == "withdrawn":
            runs = SuggestionRun.objects.filter(suggestions__in=unused)
            SuggestionRun.objects.filter(pk__in=list(runs.values_list("pk", flat=True))).update(outcome=state)
        unused.update(state=state)


def refresh_customers(ids: Collection[int]) -> None:
    """What is known of the customers: of each fact what the newest message says."""
    known: dict[int, dict[str, Any]] = {}
    saying = Message.objects.filter(conversation__in=ids).exclude(customer={}).order_by("sent_at", "key")
    for conversation, customer in saying.values_list("conversation", "customer"):
        known[conversation] = known.get(conversation, {}) | customer
    Conversation.objects.bulk_update([Conversation(pk=pk, customer=facts) for pk, facts in known.items()], ["customer"])


def refresh_suggestions(suggestions: Iterable[Suggestion]) -> None:
    """The newest feedback is the state."""
    rows = {row.pk: row for row in suggestions}
    feedback = Feedback.objects.filter(suggestion__in=rows).order_by("at", "event")
    for suggestion, kind in feedback.values_list("suggestion", "kind"):
        rows[suggestion].state = kind
    Suggestion.objects.bulk_update(rows.values(), ["state"])


def users_by_name(names: Iterable[str]) -> dict[str, int]:
    wanted = {name for name in names if name}
    if not wanted:
        return {}
    users = get_user_model()
    return dict(users.objects.filter(username__in=wanted).values_list("username", "pk"))


def name_of(event: Event) -> str:
    return f"{event.source} {event.event_id}"


# Suggestions and what was sent --------------------------------------------------------------------------------
def offered(key: str) -> list[Suggestion]:
    """The suggestions that stand for a conversation now, best first."""
    rows = Suggestion.objects.filter(conversation__key=key, state=Suggestion.State.OFFERED)
    return list(rows.order_by("position"))


def own_words(suggestion: Suggestion, customer: Mapping[str, Any]) -> str:
    """What is inserted when the suggestion is taken, with the variables that are known, but for greeting and closing:
    they say nothing of the answer."""
    words = "".join(part["text"] for part in suggestion.composed if "frame" not in part)
    return fill(words, known_facts(customer))[0]


def kind_of(text: str, suggestion: Suggestion, customer: Mapping[str, Any]) -> str:
    """Whether a used suggestion was sent as it is (perhaps among other words) or changed."""
    return "edited" if edit_distance(text, suggestion, customer) else "accepted"


def edit_distance(text: str, suggestion: Suggestion, customer: Mapping[str, Any]) -> float:
    """From 0, all of the suggestion was kept, to 1: the share of its characters and of those sent that were added or
    removed (normalised Indel distance). A variable may have become anything."""
    words = own_words(suggestion, customer)
    if is_kept(words, text):
        return 0.0
    return max(round(Indel.normalized_distance(words, text), 4), 1e-4)


def is_kept(words: str, text: str) -> bool:
    """Whether the text holds all the words in their order; white space does not count."""
    position, plain = 0, " ".join(text.split())
    for part in (" ".join(part.split()) for part in VARIABLE.split(words)[::2]):
        position = plain.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return bool(words.strip())
