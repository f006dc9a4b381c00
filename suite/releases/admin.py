"""Releases and promotions in the admin: read, promote, roll back. Rows are made by workers, never by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.forms import Script
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm

from suite.live.templatetags.live import live_topic_attributes
from suite.releases import services
from suite.releases.models import Promotion, Release

STATE_COLOURS = {
    "active": "success",
    "done": "success",
    "building": "info",
    "running": "info",
    "requested": "info",
    "failed": "danger",
    "refused": "danger",
}


class ReadOnlyAdmin(ModelAdmin):
    """Rows to look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Release)
class ReleaseAdmin(ReadOnlyAdmin):
    list_display = ("fingerprint", "shown_state", "body", "dimensions", "heads", "created_at", "activated_at")
    list_filter = ("state",)
    search_fields = ("fingerprint", "body")
    fields = ("fingerprint", "shown_state", "body", "dimensions", "metrics_table", "message", "path", "created_at",
              "activated_at")  # fmt: skip
    readonly_fields = ("shown_state", "metrics_table")
    actions_detail = ("promote",)
    actions_list = ("rollback",)

    def has_promote_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("releases.change_release")

    @display(description="State", label=STATE_COLOURS, ordering="state")
    def shown_state(self, release: Release) -> str:
        return release.state

    @display(description="Heads")
    def heads(self, release: Release) -> str:
        return ", ".join(sorted(release.metrics)) or "none"

    @display(description="Metrics of its heads, on held-out examples")
    def metrics_table(self, release: Release) -> SafeString | str:
        return table(release.metrics, "head") or "this release has no heads"

    @action(
        description="Promote",
        url_path="promote",
        permissions=["promote"],
        icon="rocket_launch",
        dialog={
            "title": "Let this release serve?",
            "description": "Its index is built and gated first. Until then, and where the gate refuses it, the active "
            "release serves on.",
            "form_class": None,
            "form_submit_text": "Promote",
        },
    )
    def promote(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        release = self.get_object(request, object_id)
        if release is None:
            return go(request, reverse("admin:releases_release_changelist"))
        return ask(request, lambda: services.request_promotion(release, request.user.get_username()))

    @action(
        description="Roll back",
        url_path="rollback",
        permissions=["promote"],
        icon="undo",
        dialog={
            "title": "Let the release that served before serve again?",
            "description": "Its index is still there: it is brought to the end of what changed, gated, and switched.",
            "form_class": None,
            "form_submit_text": "Roll back",
        },
    )
    def rollback(self, request: HttpRequest, form: BaseDialogForm) -> HttpResponse:
        return ask(request, lambda: services.request_rollback(request.user.get_username()))


@admin.register(Promotion)
class PromotionAdmin(ReadOnlyAdmin):
    list_display = ("id", "release", "kind", "shown_state", "documents", "requested_by", "requested_at", "finished_at",
                    "message")  # fmt: skip
    list_filter = ("state", "is_rollback")
    list_select_related = ("release",)
    fields = ("release", "previous", "kind", "outcome", "requested_by", "requested_at")
    readonly_fields = ("kind", "outcome")

    class Media:
        js = (Script("live.js", type="module"),)

    @display(description="Kind", ordering="is_rollback")
    def kind(self, promotion: Promotion) -> str:
        return "rollback" if promotion.is_rollback else "promotion"

    @display(description="State", label=STATE_COLOURS, ordering="state")
    def shown_state(self, promotion: Promotion) -> str:
        return promotion.state

    @display(description="Documents")
    def documents(self, promotion: Promotion) -> str:
        return f"{promotion.documents_done:,} of {promotion.documents_total:,}"

    @display(description="Outcome")
    def outcome(self, promotion: Promotion) -> SafeString:
        """State, progress and gate in one element, which fetches itself anew when there is news of it."""
        url = reverse("admin:releases_promotion_change", args=[promotion.pk])
        return format_html(
            '<div id="outcome" {} hx-get="{}" hx-trigger="live:topic" hx-select="#outcome" hx-swap="outerHTML">'
            '<p>{} <progress value="{}" max="{}" aria-label="documents" class="accent-primary-600"></progress> {}</p>'
            "<p>{}</p>{}</div>",
            live_topic_attributes(services.TOPIC),
            url,
            promotion.state,
            promotion.documents_done,
            max(promotion.documents_total, 1),
            self.documents(promotion),
            promotion.message,
            table(promotion.gate, "collection"),
        )


def ask(request: HttpRequest, request_it: Any) -> HttpResponse:
    """Ask for a promotion and go to its page, or say why not."""
    try:
        promotion = request_it()
    except services.RequestRefused as error:
        messages.error(request, f"Not done: {error}.")
        return go(request, reverse("admin:releases_release_changelist"))
    messages.success(request, f"Asked for: {promotion}. A worker carries it out.")
    return go(request, reverse("admin:releases_promotion_change", args=[promotion.pk]))


def go(request: HttpRequest, url: str) -> HttpResponse:
    """To a page, from a dialog (which htmx sends) or from a plain form."""
    return HttpResponse(headers={"HX-Redirect": url}) if request.headers.get("HX-Request") else redirect(url)


def table(rows: Mapping[str, Mapping[str, float]], first: str) -> SafeString | str:
    """{row: {column: number}} as a table; empty where there are no rows."""
    columns = list(dict.fromkeys(name for values in rows.values() for name in values))
    if not columns:
        return ""
    head = format_html_join("", '<th class="px-3 text-right">{}</th>', ((name.replace("_", " "),) for name in columns))
    body = format_html_join(
        "",
        '<tr><th class="pr-3 text-left">{}</th>{}</tr>',
        ((name, cells([values.get(column) for column in columns])) for name, values in rows.items()),
    )
    return format_html('<table><tr><th class="pr-3 text-left">{}</th>{}</tr>{}</table>', first, head, body)


def cells(values: list[float | None]) -> SafeString:
    shown = ("-" if value is None else f"{value:,.0f}" if float(value).is_integer() and value != 1 else f"{value:.3f}"
             for value in values)  # fmt: skip
    return format_html_join("", '<td class="px-3 text-right">{}</td>', ((text,) for text in shown))
