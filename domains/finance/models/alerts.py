"""Alert rules, the alerts that they raise, the ledger of all that happened, and what was sent to whom."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models
from django.utils import timezone

from suite.outbound import BadAddress, parsed

MINUTE, HOUR, DAY = 60, 3_600, 86_400


class AlertRule(models.Model):
    """What is watched, and when it is worth an alert. `version` moves on with every change of what decides."""

    class Metric(models.TextChoices):
        SURGE = "surge", "surge: how unlikely so many stories are, -log10 of the probability"
        VOLUME = "volume", "volume: stories"
        NEGATIVE_SHARE = "negative_share", "negative share: of the stories, from 0 to 1"
        MEAN_SENTIMENT = "mean_sentiment", "mean sentiment: positive less negative, from -1 to 1"

    class Scope(models.TextChoices):
        EVERYTHING = "everything", "all stories together"
        ENTITY = "entity", "one entity"
        EACH_ENTITY = "each_entity", "each entity by itself"
        WATCH_LIST = "watch_list", "each entity of a watch list"

    class Comparison(models.TextChoices):
        ABOVE = "above", "at or above"
        BELOW = "below", "at or below"

    class Severity(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        CRITICAL = "critical"

    name = models.CharField(max_length=120, unique=True)
    is_enabled = models.BooleanField("enabled", default=True)
    metric = models.CharField(max_length=20, choices=Metric, default=Metric.SURGE)
    scope = models.CharField(max_length=20, choices=Scope, default=Scope.EACH_ENTITY)
    entity = models.ForeignKey("finance.Entity", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    watch_list = models.ForeignKey(
        "finance.WatchList", null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    topic = models.CharField(max_length=100, blank=True, help_text="of the stories that count; empty: any")
    window_seconds = models.PositiveIntegerField(default=1_800, help_text="stories of the last so many seconds count")
    comparison = models.CharField(max_length=5, choices=Comparison, default=Comparison.ABOVE)
    threshold = models.FloatField(default=4.0)
    clear_threshold = models.FloatField(
        null=True,
        blank=True,
        help_text="an alert resolves when the value has gone back past this; empty: the threshold",
    )
    for_seconds = models.PositiveIntegerField(default=0, help_text="so long beyond the threshold before it fires")
    cool_down_seconds = models.PositiveIntegerField(default=1_800, help_text="no new alert so long after one resolved")
    min_stories = models.PositiveIntegerField(default=3, help_text="fewer stories in the window decide nothing")
    severity = models.CharField(max_length=10, choices=Severity, default=Severity.WARNING)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    changed_by = models.CharField(max_length=150, blank=True, editable=False)

    LEVELS: ClassVar = {"surge": (1, 100), "volume": (0, 100_000), "negative_share": (0, 1), "mean_sentiment": (-1, 1)}
    SPANS: ClassVar = {  # seconds, from and to
        "window_seconds": (5 * MINUTE, DAY),
        "for_seconds": (0, 6 * HOUR),
        "cool_down_seconds": (0, 7 * DAY),
    }
    MOST_STORIES = 10_000
    DECIDING = (
        "metric", "scope", "entity_id", "watch_list_id", "topic", "window_seconds", "comparison", "threshold",
        "clear_threshold", "for_seconds", "cool_down_seconds", "min_stories",
    )  # fmt: skip

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raises `ValidationError` by field, with the limit that a value breaks."""
        errors: dict[str, str] = {}
        for name, (low, high) in self.SPANS.items():
            seconds = getattr(self, name)
            if seconds is not None and not (low <= seconds <= high and seconds % MINUTE == 0):
                errors[name] = f"must be whole minutes in seconds (60, 120, ...), from {low} to {high}"
        if self.min_stories is not None and self.min_stories > self.MOST_STORIES:
            errors["min_stories"] = f"must be at most {self.MOST_STORIES:,}"
        errors |= self._wrong_levels() | self._wrong_scope()
        if errors:
            raise ValidationError(errors)

    def _wrong_levels(self) -> dict[str, str]:
        errors: dict[str, str] = {}
        is_above = self.comparison == self.Comparison.ABOVE
        if self.metric == self.Metric.SURGE and not is_above:
            errors["comparison"] = "a surge is above its threshold; for few stories choose the metric volume"
        low, high = self.LEVELS.get(self.metric, (0, 0))
        if self.metric == self.Metric.VOLUME and is_above:
            low = 1
        for name in ("threshold", "clear_threshold"):
            level = getattr(self, name)
            if level is not None and not (0 if name == "clear_threshold" and low == 1 else low) <= level <= high:
                errors[name] = f"must be from {low:g} to {high:g} for this metric"
        if self.threshold is None or self.clear_threshold is None or errors:
            return errors
        if is_above and self.clear_threshold > self.threshold:
            errors["clear_threshold"] = f"must not be above the threshold, {self.threshold:g}"
        elif not is_above and self.clear_threshold < self.threshold:
            errors["clear_threshold"] = f"must not be below the threshold, {self.threshold:g}"
        return errors

    def _wrong_scope(self) -> dict[str, str]:
        errors = {}
        if self.scope == self.Scope.ENTITY and self.entity_id is None:
            errors["entity"] = "is required where the scope is one entity"
        if self.scope == self.Scope.WATCH_LIST and self.watch_list_id is None:
            errors["watch_list"] = "is required where the scope is a watch list"
        return errors


