"""Answers, conversations and their messages, what was suggested to the agents, and what they did with it.

Texts of customers are kept twice: as written, for the agents' eyes, and masked (`privacy.mask`), for everything else.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Answer(models.Model):
    """A canned or knowledge-base answer as its newest event describes it. An older event never overwrites a newer one.

    The text may hold variables such as `{{customer.name}}`, filled in when the answer is inserted.
    """

    key = models.CharField("answer id", max_length=200, unique=True)
    title = models.CharField(max_length=300, blank=True)
    text = models.TextField(blank=True)
    source = models.CharField(max_length=500, blank=True)  # where it stands: a page's address, a handbook's chapter
    language = models.CharField(max_length=20, blank=True)  # BCP 47, such as en or zh-Hans
    is_removed = models.BooleanField(default=False)
    changed_at = models.DateTimeField()  # time of the event that this row shows
    changed_by = models.CharField(max_length=401)  # source and id of that event: breaks ties

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.title or self.key


class Conversation(models.Model):
    """One customer's conversation. All but the assignee follows from its messages and state events, in any order."""

    class State(models.TextChoices):
        OPEN = "open"  # the agent has answered, the customer has not
        WAITING = "waiting"  # the customer waits for an agent
        SOLVED = "solved"

    key = models.CharField("conversation id", max_length=200, unique=True)
    customer = models.JSONField(default=dict, blank=True)  # name, locale and other facts, for the agents' eyes
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    waiting_since = models.DateTimeField(null=True, blank=True)  # the first message that is not answered
    opened_at = models.DateTimeField()
    last_message_at = models.DateTimeField()
    revision = models.PositiveIntegerField(default=0)  # customer messages so far
    set_state = models.CharField(max_length=10, choices=State, blank=True)  # by the newest state event
    changed_at = models.DateTimeField()  # time of that event
    changed_by = models.CharField(max_length=401, blank=True)  # source and id of that event: breaks ties

    class Meta:
        indexes = [
            models.Index(fields=["state", "waiting_since"], name="support_desk_waiting"),
            models.Index(fields=["state", "last_message_at"], name="support_desk_latest"),
        ]
        ordering = ["-last_message_at"]

    def __str__(self) -> str:
        return self.key


class Message(models.Model):
    class Author(models.TextChoices):
        CUSTOMER = "customer"
        AGENT = "agent"

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages", db_index=False)
    key = models.CharField("message id", max_length=200)
    author = models.CharField(max_length=10, choices=Author)
    text = models.TextField()  # as written
    masked_text = models.TextField()
    customer = models.JSONField(default=dict, blank=True)  # what this message says of the customer
    sent_at = models.DateTimeField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    event = models.ForeignKey("events.Event", on_delete=models.CASCADE, related_name="+")
    changed_at = models.DateTimeField()  # time of the event that this row shows
    changed_by = models.CharField(max_length=401)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["conversation", "key"], name="support_message_once")]
        indexes = [models.Index(fields=["conversation", "sent_at"], name="support_thread")]
        ordering = ["sent_at", "id"]

    def __str__(self) -> str:
        return f"{self.author} {self.key}"


class Ranker(models.Model):
    """What orders candidates under one release and says how sure it is: the release's relevance head, and learned
    weights of the features. A vector belongs to a release, so a ranker does too. The newest active one serves."""

    fingerprint = models.CharField(max_length=16, db_index=True)  # of the release
    head = models.BinaryField(default=b"")  # packed by suggesting.ranker; empty where the release has no such head
    weights = models.JSONField(default=dict)  # {feature: weight}, "bias", "threshold"
    metrics = models.JSONField(default=dict)  # of the replay gate: before and after on held-back feedback
    is_active = models.BooleanField(default=True)
    trained_on = models.PositiveIntegerField(default=0)  # feedback events it has learned from
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"], condition=models.Q(is_active=True), name="support_ranker_one_active"
            )
        ]
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"ranker {self.pk} of {self.fingerprint[:8]}"


