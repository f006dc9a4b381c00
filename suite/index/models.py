"""What the index must hold, and how far each generation has come.

A collection (`shop.things`) keeps one `DocumentChange` row a document, with the sequence of its last change. Each
generation keeps a watermark, `synced_sequence`. Indexing, building a new generation, catching up after an outage and
rolling back are one operation: bring a generation from its watermark to the end.
"""

from __future__ import annotations

from django.db import models


class Collection(models.Model):
    """A set of documents that are searched together. Its row is locked while a sequence is given out, so changes
    become visible in the order of their sequences and a watermark never skips one."""

    name = models.CharField(max_length=100, primary_key=True)
    last_sequence = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name


class DocumentChange(models.Model):
    """The last change of one document; its sequence is the document's external version in the index."""

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, db_index=False)
    key = models.CharField(max_length=400)
    sequence = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["collection", "key"], name="document_change_once"),
            models.UniqueConstraint(fields=["collection", "sequence"], name="document_change_order"),
        ]

    def __str__(self) -> str:
        return f"{self.collection_id} {self.sequence}"


class Generation(models.Model):
    """One index of one collection, built with one release. Readers take the fingerprint from here."""

    class State(models.TextChoices):
        BUILDING = "building"
        ACTIVE = "active"
        STANDBY = "standby"  # of the release before; kept for rollback, brought to the end when that is asked for
        DROPPED = "dropped"  # no longer read; the sweep removes it from the engine

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE)
    fingerprint = models.CharField(max_length=16)  # of the release whose vectors it holds
    dimensions = models.PositiveIntegerField()
    name = models.CharField(max_length=150, unique=True)  # the engine's name for it
    state = models.CharField(max_length=10, choices=State, default=State.BUILDING)
    synced_sequence = models.BigIntegerField(default=0)
    lease = models.CharField(max_length=32, blank=True)  # of the one worker that brings it forward
    leased_until = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)  # why it is behind, empty when it is not
    created_at = models.DateTimeField(auto_now_add=True)
    activated_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)  # when it stopped being read

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["collection"], condition=models.Q(state="active"), name="generation_one_active"
            )
        ]

    def __str__(self) -> str:
        return self.name


class RefusedDocument(models.Model):
    """A document that the engine refuses for good; it is left out until it changes, and shown in the admin."""

    generation = models.ForeignKey(Generation, on_delete=models.CASCADE, related_name="refused")
    key = models.CharField(max_length=400)
    sequence = models.BigIntegerField()
    reason = models.CharField(max_length=500)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["generation", "key"], name="refused_document_once")]

    def __str__(self) -> str:
        return f"{self.generation_id} {self.sequence}"


class DocumentVector(models.Model):
    """The vector of a document's text under one release: float16, `dimensions` wide, unit length."""

    fingerprint = models.CharField(max_length=16)
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, db_index=False)
    key = models.CharField(max_length=400)
    text_hash = models.BinaryField(max_length=16)  # of the encoded text: an unchanged text is not encoded again
    vector = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["fingerprint", "collection", "key"], name="document_vector_once")
        ]

    def __str__(self) -> str:
        return f"vector {self.pk}"


class QueryVector(models.Model):
    """The vector of a text that somebody searches with. A page writes the row and rings; a worker fills `vector`.

    `text` is kept only until then. Rows older than a day are removed by the sweep.
    """

    fingerprint = models.CharField(max_length=16)
    text_hash = models.BinaryField(max_length=32)
    text = models.TextField(blank=True)
    vector = models.BinaryField(null=True)
    requested_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["fingerprint", "text_hash"], name="query_vector_once")]

    def __str__(self) -> str:
        return f"query {self.pk}"