class RuleProgress(models.Model):
    """How far a rule has been evaluated. It is only ever moved by a write that names the place where it was, so that
    of two evaluators one has an effect."""

    rule = models.OneToOneField(AlertRule, on_delete=models.CASCADE, primary_key=True, related_name="progress")
    version = models.PositiveIntegerField()  # of the rule that the states belong to
    begun_at = models.DateTimeField()  # the first minute that this version decided
    revision = models.BigIntegerField(default=0)  # of the buckets that it has looked at
    evaluated_until = models.DateTimeField()  # the end of the last decided minute
    silent_since = models.DateTimeField(null=True, blank=True)  # the whole stream is silent: no data
    last_error = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "rule progress"

    def __str__(self) -> str:
        return f"{self.rule_id} until {self.evaluated_until:%Y-%m-%d %H:%M}"


class DailyBaseline(models.Model):
    """What the evaluator expects of a group on one day (`alerting.baseline`): derived from hourly buckets, kept so that
    it is fitted once a day. A row is removed when the hours that it was fitted on change."""

    group_key = models.CharField(max_length=120)
    day = models.DateField()
    rate = models.BinaryField()  # 24 float32, stories an hour
    size = models.FloatField()  # of the negative binomial

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "group_key"], name="finance_baseline_once")]

    def __str__(self) -> str:
        return f"{self.group_key} on {self.day}"


class RuleState(models.Model):
    """A group of a rule that is not plainly inactive: pending, firing, or resting after an alert."""

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="states", db_index=False)
    group_key = models.CharField(max_length=120)  # alerting.series.Group
    name = models.CharField(max_length=10)
    since = models.DateTimeField()
    rests_until = models.DateTimeField(null=True, blank=True)
    seen = models.JSONField(default=list)  # the minutes that were seen since it is pending, for the alert to come

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rule", "group_key"], name="finance_state_once")]

    def __str__(self) -> str:
        return f"{self.rule_id} {self.group_key} {self.name}"


