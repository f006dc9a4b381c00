"""Support in the admin: what is there, as its events made it, and how the rankers were learned. All to be read: answers
are written on the desk's own pages, as events."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from unfold.admin import TabularInline

from domains.support.models import (
    Answer,
    Conversation,
    Feedback,
    LabelledQuestion,
    Message,
    Ranker,
    Suggestion,
    SuggestionRun,
)
from suite.admin import ReadOnlyAdmin


@admin.register(Answer)
class AnswerAdmin(ReadOnlyAdmin):
    nothing_yet = "Answers come as events (support.answer.changed), or by manage.py load support.answers FILE."
    list_display = ("title", "key", "language", "source", "changed_at", "is_removed")
    list_filter = ("language", "is_removed")
    search_fields = ("key", "title", "text")


class MessageInline(TabularInline):
    model = Message
    fields = ("sent_at", "author", "masked_text", "by")
    readonly_fields = fields
    ordering = ("sent_at", "id")
    extra = 0
    max_num = 0
    can_delete = False


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    nothing_yet = (
        "A customer's first message opens one: an event (support.message.received), or manage.py load "
        "support.questions FILE."
    )
    list_display = ("key", "state", "waiting_since", "assignee", "revision", "opened_at", "last_message_at")
    list_filter = ("state",)
    list_select_related = ("assignee",)
    search_fields = ("key",)
    inlines = (MessageInline,)


@admin.register(SuggestionRun)
class SuggestionRunAdmin(ReadOnlyAdmin):
    nothing_yet = "Each message of a customer who waits begins one, once a release serves."
    list_display = ("created_at", "question", "outcome", "confidence", "seconds", "release")
    list_filter = ("outcome", "release")
    search_fields = ("question",)
    raw_id_fields = ("message",)

    @admin.display(description="best confidence", ordering="best_confidence")
    def confidence(self, run: SuggestionRun) -> str:
        return f"{run.best_confidence:.0%} of {run.threshold:.0%}"


@admin.register(Suggestion)
class SuggestionAdmin(ReadOnlyAdmin):
    nothing_yet = "They are made for customers' messages, of the answers that there are."
    list_display = ("offered_at", "question", "position", "pool", "title", "percent", "state")
    list_filter = ("state", "pool", "position", "release")
    list_select_related = ("run", "answer")
    search_fields = ("=uid", "answer__key", "answer__title", "run__question")
    exclude = ("message", "reply")

    @admin.display(description="question")
    def question(self, row: Suggestion) -> str:
        return row.run.question[:80]

    @admin.display(description="answer")
    def title(self, row: Suggestion) -> str:
        return (row.answer.title or row.answer.key) if row.answer else "an earlier reply"

    @admin.display(description="confidence", ordering="confidence")
    def percent(self, row: Suggestion) -> str:
        return f"{row.confidence:.0%}"


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin):
    nothing_yet = "What agents accept, edit and reject at the desk is kept here and learned from."
    list_display = ("at", "kind", "answer", "position", "edit_distance", "reason", "agent", "release")
    list_filter = ("kind", "release", "reason")
    list_select_related = ("suggestion__answer", "agent")
    exclude = ("event",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Feedback]:
        return super().get_queryset(request).select_related("suggestion__answer")

    @admin.display(description="answer")
    def answer(self, feedback: Feedback) -> str:
        answer = feedback.suggestion.answer
        return (answer.title or answer.key) if answer else "an earlier reply"


@admin.register(LabelledQuestion)
class LabelledQuestionAdmin(ReadOnlyAdmin):
    nothing_yet = (
        "Label next, under Examples to label, asks for those that teach most. Labels may also come as "
        "events (support.intent.labelled)."
    )
    list_display = ("text", "label", "changed_at")
    search_fields = ("text", "=label")


@admin.register(Ranker)
class RankerAdmin(ReadOnlyAdmin):
    nothing_yet = (
        "The first one is made with the first release; others are learned from what agents decide at the desk."
    )
    list_display = ("created_at", "fingerprint", "is_active", "trained_on", "gate")
    list_filter = ("is_active", "fingerprint")
    fields = ("fingerprint", "is_active", "trained_on", "created_at", "gate", "weight_table", "figures")
    readonly_fields = ("created_at", "gate", "weight_table", "figures")

    @admin.display(description="replay of held-back decisions")
    def gate(self, ranker: Ranker) -> str:
        before, after = ranker.metrics.get("before"), ranker.metrics.get("after")
        if not before or not after:
            return "the first of its release"
        verdict = "passed" if ranker.metrics.get("passed") else "a newer one did not pass"
        return (
            f"{verdict}: MRR {before['mrr']:.3f} to {after['mrr']:.3f}, "
            f"log loss {before['log_loss']:.3f} to {after['log_loss']:.3f} on {after['questions']:.0f} questions"
        )

    @admin.display(description="weights of the standardised features")
    def weight_table(self, ranker: Ranker) -> str:
        rows = sorted(ranker.weights.get("features", {}).items(), key=lambda row: -abs(row[1][0]))
        cells: list[tuple[Any, str]] = [(name, f"{values[0]:.3f}") for name, values in rows]
        cells += [("bias", f"{ranker.weights.get('bias', 0.0):.3f}")]
        cells += [("least confidence that is offered", f"{ranker.weights.get('threshold', 0.0):.2f}")]
        return format_html(
            "<table><tbody>{}</tbody></table>", format_html_join("", "<tr><td>{}</td><td>{}</td></tr>", cells)
        )

    @admin.display(description="figures")
    def figures(self, ranker: Ranker) -> str:
        return format_html("<pre>{}</pre>", json.dumps(ranker.metrics, indent=1))
