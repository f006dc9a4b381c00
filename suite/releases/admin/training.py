"""Training runs in the admin: start one, watch it, stop it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.forms import Script
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join, json_script
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminIntegerFieldWidget, UnfoldAdminTextareaWidget

from suite.admin import ReadOnlyAdmin
from suite.encoder.training.config import ConfigError, TrainingConfig
from suite.live.templatetags.live import live_topic_attributes
from suite.releases import services
from suite.releases.admin.search import searched
from suite.releases.admin.shared import STATE_COLOURS, STYLES, go, table
from suite.releases.models import TrainingRun


class StartForm(BaseDialogForm):
    minutes = forms.FloatField(
        initial=40, min_value=0.5, max_value=10_000, widget=UnfoldAdminDecimalFieldWidget,
        help_text="Training ends by then at the latest.",
    )  # fmt: skip
    epochs = forms.FloatField(
        required=False, min_value=0, max_value=1_000, widget=UnfoldAdminDecimalFieldWidget,
        help_text="How often all examples are gone through. Left empty: three times, and more often where they are "
        "few. 0 leaves the body as it is and fits the heads only.",
    )  # fmt: skip
    trials = forms.IntegerField(
        required=False, initial=0, min_value=0, max_value=500, widget=UnfoldAdminIntegerFieldWidget,
        label="Trials of a search",
        help_text="0 trains. More: so many other settings are tried for the time above each, those that are worse are "
        "stopped early, and the best can be trained with afterwards.",
    )  # fmt: skip
    config = forms.JSONField(
        required=False, initial=dict, label="More settings", widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text='A JSON object, such as {"batch_size": 64}; docs/training.md has them all.',
    )  # fmt: skip

    def clean_config(self) -> dict[str, Any]:
        config = self.cleaned_data["config"] or {}
        if not isinstance(config, dict):
            raise forms.ValidationError("This must be a JSON object.")
        try:
            TrainingConfig.from_mapping(config)
        except ConfigError as error:
            raise forms.ValidationError(f"{error}.") from error
        return config


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnlyAdmin):
    nothing_yet = "Choose Start a training run above, or call manage.py train: a candidate release comes of it."
    list_display = ("id", "shown_state", "done", "release", "requested_by", "requested_at", "finished_at", "message")
    list_filter = ("state",)
    list_select_related = ("release",)
    fields = ("outcome", "curve", "release", "teacher", "data", "has_rows", "config", "requested_by",
              "requested_at", "started_at", "finished_at")  # fmt: skip
    readonly_fields = ("outcome", "curve")
    actions_list = ("start",)
    actions_detail = ("stop", "train_best")

    class Media:
        css = STYLES
        js = (Script("live.js", type="module"), Script("releases/training.js", type="module"))

    def has_train_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("releases.add_trainingrun")

    def has_best_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        run = self.get_object(request, object_id) if object_id else None
        return self.has_train_permission(request) and run is not None and run.best_trial is not None

    def has_stop_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        run = self.get_object(request, object_id) if object_id else None
        return self.has_train_permission(request) and run is not None and not run.is_finished

    @display(description="State", label=STATE_COLOURS, ordering="state")
    def shown_state(self, run: TrainingRun) -> str:
        return run.state

    @display(description="Done")
    def done(self, run: TrainingRun) -> str:
        return run.done or "-"

    @display(description="Outcome")
    def outcome(self, run: TrainingRun) -> SafeString:
        """State, progress and metrics in one element, which fetches itself anew when there is news of the run."""
        progress = run.progress
        return format_html(
            '<div id="outcome" class="flex flex-col gap-3 w-full" {} hx-get="{}" hx-trigger="live:topic" '
            'hx-select="#outcome" hx-swap="outerHTML">'
            '<p>{} <progress value="{}" max="1" aria-label="done" class="accent-primary-600"></progress> {}</p>'
            "<p>{}</p><p>{}</p>{}{}<ul>{}</ul>{}</div>",
            live_topic_attributes(services.training_topic(run.pk)),
            reverse("admin:releases_trainingrun_change", args=[run.pk]),
            run.state_in_words,
            1 if run.state == run.State.DONE else share(progress),
            self.done(run),
            speed(progress) if run.state == run.State.RUNNING else "",
            made(run),
            searched(run),
            evaluations(progress),
            format_html_join("", "<li>{}</li>", ((line,) for line in run.notes.splitlines())),
            json_script(
                {name: progress.get(name, []) for name in ("curve", "evaluations")}
                | {"trials": run.trials if run.trials_wanted else None},
                "training-curve",
            ),
        )

    @display(description="Losses and metrics")
    def curve(self, run: TrainingRun) -> SafeString:
        """Drawn by training.js from the data in the outcome, so that it grows where it is."""
        return format_html(
            '<div class="relative w-full"><canvas id="{}" role="img" aria-label="{}"></canvas></div>',
            "training-chart",
            "Mean of the primary metrics of each trial, over its evaluations"
            if run.trials_wanted
            else "Loss of each task, and the mean of the primary metrics, over the batches",
        )

    @action(
        description="Start a training run",
        url_path="start",
        permissions=["train"],
        icon="model_training",
        dialog={
            "title": "Train on the applications' own rows?",
            "description": "What comes of it is a candidate; the active release serves on.",
            "form_class": StartForm,
            "form_submit_text": "Start",
        },
    )
    def start(self, request: HttpRequest, form: BaseDialogForm) -> HttpResponse:
        given = form.cleaned_data
        fields = {name: given[name] for name in ("minutes", "epochs") if given[name] is not None}
        config = fields | given["config"]
        run = services.request_training(config=config, trials=given["trials"] or 0, by=request.user.get_username())
        messages.success(request, f"Asked for: {run}. A process of its own works on it.")
        return go(request, reverse("admin:releases_trainingrun_change", args=[run.pk]))

    @action(
        description="Train with the best settings",
        url_path="train-best",
        permissions=["best"],
        icon="model_training",
        dialog={
            "title": "Train with the best trial's settings?",
            "description": "On the same data as the search, as it is now. What comes of it is a candidate.",
            "form_class": None,
            "form_submit_text": "Start",
        },
    )
    def train_best(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        search = self.get_object(request, object_id)
        if search is None:
            return go(request, reverse("admin:releases_trainingrun_changelist"))
        run = services.request_training(
            search.data, search.validation, has_rows=search.has_rows, config=search.best_config,
            by=request.user.get_username(),
        )  # fmt: skip
        messages.success(request, f"Asked for: {run}, with the best settings of {search}.")
        return go(request, reverse("admin:releases_trainingrun_change", args=[run.pk]))

    @action(
        description="Stop",
        url_path="stop",
        permissions=["stop"],
        icon="stop_circle",
        dialog={
            "title": "Stop this run?",
            "description": "It ends without a release, and cannot be gone on with.",
            "form_class": None,
            "form_submit_text": "Stop",
        },
    )
    def stop(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        run = self.get_object(request, object_id)
        if run is None:
            return go(request, reverse("admin:releases_trainingrun_changelist"))
        try:
            services.stop_training(run)
            messages.success(request, f"{run} ends in a moment.")
        except services.RequestRefused as error:
            messages.error(request, f"Not done: {error}.")
        return go(request, reverse("admin:releases_trainingrun_change", args=[run.pk]))


def made(run: TrainingRun) -> SafeString | str:
    """The message, which leads to the release where there is one."""
    if run.release_id is None:
        return run.message
    url = reverse("admin:releases_release_change", args=[run.release_id])
    return format_html('<a href="{}" class="text-primary-600 underline">{}</a>', url, run.message)


def share(progress: dict[str, Any]) -> float:
    """How much is done, from 0 to 1: where the minutes end a run, its batches do not tell."""
    whole = progress.get("seconds", 0) + progress.get("seconds_left", 0)
    return round(progress.get("seconds", 0) / whole, 3) if whole else 0


def speed(progress: dict[str, Any]) -> str:
    if not progress.get("batch"):
        return ""
    return (
        f"{progress['examples_a_second']:,.0f} examples/s, {progress['seconds_left'] / 60:,.1f} minutes left, "
        f"{progress['megabytes']:,} MB, at {progress['task']}"
    )


def evaluations(progress: dict[str, Any]) -> SafeString | str:
    """The primary metric of every task: of the body as it came, of the best one, and of the newest."""
    found = [one["metrics"] | {"mean": one["mean"]} for one in progress.get("evaluations", [])]
    if not found:
        return ""
    best = max(found[1:] or found, key=lambda metrics: metrics["mean"])
    rows = {
        task: {"at first": found[0].get(task), "best": best.get(task), "now": found[-1][task]} for task in found[-1]
    }
    worse = ", ".join(progress["evaluations"][-1].get("worse", []))
    note = format_html("<p>Worse than before training: {}</p>", worse) if worse else ""
    return format_html("{}{}", table(rows, "primary metric"), note)
