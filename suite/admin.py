"""The repeated jobs in the admin: who runs, when it ran, what went wrong."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from suite.events.models import JobLease


@admin.register(JobLease)
class JobLeaseAdmin(ModelAdmin):
    list_display = ("name", "started_at", "finished_at", "leased_until", "last_error")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
