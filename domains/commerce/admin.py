"""Commerce in the admin: what is there, as its events made it. Items and interactions change by events alone."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from unfold.admin import ModelAdmin

from domains.commerce.models import Catalogue, Interaction, Item, ItemStatistics, Link, RelatedItems
from domains.commerce.recommender.blend import Blend
from domains.commerce.recommender.features import FEATURES
from domains.commerce.recommender.statistics import unpack
from suite.admin import ReadOnlyAdmin


@admin.register(Catalogue)
class CatalogueAdmin(ModelAdmin):
    list_display = ("title", "slug", "kind", "item_count", "statistics_at", "is_blend_learned")
    search_fields = ("title", "slug")
    list_filter = ("kind",)
    fields = ("title", "slug", "kind", "blend_weights", "learned_from", "statistics_at", "statistics_event")
    readonly_fields = ("blend_weights", "learned_from", "statistics_at", "statistics_event")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Catalogue]:
        count = Count("items", filter=Q(items__is_removed=False))
        return super().get_queryset(request).annotate(item_count=count).order_by("id")

    @admin.display(description="items", ordering="item_count")
    def item_count(self, catalogue: Any) -> int:
        return catalogue.item_count

    @admin.display(description="blend learned", boolean=True)
    def is_blend_learned(self, catalogue: Catalogue) -> bool:
        return bool(catalogue.blend)

    @admin.display(description="weights of the channels (for a short and a long history)")
    def blend_weights(self, catalogue: Catalogue) -> str:
        blend = Blend.from_json(catalogue.blend)
        rows = zip(FEATURES, blend.short, blend.long, strict=True)
        return format_html(
            "<table><thead><tr><th>feature</th><th>short</th><th>long</th></tr></thead><tbody>{}</tbody></table>",
            format_html_join(
                "",
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                ((name, f"{short:.3f}", f"{long:.3f}") for name, short, long in rows),
            ),
        )

    @admin.display(description="how they were learned")
    def learned_from(self, catalogue: Catalogue) -> str:
        metrics = json.dumps(catalogue.blend_metrics, indent=1) if catalogue.blend_metrics else "not yet: the prior"
        return format_html("<pre>{}</pre>", metrics)


@admin.register(Item)
class ItemAdmin(ReadOnlyAdmin):
    list_display = ("title", "key", "catalogue", "category", "brand", "price", "currency", "is_available", "changed_at")
    list_filter = ("catalogue", "is_available", "is_removed")
    list_select_related = ("catalogue",)
    search_fields = ("key", "title", "brand")


@admin.register(Interaction)
class InteractionAdmin(ReadOnlyAdmin):
    list_display = ("timestamp", "kind", "item_key", "user_key", "session_key", "value", "catalogue")
    list_filter = ("catalogue", "kind")
    list_select_related = ("catalogue",)
    search_fields = ("=user_key", "=session_key", "=item_key")
    search_help_text = "the whole id of a user, a session or an item"
    ordering = ("-event_id",)
    exclude = ("event",)


@admin.register(ItemStatistics)
class ItemStatisticsAdmin(ReadOnlyAdmin):
    list_display = ("item_key", "catalogue", "popularity")
    list_filter = ("catalogue",)
    list_select_related = ("catalogue",)
    search_fields = ("item_key",)
    ordering = ("-popularity",)
    fields = ("catalogue", "item_key", "popularity", "goes_with")
    readonly_fields = ("goes_with",)

    @admin.display(description="goes with, strongest first")
    def goes_with(self, row: ItemStatistics) -> str:
        found = unpack(bytes(row.neighbours))
        return ", ".join(found.keys[:30]) or "nothing yet"


@admin.register(Link)
class LinkAdmin(ReadOnlyAdmin):
    list_display = ("head", "relation", "tail", "catalogue")
    list_filter = ("catalogue",)
    list_select_related = ("catalogue",)
    search_fields = ("=head", "=relation", "=tail")
    search_help_text = "the whole name of an end or of a relation"


@admin.register(RelatedItems)
class RelatedItemsAdmin(ReadOnlyAdmin):
    list_display = ("item_key", "catalogue")
    list_filter = ("catalogue",)
    list_select_related = ("catalogue",)
    search_fields = ("item_key",)
    fields = ("catalogue", "item_key", "related_to")
    readonly_fields = ("related_to",)

    @admin.display(description="related to, strongest first")
    def related_to(self, row: RelatedItems) -> str:
        return ", ".join(unpack(bytes(row.related), 1).keys[:30]) or "nothing"
