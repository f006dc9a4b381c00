"""Events and what is still to be done with them.

An `Event` row never changes. A `PendingEvent` row is the mark that work is outstanding: it is written with the event
and removed with the effect, each in one transaction, so every accepted event has its effect exactly once.
"""

from __future__ import annotations

from django.db import models


class Event(models.Model):
    """One accepted event. `id` is its sequence: ids become visible in order (see `ingestion.store`)."""

    source = models.CharField(max_length=200)
    event_id = models.CharField(max_length=200)
    type = models.CharField(max_length=200)
    subject = models.CharField(max_length=200, blank=True)
    time = models.DateTimeField()  # when it happened, as the sender says; else when it came in
    data = models.JSONField()
    received_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "event_id"], name="event_named_once")]
        indexes = [models.Index(fields=["type", "id"], name="event_by_type")]
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.type} #{self.pk}"


class PendingEvent(models.Model):
    """Outstanding work on an event: `handle` (a domain's handler) or `publish` (to the exchange)."""

    HANDLE, PUBLISH = "handle", "publish"
    INTERACTIVE, BULK = 0, 1

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="pending", db_index=False)
    work = models.CharField(max_length=10, default=HANDLE)
    priority = models.SmallIntegerField(default=INTERACTIVE)  # lower first: a click overtakes a file being loaded
    attempts = models.PositiveSmallIntegerField(default=0)
    marked_at = models.DateTimeField()
    available_at = models.DateTimeField()  # not before; a lease or a back-off moves it forward
    lease = models.CharField(max_length=32, blank=True)  # of the worker that holds it
    last_error = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "work"], name="pending_event_once")]
        indexes = [models.Index(fields=["work", "priority", "id"], name="pending_event_order")]

    def __str__(self) -> str:
        return f"{self.work} event {self.event_id}"


class DeadLetter(models.Model):
    """Work that was given up, with its reason; or a message that could not be read, with its raw body."""

    event = models.ForeignKey(Event, null=True, blank=True, on_delete=models.CASCADE, related_name="dead_letters")
    work = models.CharField(max_length=10, default=PendingEvent.HANDLE)
    channel = models.CharField(max_length=20)  # handler, publisher or rabbitmq
    reason = models.TextField()
    body = models.BinaryField(blank=True, default=b"")
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    replayed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"dead letter {self.pk}"


class HandledBatch(models.Model):
    """One finished batch, for the handled rate; rows older than a day are folded into one by the sweep."""

    finished_at = models.DateTimeField(db_index=True)
    events = models.PositiveBigIntegerField()
    seconds = models.FloatField()

    def __str__(self) -> str:
        return f"{self.events} events at {self.finished_at:%H:%M:%S}"


class LoadProgress(models.Model):
    """How far a file has been taken in by `manage.py load`, moved in the transaction that stores its events."""

    key = models.CharField(max_length=64, primary_key=True)  # of the format, its options and the files' contents
    records = models.PositiveBigIntegerField(default=0)
    counts = models.JSONField(default=dict)
    is_finished = models.BooleanField(default=False)
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.records} records"


class ApiKey(models.Model):
    """A key for the API. Only a hash is stored; the key itself is shown once, when it is made."""

    SCOPES = ("ingest", "recommend", "suggest", "read")

    name = models.CharField(max_length=100, unique=True)
    prefix = models.CharField(max_length=12, editable=False)  # first characters, to recognise it by
    hash = models.CharField(max_length=64, unique=True, editable=False)  # SHA-256; keys are random, so no salt
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return self.name


class JobLease(models.Model):
    """One row a repeated job: who runs it until when, and how the last run went. One run at a time, everywhere."""

    name = models.CharField(max_length=100, primary_key=True)
    leased_until = models.DateTimeField(null=True, blank=True)
    holder = models.CharField(max_length=120, blank=True)  # host and process that took it last
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.name
