"""A release is weights + tokenizer + heads + calibration + the index generations built with them.

It is named by the fingerprint of its checkpoint folder. At most one is active; everything that serves reads it here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models

FEW = 100  # held-out examples


class Release(models.Model):
    class State(models.TextChoices):
        CANDIDATE = "candidate"  # made, not serving
        BUILDING = "building"  # its index generations are being built
        ACTIVE = "active"  # serving
        RETIRED = "retired"  # served before; kept for rollback
        FAILED = "failed"  # could not be built or did not pass its gate; `message` says why

    fingerprint = models.CharField(max_length=16, primary_key=True)  # first 16 hex digits of a SHA-256
    path = models.CharField(max_length=500)  # checkpoint folder, relative to RELEASES_DIR or absolute
    body = models.CharField(max_length=300)  # what it was made from
    dimensions = models.PositiveIntegerField()
    recipe = models.CharField(max_length=16, blank=True, db_index=True)  # digest of body, head declarations, examples
    state = models.CharField(max_length=10, choices=State, default=State.CANDIDATE)
    message = models.TextField(blank=True)
    metrics = models.JSONField(default=dict)  # {head: {metric: value}}
    evaluation = models.JSONField(default=dict)  # {head or task: ...}, see `comparison.evaluate`
    comparison = models.JSONField(default=dict)  # {head or task: ...}, see `comparison.against_active`
    compared_with = models.CharField(max_length=16, blank=True)  # the release that was active then
    created_at = models.DateTimeField(auto_now_add=True)
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["state"], condition=models.Q(state="active"), name="release_one_active")
        ]

    def __str__(self) -> str:
        return self.fingerprint[:8]

    @property
    def folder(self) -> Path:
        """The checkpoint folder."""
        return settings.RELEASES_DIR / self.path

    @property
    def megabytes(self) -> float:
        """Of its checkpoint on the disk; 0 where it is gone."""
        return sum(path.stat().st_size for path in self.folder.glob("*") if path.is_file()) / 1e6

    @property
    def worse_in(self) -> list[str]:
        """The heads and tasks in which it is worse, beyond noise, than the release it was compared with."""
        return sorted(name for name, entry in self.comparison.items() if entry["high"] < 0)

    @property
    def compared_by_few(self) -> str:
        """In words: where so few examples were held out that only a large difference could be told from noise."""
        few = sorted((name, one["examples"]) for name, one in self.comparison.items() if one["examples"] < FEW)
        return ", ".join(f"{name} ({count} examples)" for name, count in few)


class Promotion(models.Model):
    """One promotion or rollback, with its progress and the outcome of its gate; a worker carries it out."""

    class State(models.TextChoices):
        REQUESTED = "requested"
        RUNNING = "running"
        DONE = "done"
        REFUSED = "refused"  # the gate said no; `message` says why, the old release goes on serving

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="promotions")
    previous = models.ForeignKey(Release, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    is_rollback = models.BooleanField(default=False)
    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    failures = models.PositiveSmallIntegerField(default=0)  # unexpected ones; after some it is refused
    documents_done = models.PositiveIntegerField(default=0)
    documents_total = models.PositiveIntegerField(default=0)
    gate = models.JSONField(default=dict)  # {collection: {"documents", "expected", "recall"}}
    override_reason = models.TextField(blank=True)
    message = models.TextField(blank=True)
    requested_by = models.CharField(max_length=150, blank=True)
    requested_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{'rollback' if self.is_rollback else 'promotion'} to {self.release_id[:8]}"


class TrainingRun(models.Model):
    """One training run, with its progress. A process of its own carries it out under a lease; whoever is killed leaves
    a folder that another one goes on from."""

    class State(models.TextChoices):
        REQUESTED = "requested"
        RUNNING = "running"
        DONE = "done"
        STOPPED = "stopped"  # by a person
        FAILED = "failed"  # `message` says why

    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    data = models.JSONField("files", default=list)  # [[format, path]]
    validation = models.JSONField(default=list)  # the same, to validate on
    has_rows = models.BooleanField("the applications' own rows", default=True)  # whether it learns from them
    teacher = models.ForeignKey(  # the release that it makes smaller; none where it trains
        Release, null=True, blank=True, on_delete=models.CASCADE, related_name="compressions"
    )
    config = models.JSONField(default=dict)  # of `TrainingConfig`, or of `compression.Compression`, what was chosen
    trials_wanted = models.PositiveSmallIntegerField("trials", default=0)  # of a search for settings; 0: it trains
    trials = models.JSONField(default=list)  # [`suite.encoder.training.search.Trial`], the last one perhaps under way
    progress = models.JSONField(default=dict)  # `suite.encoder.training.progress.Progress`; a search's last trial's
    notes = models.TextField(blank=True)  # what was left out of the data, and what is being done
    message = models.TextField(blank=True)
    release = models.ForeignKey(Release, null=True, blank=True, on_delete=models.SET_NULL, related_name="runs")
    is_stop_wanted = models.BooleanField(default=False)
    lives = models.PositiveSmallIntegerField(default=0)  # processes that have worked on it
    idle_lives = models.PositiveSmallIntegerField(default=0)  # of the last ones, those that got no further
    requested_by = models.CharField(max_length=150, blank=True)
    requested_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def kind(self) -> str:
        return "compression" if self.teacher_id else "search" if self.trials_wanted else "training run"

    @property
    def state_in_words(self) -> str:
        return "stopping" if self.is_stop_wanted and self.state == self.State.RUNNING else self.state

    @property
    def done(self) -> str:
        """How far it is, in words; "" where it has not begun."""
        batch, batches = (self.progress.get(name, 0) for name in ("batch", "batches"))
        parts = [f"trial {len(self.trials)} of {self.trials_wanted}"] if self.trials_wanted else []
        if batches and (not self.trials_wanted or self.state == self.State.RUNNING):
            parts.append(f"{batch:,} of {batches:,} batches")
        return ", ".join(parts)

    @property
    def is_finished(self) -> bool:
        return self.state not in {self.State.REQUESTED, self.State.RUNNING}

    @property
    def best_trial(self) -> dict[str, Any] | None:
        """Of those that came through, the one with the best evaluation."""
        done = [trial for trial in self.trials if trial["state"] == "done"]
        return max(done, key=lambda trial: max(trial["means"]), default=None)

    @property
    def best_config(self) -> dict[str, Any]:
        """The configuration with the best trial's values, to train with."""
        given = {name: value for name, value in self.config.items() if name != "search"}
        return given | (self.best_trial or {"values": {}})["values"]

    @property
    def folder(self) -> Path:
        """Where its snapshot and checkpoints lie until it is finished, and what TensorBoard shows of it stays."""
        return settings.TRAINING_DIR / str(self.pk)


class Shadow(models.Model):
    """A release that scores live traffic beside the active one, to show how often they disagree. A worker follows the
    decisions of each head from a cursor, so that none is scored twice; what is told of texts refers to their rows."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="shadows")
    active = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="+")  # whose decisions are looked at
    share = models.FloatField(default=0.1)  # of those decisions, above 0 and at most 1
    is_running = models.BooleanField(default=True)
    cursors = models.JSONField(default=dict)  # {head: id of the last decision that was looked at}
    counts = models.JSONField(default=dict)  # {head: {the active one's label: {the shadow's label: decisions}}}
    examples = models.JSONField(default=dict)  # {head: [[decision's id, label, probability, label, probability]]}
    failures = models.PositiveSmallIntegerField(default=0)  # unexpected ones; after some it ends
    message = models.TextField(blank=True)  # why it ended, or what went wrong last
    requested_by = models.CharField(max_length=150, blank=True)
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_running"], condition=models.Q(is_running=True), name="release_one_shadow"
            )
        ]

    def __str__(self) -> str:
        return f"shadow of {self.release_id[:8]}"

    @property
    def percent(self) -> str:
        """Its share in words."""
        return f"{100 * self.share:g}%"
