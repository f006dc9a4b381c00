"""Alerting in the admin: rules, channels and silences are written here, alerts and what was sent are read."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from domains.finance.alerting import services
from domains.finance.models import Alert, AlertRule, Channel, Notification, Silence, Transition
from suite.admin import ReadOnlyAdmin


@admin.register(AlertRule)
class AlertRuleAdmin(ModelAdmin):
    """What decides gives the rule a new version when it is changed: its alerts end, and it decides anew."""

    nothing_yet = "Add one: it says what is watched, and from when on it is an alert."
    list_display = (
        "name",
        "metric",
        "scope",
        "topic",
        "threshold",
        "severity",
        "is_enabled",
        "version",
        "evaluated_until",
    )
    list_filter = ("is_enabled", "metric", "scope", "severity")
    list_select_related = ("progress",)
    search_fields = ("name",)
    autocomplete_fields = ("entity", "watch_list")
    readonly_fields = ("version", "changed_by", "evaluated_until", "last_error")
    fieldsets = (
        (None, {"fields": ("name", "is_enabled", "severity")}),
        ("What is watched", {"fields": ("metric", "scope", "entity", "watch_list", "topic", "window_seconds")}),
        ("When it fires", {"fields": ("comparison", "threshold", "for_seconds", "min_stories")}),
        ("When it is over", {"fields": ("clear_threshold", "cool_down_seconds")}),
        ("How it does", {"fields": readonly_fields}),
    )

    @admin.display(description="decided until")
    def evaluated_until(self, rule: AlertRule) -> Any:
        progress = getattr(rule, "progress", None)
        return progress.evaluated_until if progress else None

    @admin.display(description="last error")
    def last_error(self, rule: AlertRule) -> str:
        progress = getattr(rule, "progress", None)
        return progress.last_error if progress else ""

    def save_model(self, request: HttpRequest, obj: AlertRule, form: ModelForm, change: bool) -> None:
        services.save_rule({}, by=request.user.get_username(), rule=obj)


@admin.register(Silence)
class SilenceAdmin(ModelAdmin):
    nothing_yet = "Add one to keep alerts quiet for a while, say while their cause is being seen to."
    list_display = ("reason", "by", "rule", "entity", "topic", "severity", "starts_at", "until", "holds")
    list_filter = ("severity",)
    list_select_related = ("rule", "entity")
    search_fields = ("reason", "by")
    autocomplete_fields = ("rule", "entity")
    fields = ("rule", "entity", "topic", "severity", "until", "reason")

    @admin.display(boolean=True)
    def holds(self, silence: Silence) -> bool:
        return silence.starts_at <= timezone.now() < silence.until

    def save_model(self, request: HttpRequest, obj: Silence, form: ModelForm, change: bool) -> None:
        if not change:
            obj.by = request.user.get_username()
        services.keep_silence(obj)


@admin.register(Channel)
class ChannelAdmin(ModelAdmin):
    nothing_yet = "Add one to have alerts sent to an e-mail address or a webhook."
    list_display = ("name", "kind", "target", "least_severity", "group_by", "is_enabled", "last_word")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name", "target")

    @admin.display(description="last notification")
    def last_word(self, channel: Channel) -> str:
        last = channel.notifications.order_by("-id").first()
        return f"{last.state}: {last.response}"[:120] if last else "none yet"


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    nothing_yet = "No rule has found anything. What is watched is under Alert rules."
    list_display = (
        "rule_name",
        "entity",
        "topic",
        "severity",
        "state",
        "fired_at",
        "resolved_at",
        "why",
        "acknowledged_by",
    )
    list_filter = ("state", "severity")
    list_select_related = ("entity",)
    search_fields = ("rule_name", "entity__symbol", "topic")
    date_hierarchy = "fired_at"
    exclude = ("spec", "figures", "seen", "story_ids")
    readonly_fields = ("decided_on",)

    @admin.display(description="decided on")
    def decided_on(self, alert: Alert) -> str:
        found = {"rule": alert.spec, "figures": alert.figures, "minutes": alert.seen, "stories": alert.story_ids}
        return format_html("<pre>{}</pre>", json.dumps(found, indent=1))


@admin.register(Transition)
class TransitionAdmin(ReadOnlyAdmin):
    nothing_yet = "Every change in the state of an alert is kept here."
    list_display = ("at", "rule_name", "group_key", "before", "after", "by", "note", "decided_at")
    list_filter = ("after",)
    search_fields = ("rule_name", "by", "note")
    ordering = ("-id",)


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    nothing_yet = "What is sent about alerts is kept here. Where it goes is under Channels."
    list_display = ("created_at", "channel", "group_key", "state", "attempts", "is_repeat", "finished_at", "response")
    list_filter = ("state", "channel")
    list_select_related = ("channel",)
    search_fields = ("group_key", "response")
