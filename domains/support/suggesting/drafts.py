"""What a worker prepares for waiting conversations, outside any transaction, and how it becomes rows inside one.

All questions of a batch go through the encoder in one call, and so do the sentences of what is found.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from django.utils import timezone

from domains.support.documents import QUESTIONS, question_text
from domains.support.learning.prior import Embedder
from domains.support.models import Answer, Conversation, Message, Suggestion, SuggestionRun
from domains.support.services import DESK_TOPIC, conversation_topic
from domains.support.suggesting.compose import Frame, compose, frames
from domains.support.suggesting.features import ANSWER
from domains.support.suggesting.ranker import Ranked
from domains.support.suggesting.sentences import Sentence, best_by_vectors, sentences
from domains.support.suggesting.suggest import Answered, Loaded, suggest
from suite.events.envelope import Envelope
from suite.events.services import record_events
from suite.index.services import touch
from suite.index.vectors import text_hash
from suite.live.broadcast import broadcast

OFFERED = "support.suggestion.offered"
KNOWN_SENTENCES = 20_000  # whose vectors a worker remembers


@dataclass(frozen=True, slots=True)
class Asked:
    """A waiting conversation: its newest message, and the masked question."""

    conversation: Conversation
    message: Message
    question: str
    is_first: bool  # no agent has replied yet


@dataclass(frozen=True, slots=True)
class Draft:
    asked: Asked
    answered: Answered
    marked: list[Sentence]  # of each suggestion, the sentence that answers


class SentenceVectors:
    """Vectors of sentences under one release; an answer's come again and again."""

    def __init__(self) -> None:
        self.known: OrderedDict[tuple[str, bytes], np.ndarray] = OrderedDict()

    def __call__(self, fingerprint: str, texts: Sequence[str], encoder: Embedder) -> list[np.ndarray]:
        names = [(fingerprint, text_hash(text)) for text in texts]
        missing = {name: text for name, text in zip(names, texts, strict=True) if name not in self.known}
        if missing:
            fresh = encoder.embed(list(missing.values())).astype(np.float16)
            self.known.update(zip(missing, fresh, strict=True))
        found = [self.known[name].astype(np.float32) for name in names]
        while len(self.known) > KNOWN_SENTENCES:
            self.known.popitem(last=False)
        return found


sentence_vectors = SentenceVectors()


def asked_in(conversations: Iterable[Conversation]) -> list[Asked]:
    """Those whose newest message is a customer's, with the question that stands."""
    found = []
    for conversation in conversations:
        newest = list(conversation.messages.order_by("-sent_at", "-id")[:20])
        unanswered = []
        for message in newest:
            if message.author != Message.Author.CUSTOMER:
                break
            unanswered.append(message)
        if unanswered:
            question = question_text([message.masked_text for message in reversed(unanswered)])
            is_first = not conversation.messages.filter(author=Message.Author.AGENT).exists()
            found.append(Asked(conversation, unanswered[0], question, is_first))
    return found


def prepare(asked: Sequence[Asked], ranker: Loaded, encoder: Embedder) -> list[Draft]:
    """Raises nothing of its own; what could not be had is named in each answer."""
    if not asked:
        return []
    vectors = encoder.embed([each.question for each in asked])
    answered = [suggest(each.question, vector, ranker) for each, vector in zip(asked, vectors, strict=True)]
    split = [[sentences(row.candidate.text) for row in each.ranked] for each in answered]
    texts = [
        row.candidate.text[place.start : place.end]
        for each, places in zip(answered, split, strict=True)
        for row, parts in zip(each.ranked, places, strict=True)
        for place in parts
    ]
    encoded = iter(sentence_vectors(ranker.fingerprint, texts, encoder))
    drafts = []
    for each, vector, one, places in zip(asked, vectors, answered, split, strict=True):
        marked = [marked_sentence(vector, parts, [next(encoded) for _ in parts]) for parts in places]
        drafts.append(Draft(each, one, marked))
    return drafts


def marked_sentence(question: np.ndarray, places: Sequence[Sentence], vectors: Sequence[np.ndarray]) -> Sentence:
    return places[best_by_vectors(question, np.stack(vectors))] if places else Sentence(0, 0)


# Rows ---------------------------------------------------------------------------------------------------------
def store(drafts: Sequence[Draft]) -> None:
    """Write what stands, in the caller's transaction. A conversation that went on meanwhile is left to its next
    message, and one that has its run under this release keeps it."""
    drafts = [draft for draft in drafts if is_current(draft)]
    if not drafts:
        return
    framed = frames()
    runs = [as_run(draft) for draft in drafts]
    SuggestionRun.objects.bulk_create(runs)
    answers = answer_ids(drafts)
    offered = [as_suggestions(draft, run, framed, answers) for draft, run in zip(drafts, runs, strict=True)]
    Suggestion.objects.bulk_create([row for rows in offered for row in rows])
    broadcast({DESK_TOPIC, *(conversation_topic(draft.asked.conversation.key) for draft in drafts)})
    touch(QUESTIONS, {str(run.pk) for run in runs if run.outcome == SuggestionRun.Outcome.NOTHING_GOOD})
    record_events([as_event(*each) for each in zip(drafts, runs, offered, strict=True)])


