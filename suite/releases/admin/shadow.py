"""A release in shadow, on its page: start, stop, and how often it disagrees with the active one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from suite.admin import ReadOnlyAdmin
from suite.live.selectors import live_topic
from suite.releases import selectors, services
from suite.releases.admin.shared import go
from suite.releases.models import Release
from suite.releases.shadow_report import report


class ShadowForm(BaseDialogForm):
    share = forms.FloatField(
        initial=0.1, min_value=0.001, max_value=1, widget=UnfoldAdminDecimalFieldWidget,
        label="Share of the decisions", help_text="0.1: one in ten is scored once more, by this release.",
    )  # fmt: skip


class ShadowActions(ReadOnlyAdmin):
    """What the page of a release has of its shadow."""

    def has_start_shadow_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        release = Release.objects.filter(pk=object_id).first()
        is_serving = release is None or release.state == Release.State.ACTIVE
        return request.user.has_perm("releases.change_release") and not is_serving and not is_in_shadow(object_id)

    def has_stop_shadow_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("releases.change_release") and is_in_shadow(object_id)

    @display(description="In shadow: beside the active release, on live traffic")
    def shadow_figures(self, release: Release) -> str:
        """The newest shadow in one element, which fetches itself anew when there is news of releases."""
        topic = live_topic(services.TOPIC)
        shadow = release.shadows.select_related("release", "active").first()
        context = {
            "shadow": shadow,
            "heads": report(shadow) if shadow else [],
            "url": reverse("admin:releases_release_change", args=[release.pk]),
            "topic": topic,
        }
        return render_to_string("releases/shadow.html", context)

    @action(
        description="Put in shadow",
        url_path="shadow",
        permissions=["start_shadow"],
        icon="contrast",
        dialog={
            "title": "Let this release score live traffic beside the active one?",
            "description": "Nobody is answered by it. A worker scores some of what the active release decided, in the "
            "background, and counts where the two disagree.",
            "form_class": ShadowForm,
            "form_submit_text": "Start",
        },
    )
    def start_shadow(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        release = self.get_object(request, object_id)
        if release is None:
            return go(request, reverse("admin:releases_release_changelist"))
        by = request.user.get_username()
        share = form.cleaned_data["share"]
        return done(request, object_id, lambda: services.request_shadow(release, share, by), "A worker scores for it.")

    @action(
        description="Stop the shadow",
        url_path="stop-shadow",
        permissions=["stop_shadow"],
        icon="stop_circle",
        dialog={
            "title": "Take this release out of shadow?",
            "description": "What was counted stays.",
            "form_class": None,
            "form_submit_text": "Stop",
        },
    )
    def stop_shadow(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        return done(request, object_id, services.stop_shadow, "It is stopped.")


def is_in_shadow(release: str | None) -> bool:
    shadow = selectors.running_shadow()
    return shadow is not None and shadow.release_id == release


def done(request: HttpRequest, release: str, do_it: Any, told: str) -> HttpResponse:
    """Do it and go back to the release's page, or say why not."""
    try:
        messages.success(request, f"{str(do_it()).capitalize()}: {told[0].lower()}{told[1:]}")
    except services.RequestRefused as error:
        messages.error(request, f"Not done: {error}.")
    return go(request, reverse("admin:releases_release_change", args=[release]))
