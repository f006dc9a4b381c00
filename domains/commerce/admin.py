"""Commerce in the admin: what is there, as its events made it. Items and interactions change by events alone."""

from __future__ import annotations

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
    nothing_yet = (
        "Add one, then send its items as events (commerce.item.changed), or manage.py load commerce.items FILE."
    )
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

    @admin.display(description="weights of the channels, for a short and for a long history")
    def blend_weights(self, catalogue: Catalogue) -> str:
        blend = Blend.from_json(catalogue.blend)
        rows = zip(FEATURES, blend.short, blend.long, strict=True)
        cells = ((name, *(f"{weight:.3f}" if weight else "-" for weight in weights)) for name, *weights in rows)
        row = '<tr><td class="pr-3">{}</td><td class="px-3 text-right">{}</td><td class="px-3 text-right">{}</td></tr>'
        named = [("feature", "short", "long"), *cells]
        return format_html("<table>{}</table>", format_html_join("", row, named))

    @admin.display(description="how they were learned")
    def learned_from(self, catalogue: Catalogue) -> str:
        known = catalogue.blend_metrics
        if not known:
            return "not yet: the prior"
        if not known["learned"]:
            return f"{known['interactions']:,} interactions are too few to learn from yet: the prior"
        links = "with links" if known["has_links"] else "without links"
        return (
            f"from {known['interactions']:,} interactions of {known['people']:,} people, {links}, their newest "
            f"{known['held_out']} held out, under release {known['release'][:8] or 'none'}, in {known['seconds']:.1f} s"
        )


@admin.register(Item)
class ItemAdmin(ReadOnlyAdmin):
    nothing_yet = "Items come as events (commerce.item.changed), or by manage.py load commerce.items FILE."
    list_display = ("title", "key", "catalogue", "category", "brand", "price", "currency", "is_available", "changed_at")
    list_filter = ("catalogue", "is_available", "is_removed")
    list_select_related = ("catalogue",)
    search_fields = ("key", "title", "brand")


@admin.register(Interaction)
class InteractionAdmin(ReadOnlyAdmin):
    nothing_yet = (
        "What people do comes as events (commerce.interaction.recorded), or by manage.py load "
        "commerce.interactions FILE."
    )
    list_display = ("timestamp", "kind", "item_key", "user_key", "session_key", "value", "catalogue")
    list_filter = ("catalogue", "kind")
    list_select_related = ("catalogue",)
    search_fields = ("=user_key", "=session_key", "=item_key")
    search_help_text = "the whole id of a user, a session or an item"
    ordering = ("-event_id",)
    exclude = ("event",)


@admin.register(ItemStatistics)
class ItemStatisticsAdmin(ReadOnlyAdmin):
    nothing_yet = "They are counted from interactions, a few seconds after these come in."
    list_display = ("item_key", "catalogue", "shown_popularity")
    list_filter = ("catalogue",)
    list_select_related = ("catalogue",)
    search_fields = ("item_key",)
    ordering = ("-popularity",)
    fields = ("catalogue", "item_key", "shown_popularity", "goes_with")
    readonly_fields = ("shown_popularity", "goes_with")

    @admin.display(description="popularity", ordering="popularity")
    def shown_popularity(self, row: ItemStatistics) -> str:
        return f"{row.popularity:.2f}"

    @admin.display(description="goes with, strongest first")
    def goes_with(self, row: ItemStatistics) -> str:
        found = unpack(bytes(row.neighbours))
        return ", ".join(found.keys[:30]) or "nothing yet"


@admin.register(Link)
class LinkAdmin(ReadOnlyAdmin):
    nothing_yet = (
        "The knowledge graph comes as events (commerce.link.recorded), or by manage.py load commerce.links FILE."
    )
    list_display = ("head", "relation", "tail", "catalogue")
    list_filter = ("catalogue",)
    list_select_related = ("catalogue",)
    search_fields = ("=head", "=relation", "=tail")
    search_help_text = "the whole name of an end or of a relation"


@admin.register(RelatedItems)
class RelatedItemsAdmin(ReadOnlyAdmin):
    nothing_yet = "They are worked out from the links of items, a few seconds after these come in."
    list_display = ("item_key", "catalogue")
    list_filter = ("catalogue",)
    list_select_related = ("catalogue",)
    search_fields = ("item_key",)
    fields = ("catalogue", "item_key", "related_to")
    readonly_fields = ("related_to",)

    @admin.display(description="related to, strongest first")
    def related_to(self, row: RelatedItems) -> str:
        return ", ".join(unpack(bytes(row.related), 1).keys[:30]) or "nothing"
