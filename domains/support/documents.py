"""Support as the index sees it: answers, what agents wrote in conversations that were solved, and the questions that
teach which answer is right. Only masked text gets here; `{{variables}}` are left as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from domains.support.models import Answer, Conversation, Feedback, Message, SuggestionRun
from domains.support.privacy import MASK, mask, without_masks
from domains.support.suggesting.variables import known_facts, unfilled
from suite.index.collections import Collection
from suite.index.engine import Document

ANSWERS, REPLIES, QUESTIONS = "support.answers", "support.replies", "support.questions"
FRAMES = ("greeting.", "closing.")  # answers whose ids begin so frame others, and are not looked for
SHORTEST_REPLY = 25  # characters; less is thanks and goodbye
Taught = tuple[int, ...]


def load_answers(keys: Sequence[str]) -> dict[str, Document]:
    rows = Answer.objects.filter(key__in=keys, is_removed=False)
    return {
        row.key: Document(row.key, row.title, mask(row.text), language_of(row)) for row in rows if is_sought(row.key)
    }


def language_of(row: Answer) -> dict[str, Any]:
    return {"language": row.language} if row.language else {}


def is_sought(key: str) -> bool:
    return not key.startswith(FRAMES)


def answer_keys() -> Iterator[str]:
    keys = Answer.objects.filter(is_removed=False).values_list("key", flat=True)
    yield from (key for key in keys.iterator(chunk_size=5_000) if is_sought(key))


def replies() -> QuerySet[Message]:
    """What agents wrote in solved conversations."""
    solved = Message.objects.filter(conversation__state=Conversation.State.SOLVED, author=Message.Author.AGENT)
    return solved.filter(conversation__revision__gt=0)


def load_replies(keys: Sequence[str]) -> dict[str, Document]:
    """Title: the question, masked; text: the reply, masked, with variables where it names this customer or this agent:
    it is sent to others. One that would say "[email]" to them is left out. A key is the message's row id."""
    documents = {}
    for row in replies().filter(pk__in=keys).select_related("conversation", "by"):
        question = question_before(row)
        if not question or len(row.masked_text) < SHORTEST_REPLY or MASK.search(row.masked_text):
            continue
        agent = (row.by.get_full_name() or row.by.get_username()) if row.by else ""
        facts = known_facts(row.conversation.customer, row.conversation.key, agent)
        documents[str(row.pk)] = Document(str(row.pk), question, unfilled(row.masked_text, facts))
    return documents


def question_before(reply: Message) -> str:
    """The customer's masked words since the reply before this one."""
    earlier = Message.objects.filter(conversation=reply.conversation_id, sent_at__lt=reply.sent_at)
    words = []
    for author, text in earlier.order_by("-sent_at", "-id").values_list("author", "masked_text")[:QUESTION_MESSAGES]:
        if author != Message.Author.CUSTOMER:
            break
        words.append(text)
    return question_text(words[::-1])


QUESTION_MESSAGES = 3  # newest words of a customer that make a question
QUESTION_LENGTH = 1_000


def question_text(texts: Sequence[str]) -> str:
    """One question of the last masked messages, oldest first; empty where they hold masks alone."""
    words = (without_masks(text) for text in texts[-QUESTION_MESSAGES:])
    return "\n".join(each for each in words if each)[-QUESTION_LENGTH:].strip()


def reply_keys() -> Iterator[str]:
    yield from (str(pk) for pk in replies().values_list("pk", flat=True).iterator(chunk_size=5_000))


def teaching_runs() -> QuerySet[SuggestionRun]:
    """Runs that say something about later questions: an agent decided, or nothing good was found."""
    decided = Feedback.objects.filter(suggestion__run=OuterRef("pk"))
    return SuggestionRun.objects.filter(Exists(decided)) | SuggestionRun.objects.filter(
        outcome=SuggestionRun.Outcome.NOTHING_GOOD
    )


def load_questions(keys: Sequence[str]) -> dict[str, Document]:
    """A key is the run's row id."""
    rows = teaching_runs().filter(pk__in=keys).values_list("pk", "question", "outcome").distinct()
    return {str(pk): Document(str(pk), "", text, {"outcome": outcome}) for pk, text, outcome in rows}


def question_keys() -> Iterator[str]:
    yield from (str(pk) for pk in teaching_runs().distinct().values_list("pk", flat=True).iterator(chunk_size=5_000))


COLLECTIONS = {
    ANSWERS: Collection(load_answers, answer_keys),
    REPLIES: Collection(load_replies, reply_keys),
    QUESTIONS: Collection(load_questions, question_keys),
}
