"""Active learning: the texts that are worth labelling next for a head, and what people said of them."""

from __future__ import annotations

from django.db import models


class LabelList(models.Model):
    """The newest list of one head: a page asks for it, a worker makes it."""

    head = models.CharField(max_length=100, primary_key=True)
    release = models.CharField(max_length=16, blank=True)  # the one whose probabilities it was made by
    wanted_at = models.DateTimeField()
    made_at = models.DateTimeField(null=True)  # before `wanted_at`: it is outstanding
    considered = models.PositiveIntegerField(default=0)  # texts that it was chosen from
    message = models.CharField(max_length=300, blank=True)  # why nothing is on it

    def __str__(self) -> str:
        return f"list of {self.head}"

    @property
    def is_outstanding(self) -> bool:
        return self.made_at is None or self.made_at < self.wanted_at


class LabelRequest(models.Model):
    """A text to label for a head. What is decided stays when a newer list is made."""

    class State(models.TextChoices):
        OPEN = "open"
        LABELLED = "labelled"
        SKIPPED = "skipped"  # nobody is asked again

    head = models.CharField(max_length=100)
    digest = models.CharField(max_length=32)  # of the text as the head reads it
    record = models.JSONField()  # of the domain: what becomes an event with the label
    place = models.PositiveIntegerField()  # on its list, from 1
    made_at = models.DateTimeField()  # its list
    release = models.CharField(max_length=16)
    probabilities = models.JSONField()  # [label, calibrated probability] of each class, in the head's order
    uncertainty = models.FloatField()  # 0: sure, 1: two labels are as likely
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    label = models.CharField(max_length=100, blank=True)
    decided_by = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["head", "digest"], name="labelling_once")]
        indexes = [
            models.Index(fields=["head", "state", "place"], name="labelling_next"),
            models.Index(fields=["head", "made_at"], name="labelling_list"),
        ]
        ordering = ["head", "place"]
        verbose_name = "example to label"
        verbose_name_plural = "examples to label"

    def __str__(self) -> str:
        return f"{self.head} {self.place}"

    @property
    def chances(self) -> dict[str, float]:
        """{label: calibrated probability}, in the head's class order, which PostgreSQL does not keep of an object."""
        return dict(self.probabilities)
