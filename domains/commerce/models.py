"""Catalogues of anything, the items in them, and what people did with the items."""

from __future__ import annotations

from django.db import models


class Catalogue(models.Model):
    """A set of items that are recommended together: products, articles, films, funds, advertisements."""

    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=120)
    kind = models.CharField(max_length=40, default="products")
    blend = models.JSONField(default=dict, blank=True)  # learned weights of the channels; empty: the prior
    blend_metrics = models.JSONField(default=dict, blank=True)  # how and on what the blend was learned
    statistics_event = models.BigIntegerField(default=0)  # the last event that the statistics have seen
    statistics_at = models.DateTimeField(null=True, blank=True)
    statistics_seconds = models.FloatField(default=0.0)  # how long their last build took
    graph_link = models.BigIntegerField(default=0)  # the last link that the related items have seen; 0: none
    graph_item = models.BigIntegerField(default=0)  # and the last item
    graph_at = models.DateTimeField(null=True, blank=True)
    graph_seconds = models.FloatField(default=0.0)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.title


class Item(models.Model):
    """One item as its newest event describes it. An older event never overwrites a newer one."""

    catalogue = models.ForeignKey(Catalogue, on_delete=models.CASCADE, related_name="items", db_index=False)
    key = models.CharField("item id", max_length=200)
    title = models.CharField(max_length=500)
    description = models.TextField(blank=True)
    category = models.CharField(max_length=300, blank=True)  # levels joined by " > "
    brand = models.CharField(max_length=200, blank=True)
    price = models.FloatField(null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    is_available = models.BooleanField(default=True)
    created_at = models.DateTimeField(null=True, blank=True)
    attributes = models.JSONField(default=dict, blank=True)
    is_removed = models.BooleanField(default=False)
    changed_at = models.DateTimeField()  # time of the event that this row shows
    changed_by = models.CharField(max_length=401)  # source and id of that event: breaks ties

    class Meta:
        constraints = [models.UniqueConstraint(fields=["catalogue", "key"], name="commerce_item_once")]
        ordering = ["id"]

    def __str__(self) -> str:
        return self.title


class Interaction(models.Model):
    """One thing a person did with an item. The item may come later, or never: `item_key` is the shop's own id."""

    class Kind(models.TextChoices):
        VIEW = "view"
        CART = "cart"
        PURCHASE = "purchase"
        RATING = "rating"
        DISMISS = "dismiss"

    event = models.OneToOneField("events.Event", on_delete=models.CASCADE, primary_key=True, related_name="+")
    catalogue = models.ForeignKey(Catalogue, on_delete=models.CASCADE, db_index=False)
    user_key = models.CharField(max_length=200, blank=True)
    session_key = models.CharField(max_length=200, blank=True)
    item_key = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.VIEW)
    value = models.FloatField(null=True, blank=True)
    timestamp = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["catalogue", "user_key", "timestamp"], name="commerce_by_user"),
            models.Index(fields=["catalogue", "session_key", "timestamp"], name="commerce_by_session"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.item_key}"


class Link(models.Model):
    """One statement of a catalogue's knowledge graph. Either end is an item's id, or the name of anything."""

    catalogue = models.ForeignKey(Catalogue, on_delete=models.CASCADE, db_index=False)
    head = models.CharField(max_length=200)
    relation = models.CharField(max_length=200)
    tail = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["catalogue", "head", "relation", "tail"], name="commerce_link_once")
        ]
        indexes = [models.Index(fields=["catalogue", "tail"], name="commerce_by_tail")]
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.head} {self.relation} {self.tail}"


class RelatedItems(models.Model):
    """The items that the links relate to one item. Derived, disposable."""

    catalogue = models.ForeignKey(Catalogue, on_delete=models.CASCADE, db_index=False)
    item_key = models.CharField(max_length=200)
    related = models.BinaryField(default=b"")  # packed by recommender.statistics, one column
    digest = models.BinaryField(max_length=8, default=b"")  # of it: an unchanged row is not written again

    class Meta:
        constraints = [models.UniqueConstraint(fields=["catalogue", "item_key"], name="commerce_related_once")]
        verbose_name_plural = "related items"

    def __str__(self) -> str:
        return self.item_key


class ItemStatistics(models.Model):
    """What the interactions say of one item: its popularity and the items that follow it. Derived, disposable."""

    catalogue = models.ForeignKey(Catalogue, on_delete=models.CASCADE, db_index=False)
    item_key = models.CharField(max_length=200)
    popularity = models.FloatField(default=0.0)  # recent interactions, fading
    trend = models.FloatField(default=0.0)  # the share of all interactions that is recent
    neighbours = models.BinaryField(default=b"")  # packed by recommender.statistics
    digest = models.BinaryField(max_length=8, default=b"")  # of all of it: an unchanged row is not written again

    class Meta:
        constraints = [models.UniqueConstraint(fields=["catalogue", "item_key"], name="commerce_statistics_once")]
        indexes = [models.Index(fields=["catalogue", "-popularity"], name="commerce_popular")]
        verbose_name_plural = "item statistics"

    def __str__(self) -> str:
        return self.item_key
