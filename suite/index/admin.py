"""Generations in the admin: how far behind each is and why. To look at; `manage.py reindex` builds them anew."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, F, QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from suite.admin import ReadOnlyAdmin
from suite.index.models import Generation, RefusedDocument

STATE_COLOURS = {"active": "success", "building": "info", "standby": "warning", "dropped": "danger"}


@admin.register(Generation)
class GenerationAdmin(ReadOnlyAdmin):
    nothing_yet = "The first one is built before a release begins to serve."
    list_display = (
        "name",
        "collection",
        "release",
        "shown_state",
        "lag",
        "refused_count",
        "last_error",
        "activated_at",
    )
    list_filter = ("state", "collection")
    search_fields = ("name", "fingerprint")
    fields = ("name", "collection", "fingerprint", "dimensions", "shown_state", "lag", "refused_count", "last_error",
              "leased_until", "created_at", "activated_at", "retired_at")  # fmt: skip
    readonly_fields = ("shown_state", "lag", "refused_count")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generation]:
        rows = super().get_queryset(request).select_related("collection")
        return rows.annotate(
            changes_behind=F("collection__last_sequence") - F("synced_sequence"), refusals=Count("refused")
        )

    @display(description="Release", ordering="fingerprint")
    def release(self, generation: Generation) -> str:
        return generation.fingerprint[:8] or "none"

    @display(description="State", label=STATE_COLOURS, ordering="state")
    def shown_state(self, generation: Generation) -> str:
        return generation.state

    @display(description="Changes behind", ordering="changes_behind")
    def lag(self, generation: Any) -> str:
        return f"{generation.changes_behind:,}"

    @display(description="Refused documents", ordering="refusals")
    def refused_count(self, generation: Any) -> int:
        return int(generation.refusals)


@admin.register(RefusedDocument)
class RefusedDocumentAdmin(ReadOnlyAdmin):
    nothing_yet = "The search engine took every document that it was given."
    list_display = ("key", "generation", "reason", "sequence")
    list_filter = ("generation__collection",)
    list_select_related = ("generation",)
    search_fields = ("key", "reason")
