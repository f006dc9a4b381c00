"""What every admin page shares, and the repeated jobs: who runs, when it ran, what went wrong."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from suite.events.models import JobLease


class ReadOnlyAdmin(ModelAdmin):
    """Rows that events and workers make: to be searched and read, never edited."""

    show_full_result_count = False  # counting a large table twice a page is not worth the figure

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(JobLease)
class JobLeaseAdmin(ReadOnlyAdmin):
    nothing_yet = "A job stands here once it has run. manage.py up runs them."
    list_display = ("name", "started_at", "finished_at", "leased_until", "holder", "last_error")