def is_current(draft: Draft) -> bool:
    message = draft.asked.message
    conversation = Conversation.objects.select_for_update().get(pk=draft.asked.conversation.pk)
    newest = conversation.messages.order_by("-sent_at", "-id").values_list("pk", flat=True).first()
    has_run = SuggestionRun.objects.filter(message=message, release=draft.answered.release).exists()
    return newest == message.pk and not has_run and bool(draft.answered.release)


def as_run(draft: Draft) -> SuggestionRun:
    now = timezone.now()
    received = draft.asked.message.event.received_at
    return SuggestionRun(
        message=draft.asked.message,
        release=draft.answered.release,
        ranker_id=draft.answered.ranker,
        outcome=SuggestionRun.Outcome.OFFERED if draft.answered.ranked else SuggestionRun.Outcome.NOTHING_GOOD,
        question=draft.asked.question,
        best_confidence=draft.answered.best_confidence,
        threshold=draft.answered.threshold,
        seconds=max((now - received).total_seconds(), 0.0),
        degraded=draft.answered.degraded,
        considered={row.candidate.key: row.features for row in draft.answered.considered},
        created_at=now,
    )


def answer_ids(drafts: Sequence[Draft]) -> dict[str, tuple[int, str]]:
    """{answer key: (its row's id, its source)} of all that is offered."""
    keys = {row.candidate.key for draft in drafts for row in draft.answered.ranked if row.candidate.pool == ANSWER}
    rows = Answer.objects.filter(key__in=keys).values_list("key", "pk", "source", "title")
    return {key: (pk, source or title or key) for key, pk, source, title in rows}


def as_suggestions(
    draft: Draft, run: SuggestionRun, framed: dict[str, Frame], answers: dict[str, tuple[int, str]]
) -> list[Suggestion]:
    return [
        as_suggestion(draft, run, framed, answers, position)
        for position in range(1, len(draft.answered.ranked) + 1)
        if draft.answered.ranked[position - 1].candidate.pool != ANSWER
        or draft.answered.ranked[position - 1].candidate.key in answers
    ]


def as_suggestion(
    draft: Draft, run: SuggestionRun, framed: dict[str, Frame], answers: dict[str, tuple[int, str]], position: int
) -> Suggestion:
    asked, row, place = draft.asked, draft.answered.ranked[position - 1], draft.marked[position - 1]
    is_answer = row.candidate.pool == ANSWER
    answer_id, source = answers[row.candidate.key] if is_answer else (None, f"reply {row.candidate.key}")
    return Suggestion(
        uid=uid_of(asked, run.release, position),
        run=run,
        conversation=asked.conversation,
        message=asked.message,
        pool=row.candidate.pool,
        answer_id=answer_id,
        reply_id=None if is_answer else int(row.candidate.key),
        position=position,
        confidence=row.confidence,
        text=row.candidate.text,
        sentence_start=place.start,
        sentence_end=place.end,
        composed=compose(
            row.candidate.text,
            place,
            source,
            framed,
            is_first=asked.is_first,
            has_name=bool(asked.conversation.customer.get("name")),
        ),
        release=run.release,
        ranker_id=run.ranker_id,
        features=row.features,
        offered_at=run.created_at,
    )


def uid_of(asked: Asked, release: str, position: int) -> str:
    """The same on every installation that has the same stream."""
    name = f"{asked.conversation.key}\n{asked.message.key}\n{release}\n{position}"
    return hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=12).hexdigest()


def as_event(draft: Draft, run: SuggestionRun, rows: Sequence[Suggestion]) -> Envelope:
    """What was offered, without a word of anybody's text."""
    ranked: list[Ranked] = draft.answered.ranked
    offered = [
        {
            "suggestion_id": row.uid,
            "position": row.position,
            "pool": row.pool,
            "answer_id": ranked[row.position - 1].candidate.key if row.pool == ANSWER else "",
            "confidence": round(row.confidence, 6),
        }
        for row in rows
    ]
    data = {
        "conversation_id": draft.asked.conversation.key,
        "message_id": draft.asked.message.key,
        "outcome": run.outcome,
        "best_confidence": round(run.best_confidence, 6),
        "threshold": run.threshold,
        "release": run.release,
        "suggestions": offered,
    }
    return Envelope(f"offered {run.pk}", "suite", OFFERED, data, draft.asked.conversation.key[:200], run.created_at)