class Alert(models.Model):
    """One time that a rule fired for a group, with all that it was decided on. What decided it never changes; what
    came late is written beside it."""

    FIRING, RESOLVED = "firing", "resolved"

    rule = models.ForeignKey(AlertRule, null=True, on_delete=models.SET_NULL, related_name="alerts", db_index=False)
    rule_name = models.CharField(max_length=120)
    rule_version = models.PositiveIntegerField()
    spec = models.JSONField()  # alerting.rules.RuleSpec, as it was
    severity = models.CharField(max_length=10)
    group_key = models.CharField(max_length=120)
    entity = models.ForeignKey("finance.Entity", null=True, on_delete=models.SET_NULL, related_name="alerts")
    topic = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=10, default=FIRING, choices=[(FIRING, "firing"), (RESOLVED, "resolved")])
    started_at = models.DateTimeField()  # when it became pending
    fired_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=40, blank=True)  # why it ended, where the figures did not end it
    decided_at = models.DateTimeField()  # by the clock
    figures = models.JSONField()  # alerting.rules.Observations.figures, when it fired
    seen = models.JSONField()  # the minutes that decided, alerting.rules.Observations.seen
    rested_until = models.DateTimeField(null=True, blank=True)  # of the state before those minutes
    story_ids = models.JSONField(default=list)  # that were counted
    release = models.CharField(max_length=64, blank=True)  # whose scores were counted
    why = models.CharField(max_length=300, blank=True)  # in one line
    late = models.JSONField(default=dict, blank=True)  # what stories that came late would have changed
    acknowledged_by = models.CharField(max_length=150, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_until = models.DateTimeField(null=True, blank=True)  # null: until it resolves
    acknowledged_note = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-fired_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["rule", "group_key", "fired_at"], name="finance_alert_once"),
        ]
        indexes = [
            models.Index(fields=["state", "-fired_at"], name="finance_alert_state"),
            models.Index(fields=["-fired_at"], name="finance_alert_fired"),
        ]

    def __str__(self) -> str:
        return f"{self.rule_name} #{self.pk}"


class Transition(models.Model):
    """The ledger: what changed, by whom or by which figures, in the time of the stories and by the clock. Rows are
    written once and never changed."""

    rule = models.ForeignKey(
        AlertRule, null=True, on_delete=models.SET_NULL, related_name="transitions", db_index=False
    )
    rule_name = models.CharField(max_length=120)
    rule_version = models.PositiveIntegerField(default=0)
    group_key = models.CharField(max_length=120, blank=True)  # empty: of the rule as a whole
    alert = models.ForeignKey(Alert, null=True, on_delete=models.CASCADE, related_name="transitions")
    at = models.DateTimeField()
    before = models.CharField(max_length=20, blank=True)
    after = models.CharField(max_length=20)  # a state; or late, acknowledged, unacknowledged, silenced, notified
    figures = models.JSONField(default=dict)
    by = models.CharField(max_length=150, blank=True)  # empty: the evaluator
    note = models.CharField(max_length=500, blank=True)
    decided_at = models.DateTimeField()

    class Meta:
        ordering = ["at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "rule_version", "group_key", "at", "after"],
                condition=models.Q(by=""),
                name="finance_transition_once",
            )
        ]
        indexes = [models.Index(fields=["rule", "at"], name="finance_transition_rule")]

    def __str__(self) -> str:
        return f"{self.before} to {self.after} at {self.at:%Y-%m-%d %H:%M}"


