"""The event stream in the admin: read events, see what waits, replay what was given up, make and revoke API keys."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from suite.admin import ReadOnlyAdmin
from suite.events.auth import new_secret, revoke_key
from suite.events.models import ApiKey, DeadLetter, Event, PendingEvent
from suite.events.services import NotReplayed, replay_dead_letter

SHOWN_BYTES = 4_000


def as_block(text: str) -> SafeString:
    return format_html('<pre style="white-space: pre-wrap; overflow-wrap: anywhere">{}</pre>', text)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    nothing_yet = (
        "Events come in at /api/events (described at /api/docs), from RabbitMQ, or by manage.py load; "
        "manage.py play sends some."
    )
    list_display = ("id", "type", "subject", "source", "event_id", "time")
    search_fields = ("event_id", "subject")
    search_help_text = "the sender's id, or the subject"
    list_filter = ("type",)
    fields = ("type", "source", "event_id", "subject", "time", "received_at", "pretty_data")
    ordering = ("-id",)
    list_per_page = 50

    @admin.display(description="data")
    def pretty_data(self, event: Event) -> SafeString:
        return as_block(json.dumps(event.data, indent=2, ensure_ascii=False))


@admin.register(PendingEvent)
class PendingEventAdmin(ReadOnlyAdmin):
    nothing_yet = "Nothing waits: what came in has been worked on, or given up (Dead letters)."
    list_display = ("event", "work", "priority", "attempts", "marked_at", "available_at", "last_error")
    list_filter = ("work", "priority")
    list_select_related = ("event",)


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    nothing_yet = (
        "Nothing was given up. What fails time after time comes here, to be replayed when its cause is mended."
    )
    list_display = ("id", "event", "channel", "reason", "attempts", "created_at", "replayed_at")
    list_filter = (("replayed_at", admin.EmptyFieldListFilter), "channel", "work")
    list_select_related = ("event",)
    fields = ("event", "channel", "work", "reason", "attempts", "created_at", "replayed_at", "shown_body")
    actions = ("replay",)

    @admin.display(description="message")
    def shown_body(self, letter: DeadLetter) -> SafeString:
        return as_block(bytes(letter.body)[:SHOWN_BYTES].decode("utf-8", "backslashreplace"))

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("events.change_deadletter")

    @admin.action(description="Replay: try these once more", permissions=["replay"])
    def replay(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        replayed = 0
        for letter in letters.filter(replayed_at=None).order_by("id"):
            try:
                replay_dead_letter(letter)
                replayed += 1
            except NotReplayed as error:
                self.message_user(request, f"Dead letter {letter.pk} stays: {error}", messages.ERROR)
        self.message_user(request, f"{replayed} replayed.", messages.SUCCESS if replayed else messages.WARNING)


class ApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in ApiKey.SCOPES], widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    class Meta:
        model = ApiKey
        fields = ("name", "scopes")


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    nothing_yet = "Who sends events or asks for results over HTTP needs one."
    form = ApiKeyForm
    list_display = ("name", "prefix", "scope_list", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return ("prefix", "created_at", "last_used_at", "revoked_at") if obj else ()

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return ("name", "scopes", *self.get_readonly_fields(request, obj))

    @admin.display(description="scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """A new key gets its secret here; this message is the only place that ever shows it."""
        text = "" if change else new_secret(obj)
        super().save_model(request, obj, form, change)
        if text:
            self.message_user(request, format_html("Keep this key, it cannot be shown again: <code>{}</code>", text))

    @admin.action(description="Revoke: refuse these keys from now on", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        for key in keys:
            revoke_key(key)
        self.message_user(request, f"{len(keys)} refused from now on, by every process within 5 seconds.")