class SuggestionRun(models.Model):
    """What looking for answers to a customer's message came to, once under each release."""

    class Outcome(models.TextChoices):
        OFFERED = "offered"
        NOTHING_GOOD = "nothing_good"  # the best candidate was below the threshold
        WITHDRAWN = "withdrawn"  # the conversation went on before anybody used it

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="runs")
    release = models.CharField(max_length=16)
    ranker = models.ForeignKey(Ranker, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    outcome = models.CharField(max_length=15, choices=Outcome)
    question = models.TextField()  # masked: what was looked for
    best_confidence = models.FloatField(default=0.0)
    threshold = models.FloatField(default=0.0)
    seconds = models.FloatField(default=0.0)  # from the message's arrival
    degraded = models.JSONField(default=list, blank=True)  # what could not be had
    considered = models.JSONField(default=dict, blank=True)  # {answer id: features} of the next best, not offered
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "release"], name="support_run_once")]
        indexes = [models.Index(fields=["outcome", "created_at"], name="support_run_outcome")]
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.outcome} for message {self.message_id}"


class Suggestion(models.Model):
    """One answer offered for a customer's message. `text` is the source's; `composed` is what is inserted, each
    sentence with the source that it stands in."""

    class Pool(models.TextChoices):
        ANSWER = "answer"
        REPLY = "reply"  # an accepted reply of a solved conversation

    class State(models.TextChoices):
        OFFERED = "offered"
        WITHDRAWN = "withdrawn"
        ACCEPTED = "accepted"
        EDITED = "edited"
        REJECTED = "rejected"
        IGNORED = "ignored"

    uid = models.CharField("suggestion id", max_length=32, unique=True)
    run = models.ForeignKey(SuggestionRun, on_delete=models.CASCADE, related_name="suggestions")
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="suggestions")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="suggestions")
    pool = models.CharField(max_length=10, choices=Pool)
    answer = models.ForeignKey(Answer, null=True, blank=True, on_delete=models.CASCADE, related_name="suggestions")
    reply = models.ForeignKey(Message, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    position = models.PositiveSmallIntegerField()  # from 1
    confidence = models.FloatField()  # calibrated: how likely an agent takes it
    text = models.TextField()
    sentence_start = models.PositiveIntegerField(default=0)  # the sentence of `text` that answers
    sentence_end = models.PositiveIntegerField(default=0)
    composed = models.JSONField(default=list)  # [{"text", "source", "frame"}], see suggesting.compose
    release = models.CharField(max_length=16)
    ranker = models.ForeignKey(Ranker, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    features = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State, default=State.OFFERED)
    offered_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "release", "ranker", "position"], name="support_suggestion_once")
        ]
        indexes = [models.Index(fields=["state", "offered_at"], name="support_suggestion_state")]
        ordering = ["-run", "position"]

    def __str__(self) -> str:
        return self.uid


class Feedback(models.Model):
    """What an agent did with a suggestion; the newest of a suggestion's stands as its state."""

    class Kind(models.TextChoices):
        ACCEPTED = "accepted"
        EDITED = "edited"
        REJECTED = "rejected"
        IGNORED = "ignored"

    event = models.OneToOneField("events.Event", on_delete=models.CASCADE, primary_key=True, related_name="+")
    suggestion = models.ForeignKey(Suggestion, on_delete=models.CASCADE, related_name="feedback")
    kind = models.CharField(max_length=10, choices=Kind)
    position = models.PositiveSmallIntegerField()
    release = models.CharField(max_length=16)
    text = models.TextField(blank=True)  # what was sent, masked
    edit_distance = models.FloatField(default=0.0)  # 0: sent as it was, 1: nothing of it was kept
    reason = models.CharField(max_length=200, blank=True)
    agent = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["at"], name="support_feedback_at")]
        ordering = ["-event"]
        verbose_name_plural = "feedback"

    def __str__(self) -> str:
        return f"{self.kind} {self.suggestion_id}"


class LabelledQuestion(models.Model):
    """What somebody says that a customer's message is about: what the next training learns from. Masked."""

    digest = models.CharField(max_length=32, unique=True)  # of the text
    text = models.TextField()
    label = models.CharField("intent", max_length=100)  # empty: taken back
    changed_at = models.DateTimeField()  # time of the event that this row shows
    changed_by = models.CharField(max_length=401)  # source and id of that event: breaks ties

    def __str__(self) -> str:
        return self.label


class Presence(models.Model):
    """Who has a conversation open."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="present", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["conversation", "user"], name="support_presence_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.conversation_id}"