class Silence(models.Model):
    """Alerts that match are shown, and nobody is told. Matchers are joined by and; an empty one matches all."""

    rule = models.ForeignKey(AlertRule, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    entity = models.ForeignKey("finance.Entity", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    topic = models.CharField(max_length=100, blank=True)
    severity = models.CharField(max_length=10, blank=True, choices=AlertRule.Severity)
    starts_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()
    reason = models.CharField(max_length=500)
    by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)

    LONGEST_DAYS = 90

    class Meta:
        ordering = ["-until"]

    def __str__(self) -> str:
        return self.reason

    def matches(self, alert: Alert) -> bool:
        return (
            self.rule_id in (None, alert.rule_id)
            and self.entity_id in (None, alert.entity_id)
            and self.topic in ("", alert.topic)
            and self.severity in ("", alert.severity)
        )

    def clean(self) -> None:
        errors = {}
        if not (self.rule_id or self.entity_id or self.topic or self.severity):
            errors["rule"] = "a silence must match something: a rule, an entity, a topic or a severity"
        if (
            self.until
            and self.starts_at
            and not 0 < (self.until - self.starts_at).total_seconds() <= self.LONGEST_DAYS * DAY
        ):
            errors["until"] = f"must be after the start, by at most {self.LONGEST_DAYS} days"
        if errors:
            raise ValidationError(errors)


class Channel(models.Model):
    """Where notifications go."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", "webhook (Alertmanager's format)"
        EMAIL = "email", "e-mail"

    class GroupBy(models.TextChoices):
        RULE = "rule", "one notification for all alerts of a rule"
        ENTITY = "entity", "one for all alerts of an entity"
        TOPIC = "topic", "one for all alerts of a topic"
        ALERT = "alert", "one for each alert"
        ALL = "all", "one for all alerts"

    name = models.CharField(max_length=120, unique=True)
    is_enabled = models.BooleanField("enabled", default=True)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.WEBHOOK)
    target = models.CharField(max_length=500, help_text="the address: https://... or name@example.org")
    least_severity = models.CharField(max_length=10, choices=AlertRule.Severity, default=AlertRule.Severity.INFO)
    group_by = models.CharField(max_length=10, choices=GroupBy, default=GroupBy.RULE)
    group_wait_seconds = models.PositiveIntegerField(default=10, help_text="alerts so close together go out as one")
    repeat_seconds = models.PositiveIntegerField(
        default=14_400, help_text="a firing alert that nobody acknowledged is told again after so long; 0: never"
    )
    tells_resolved = models.BooleanField("tells when resolved", default=True)

    LONGEST_WAIT, LONGEST_REPEAT = HOUR, 7 * DAY

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        errors = {}
        try:
            if self.kind == self.Kind.WEBHOOK:
                parsed(self.target)
            else:
                validate_email(self.target)
        except BadAddress as error:
            errors["target"] = str(error)
        except ValidationError:
            errors["target"] = "it must be one e-mail address"
        if self.kind == self.Kind.EMAIL and not settings.EMAIL_HOST:
            errors["kind"] = "no mail server is set: SUITE_SMTP_URL"
        if self.group_wait_seconds is not None and self.group_wait_seconds > self.LONGEST_WAIT:
            errors["group_wait_seconds"] = f"must be at most {self.LONGEST_WAIT}"
        if self.repeat_seconds is not None and not (
            self.repeat_seconds == 0 or MINUTE <= self.repeat_seconds <= self.LONGEST_REPEAT
        ):
            errors["repeat_seconds"] = f"must be 0 or from {MINUTE} to {self.LONGEST_REPEAT}"
        if errors:
            raise ValidationError(errors)


class Notification(models.Model):
    """One message to one channel: collecting alerts until `due_at`, then sent, with the same key and the same body
    however often it has to be tried."""

    COLLECTING, SENDING, SENT, FAILED, SUPPRESSED = STATES = "collecting", "sending", "sent", "failed", "suppressed"

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="notifications")
    key = models.CharField(max_length=64, unique=True)  # goes out as Idempotency-Key
    group_key = models.CharField(max_length=200)  # of the channel's grouping
    alerts = models.ManyToManyField(Alert, related_name="notifications")
    is_repeat = models.BooleanField(default=False)
    state = models.CharField(max_length=10, default=COLLECTING, choices=[(name, name) for name in STATES])
    due_at = models.DateTimeField()
    body = models.JSONField(default=dict)  # what is sent, from the first try on
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    response = models.CharField(max_length=500, blank=True)  # what the receiver said last, or why it was not sent
    left_out = models.CharField(max_length=500, blank=True)  # alerts that were silenced or over when it was sent

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "group_key"], condition=models.Q(state="collecting"), name="finance_collecting_once"
            )
        ]
        indexes = [models.Index(fields=["state", "due_at"], name="finance_notification_due")]

    def __str__(self) -> str:
        return f"notification {self.pk}"
