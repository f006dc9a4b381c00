"""Releases and promotions in the admin: read, promote, roll back."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.forms import Script
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from suite.admin import ReadOnlyAdmin
from suite.live.templatetags.live import live_topic_attributes
from suite.releases import engine_choice, selectors, services
from suite.releases.admin.evaluations import evaluation_of
from suite.releases.admin.plot import plot_of
from suite.releases.admin.shadow import ShadowActions
from suite.releases.admin.shared import STATE_COLOURS, STYLES, go, table
from suite.releases.engine_choice import Measured
from suite.releases.models import Promotion, Release


class PromoteForm(BaseDialogForm):
    reason = forms.CharField(
        required=False,
        max_length=1_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Only where it is worse than the active one, or was not measured: why it is to serve all the same.",
    )


class CompressForm(BaseDialogForm):
    layers = forms.IntegerField(
        initial=4, min_value=0, max_value=100, widget=UnfoldAdminIntegerFieldWidget,
        help_text="That are left, taught by this release to give its vectors. 0 keeps them all.",
    )  # fmt: skip
    feed_forward = forms.IntegerField(
        initial=768, min_value=0, max_value=100_000, widget=UnfoldAdminIntegerFieldWidget,
        label="Width of the feed-forward part",
        help_text="Of each layer but the last, 768 of 1,536 say: the strongest units are left and taught. 0 keeps all.",
    )  # fmt: skip
    is_int8 = forms.BooleanField(
        required=False, label="Weights in int8", widget=UnfoldBooleanWidget, help_text="A quarter of the space."
    )
    minutes = forms.FloatField(
        initial=services.TEACHING_MINUTES, min_value=0.1, max_value=10_000, widget=UnfoldAdminDecimalFieldWidget,
        help_text="Teaching ends by then at the latest.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if given.get("layers") == 0 and given.get("feed_forward") == 0 and not given.get("is_int8"):
            self.add_error("layers", "Nothing would be smaller: give fewer layers, a narrower part, or int8.")
        return given


@admin.register(Release)
class ReleaseAdmin(ShadowActions, ReadOnlyAdmin):
    nothing_yet = "manage.py up makes the first one when it starts, manage.py release makes one by itself."
    list_display = ("fingerprint", "shown_state", "body", "dimensions", "heads", "created_at", "activated_at")
    list_filter = ("state",)
    search_fields = ("fingerprint", "body")
    fields = ("fingerprint", "shown_state", "body", "dimensions", "worse", "evaluation_shown", "metrics_table",
              "shadow_figures", "engines", "message", "path", "created_at", "activated_at")  # fmt: skip
    readonly_fields = ("shown_state", "worse", "evaluation_shown", "metrics_table", "shadow_figures", "engines")
    actions_detail = ("promote", "start_shadow", "stop_shadow", "compress", "remove")
    actions_list = ("rollback",)

    list_before_template = "releases/_plot.html"

    class Media:
        css = STYLES
        js = (
            Script("live.js", type="module"),
            Script("releases/plot.js", type="module"),
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        plot = plot_of(self.get_queryset(request))
        return super().changelist_view(request, (extra_context or {}) | {"plot": plot})

    def has_promote_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("releases.change_release")

    def has_compress_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("releases.add_trainingrun")

    @display(description="State", label=STATE_COLOURS, ordering="state")
    def shown_state(self, release: Release) -> str:
        return release.state

    @display(description="Heads")
    def heads(self, release: Release) -> str:
        return ", ".join(sorted(release.metrics)) or "none"

    @display(description="Metrics of its heads, on held-out examples")
    def metrics_table(self, release: Release) -> SafeString | str:
        return table(release.metrics, "head") or "this release has no heads"

    @display(description="Engines, by machine: the one chosen, and what was measured")
    def engines(self, release: Release) -> SafeString | str:
        machines = engine_choice.read(release.folder).items()
        return format_html_join("", "<p>{}: {}</p>{}", (
            (machine, choice.engine, table({of_engine(one): figures(one) for one in choice.table}, "engine"))
            for machine, choice in machines
        )) or "not measured yet"  # fmt: skip

    @display(description="Beside the release that was active, and simple rivals, on held-out examples")
    def evaluation_shown(self, release: Release) -> SafeString | str:
        return evaluation_of(release)

    @display(description="Worse beyond noise in")
    def worse(self, release: Release) -> str:
        found = "not compared with another release"
        if release.compared_with:
            found = f"{', '.join(release.worse_in) or 'nothing'}, than {release.compared_with[:8]}"
        return ". ".join([found, *selectors.doubts(release)])

    @action(
        description="Promote",
        url_path="promote",
        permissions=["promote"],
        icon="rocket_launch",
        dialog={
            "title": "Let this release serve?",
            "description": "Its index is built and gated first. Until then, and where the gate refuses it, the active "
            "release serves on.",
            "form_class": PromoteForm,
            "form_submit_text": "Promote",
        },
    )
    def promote(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        release = self.get_object(request, object_id)
        if release is None:
            return go(request, reverse("admin:releases_release_changelist"))
        reason = form.cleaned_data["reason"]
        return ask(request, lambda: services.request_promotion(release, request.user.get_username(), reason))

    @action(
        description="Compress",
        url_path="compress",
        permissions=["compress"],
        icon="compress",
        dialog={
            "title": "Make a smaller release of this one?",
            "description": "A run on the applications' own rows makes a candidate with an evaluation of its own, "
            "beside this release.",
            "form_class": CompressForm,
            "form_submit_text": "Start",
        },
    )
    def compress(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        teacher = self.get_object(request, object_id)
        if teacher is None:
            return go(request, reverse("admin:releases_release_changelist"))
        wanted = {name: form.cleaned_data[name] for name in ("layers", "feed_forward", "is_int8", "minutes")}
        try:
            run = services.request_compression(teacher, **wanted, by=request.user.get_username())
        except services.RequestRefused as error:
            messages.error(request, f"Not done: {error}.")
            return go(request, reverse("admin:releases_release_change", args=[teacher.pk]))
        messages.success(request, f"Asked for: {run}. A process of its own works on it.")
        return go(request, reverse("admin:releases_trainingrun_change", args=[run.pk]))

    @action(
        description="Remove",
        url_path="remove",
        permissions=["promote"],
        icon="delete",
        dialog={
            "title": "Remove this release for good?",
            "description": "Its folder, its index and what is noted of its promotions go. The one that serves, and the "
            "one that a rollback goes back to, cannot be removed.",
            "form_class": None,
            "form_submit_text": "Remove",
        },
    )
    def remove(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        release = self.get_object(request, object_id)
        if release is not None:
            try:
                left = services.remove(release)
                messages.success(request, f"Release {object_id[:8]} is removed.")
                if left:
                    messages.warning(request, f"{left} could not be removed; may this process write there?")
            except services.RequestRefused as error:
                messages.error(request, f"Not done: {error}.")
        return go(request, reverse("admin:releases_release_changelist"))

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
    nothing_yet = "Every promotion and every rollback is kept here. Open a release to promote it."
    list_display = ("id", "release", "kind", "shown_state", "documents", "requested_by", "requested_at", "finished_at",
                    "message")  # fmt: skip
    list_filter = ("state", "is_rollback")
    list_select_related = ("release",)
    fields = ("release", "previous", "kind", "outcome", "override_reason", "requested_by", "requested_at")
    readonly_fields = ("kind", "outcome")

    class Media:
        css = STYLES
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


def of_engine(measured: Measured) -> str:
    return f"{measured.engine} (refused: {measured.refused})" if measured.refused else measured.engine


def figures(measured: Measured) -> dict[str, float]:
    """Nothing where it could not be measured."""
    if not measured.mean_cosine:
        return {}
    return {
        "texts/s": round(measured.texts_a_second),
        "mean cosine": measured.mean_cosine,
        "worst cosine": measured.min_cosine,
        "worst loss of a head": measured.worst_loss,
    }
