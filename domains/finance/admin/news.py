"""News in the admin: sources, entities and watch lists are written here, what was read is read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline

from domains.finance.models import Alias, Article, Entity, LabelledText, Score, Source, Story, WatchList
from suite.admin import ReadOnlyAdmin
from suite.outbound import BadAddress, parsed

LEAST_SECONDS = 30


class SourceForm(ModelForm):
    class Meta:
        model = Source
        fields = ("name", "url", "is_feed", "is_enabled", "language", "every_seconds")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("is_feed"):
            try:
                parsed(data.get("url") or "")
            except BadAddress as error:
                self.add_error("url", f"of a feed: {error}")
        if (data.get("every_seconds") or LEAST_SECONDS) < LEAST_SECONDS:
            self.add_error("every_seconds", f"is at least {LEAST_SECONDS}")
        return data


@admin.register(Source)
class SourceAdmin(ModelAdmin):
    nothing_yet = "Add a feed to have it read. Articles may also come as events."
    form = SourceForm
    list_display = (
        "name",
        "is_feed",
        "is_enabled",
        "fetched_at",
        "next_fetch_at",
        "last_report",
        "failures",
        "last_error",
    )
    list_filter = ("is_feed", "is_enabled")
    search_fields = ("name", "url")
    readonly_fields = ("fetched_at", "next_fetch_at", "last_report", "failures", "last_error", "etag", "last_modified")
    actions = ("read_now",)

    @admin.action(description="Read these feeds at the next turn")
    def read_now(self, request: HttpRequest, sources: QuerySet[Source]) -> None:
        count = sources.filter(is_feed=True).update(next_fetch_at=timezone.now(), is_enabled=True)
        self.message_user(request, f"{count} feeds are read within seconds")


class AliasForm(ModelForm):
    class Meta:
        model = Alias
        fields = ("text", "is_case_sensitive", "needs_context", "context_words", "reject_words")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for name in ("context_words", "reject_words"):
            words = data.get(name) or []
            if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
                self.add_error(name, 'is a list of texts, such as ["shares", "profit"]')
        if data.get("needs_context") and not data.get("context_words"):
            raise ValidationError("A name that needs context needs context words.")
        return data


class AliasInline(TabularInline):
    model = Alias
    form = AliasForm
    extra = 0


@admin.register(Entity)
class EntityAdmin(ModelAdmin):
    nothing_yet = "Add whom news is about, one by one here or all at once by manage.py load finance.entities FILE."
    list_display = ("symbol", "name", "kind", "is_active", "alias_count")
    list_filter = ("kind", "is_active")
    search_fields = ("symbol", "name", "aliases__text")
    inlines = (AliasInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entity]:
        return super().get_queryset(request).annotate(names=Count("aliases")).order_by("symbol")

    @admin.display(description="names", ordering="names")
    def alias_count(self, entity: Any) -> int:
        return entity.names


@admin.register(WatchList)
class WatchListAdmin(ModelAdmin):
    nothing_yet = "Add one: the dashboard can then show its entities alone, and an alert rule can watch them."
    list_display = ("name", "owner")
    search_fields = ("name",)
    autocomplete_fields = ("entities", "owner")


class ScoreInline(TabularInline):
    model = Score
    fields = ("entity", "name", "p_negative", "p_neutral", "p_positive", "topic", "sentence", "release", "is_current")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Article)
class ArticleAdmin(ReadOnlyAdmin):
    nothing_yet = (
        "Articles come as events (finance.article.published), from the feeds under Sources, or by "
        "manage.py load finance.articles FILE."
    )
    list_display = ("title", "source_name", "language", "published_at", "story", "note")
    list_filter = ("language",)
    list_select_related = ("story",)
    search_fields = ("=key", "title")
    inlines = (ScoreInline,)


@admin.register(Story)
class StoryAdmin(ReadOnlyAdmin):
    nothing_yet = "Articles that tell the same are put together here as they come in."
    list_display = ("title", "topic", "language", "article_count", "source_count", "first_published_at")
    list_filter = ("topic", "language")
    search_fields = ("title",)


@admin.register(LabelledText)
class LabelledTextAdmin(ReadOnlyAdmin):
    nothing_yet = (
        "What analysts correct and label comes here and is learned from. Label next, under Examples to "
        "label, asks for the best ones."
    )
    list_display = ("text", "entity", "kind", "label", "changed_at")
    list_filter = ("kind",)
    search_fields = ("text",)
