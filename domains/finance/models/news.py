"""Sources, articles and the stories they tell, entities by all their names, scores, and the buckets that count them.

Probabilities are stored as multiples of 2**-20, so that sums of them are exact in any order: buckets that were counted
up and down by thousands of late and repeated articles equal those counted once.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Source(models.Model):
    """Where articles come from. A feed is read by the job `finance.feeds`; others send events."""

    name = models.CharField(max_length=120, unique=True)
    url = models.CharField(max_length=1_000, blank=True, help_text="of its RSS or Atom feed")
    is_feed = models.BooleanField("is read as a feed", default=False)
    is_enabled = models.BooleanField("enabled", default=True)
    language = models.CharField(max_length=20, blank=True, help_text="of articles that do not say theirs, such as en")
    every_seconds = models.PositiveIntegerField(default=300)
    etag = models.CharField(max_length=500, blank=True, editable=False)
    last_modified = models.CharField(max_length=100, blank=True, editable=False)
    fetched_at = models.DateTimeField(null=True, blank=True, editable=False)
    next_fetch_at = models.DateTimeField(null=True, blank=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)  # in a row
    last_error = models.CharField(max_length=500, blank=True, editable=False)
    last_report = models.CharField(max_length=200, blank=True, editable=False)  # what the last reading brought

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Entity(models.Model):
    """Somebody or something that news is about."""

    class Kind(models.TextChoices):
        COMPANY = "company"
        SECTOR = "sector"
        INDEX = "index"
        CURRENCY = "currency"
        COMMODITY = "commodity"
        PLACE = "place"
        INSTITUTION = "institution"
        OTHER = "other"

    symbol = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.COMPANY)
    is_active = models.BooleanField("active", default=True, help_text="looked for in new articles")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["symbol"]
        verbose_name_plural = "entities"

    def __str__(self) -> str:
        return self.symbol


class Alias(models.Model):
    """One way to write an entity's name, and when it is not that name: see `news.entities`."""

    entity = models.ForeignKey(Entity, on_delete=models.CASCADE, related_name="aliases", db_index=False)
    text = models.CharField(max_length=200)
    is_case_sensitive = models.BooleanField("case sensitive", default=False)
    needs_context = models.BooleanField(default=False, help_text="counts only beside one of the context words")
    context_words = models.JSONField(default=list, blank=True, help_text="words of an article that speak for the name")
    reject_words = models.JSONField(default=list, blank=True, help_text="phrases around the name that speak against it")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["entity", "text"], name="finance_alias_once")]
        verbose_name_plural = "aliases"

    def __str__(self) -> str:
        return self.text


class WatchList(models.Model):
    """Entities that somebody watches together; without an owner it is everybody's."""

    name = models.CharField(max_length=120, unique=True)
    entities = models.ManyToManyField(Entity, related_name="watch_lists", blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Told(models.Manager["Story"]):
    """Stories that have articles."""

    def get_queryset(self) -> models.QuerySet[Story]:
        return super().get_queryset().filter(merged_into=None)


class Story(models.Model):
    """One piece of news, however many articles tell it: a tree of near-identical articles, `lead` being its root.

    A story whose articles turned out to belong to another one has none left and says which in `merged_into`; lists of
    stories do not hold it.
    """

    lead = models.ForeignKey("finance.Article", null=True, on_delete=models.SET_NULL, related_name="leads")
    title = models.CharField(max_length=500)
    language = models.CharField(max_length=20, blank=True)
    topic = models.CharField(max_length=100, blank=True)
    topic_probability = models.FloatField(default=0.0)
    first_published_at = models.DateTimeField()
    last_published_at = models.DateTimeField()
    article_count = models.PositiveIntegerField(default=1)
    source_count = models.PositiveIntegerField(default=1)
    merged_into = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    revision = models.BigIntegerField(default=0)  # of the last change

    objects = Told()
    everything = models.Manager["Story"]()

    class Meta:
        base_manager_name = "everything"
        ordering = ["-first_published_at", "-id"]
        indexes = [
            models.Index(fields=["-first_published_at", "-id"], name="finance_story_newest"),
            models.Index(fields=["topic", "-first_published_at"], name="finance_story_topic"),
            models.Index(fields=["revision"], name="finance_story_revision"),
        ]
        verbose_name_plural = "stories"

    def __str__(self) -> str:
        return self.title


class Article(models.Model):
    """One article as its newest event describes it. An older event never overwrites a newer one."""

    key = models.CharField("article id", max_length=200, unique=True)
    title = models.CharField(max_length=500)
    body = models.TextField(blank=True)
    url = models.CharField(max_length=2_000, blank=True)
    source_name = models.CharField("source", max_length=120, blank=True)
    language = models.CharField(max_length=20, blank=True)  # BCP 47, as given or as its script tells
    published_at = models.DateTimeField()
    received_at = models.DateTimeField()
    changed_at = models.DateTimeField()  # time of the event that this row shows
    changed_by = models.CharField(max_length=401)  # source and id of that event: breaks ties
    # what reading it came to; written by the handler alone
    story = models.ForeignKey(Story, null=True, on_delete=models.SET_NULL, related_name="articles")
    original = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="copies")
    similarity = models.FloatField(null=True)  # to the original
    note = models.CharField(max_length=300, blank=True, db_default="")  # what could not be read of it, and why

    class Meta:
        ordering = ["-published_at", "-id"]
        indexes = [
            models.Index(fields=["-published_at", "-id"], name="finance_article_newest"),
            models.Index(fields=["source_name", "-published_at"], name="finance_article_source"),
            models.Index(fields=["-received_at"], name="finance_article_received"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_first(self) -> bool:
        """Whether it is the one that its story is counted by."""
        return self.story_id is not None and self.original_id is None


class Trace(models.Model):
    """What of an article is compared with others to tell whether they are one story: see `news.stories`."""

    article = models.OneToOneField(Article, on_delete=models.CASCADE, primary_key=True, related_name="trace")
    published_at = models.DateTimeField()
    sketch = models.JSONField()  # of news.stories
    vector = models.BinaryField(default=b"")  # float16, of the title as it is, of the release below
    release = models.CharField(max_length=64, blank=True)
    revision = models.BigIntegerField()  # of the last change

    class Meta:
        indexes = [
            models.Index(fields=["published_at"], name="finance_trace_published"),
            models.Index(fields=["revision"], name="finance_trace_revision"),
        ]

    def __str__(self) -> str:
        return f"trace of {self.article_id}"


class Score(models.Model):
    """What a release says of an article (entity null) or of an entity in it: probabilities, and the sentence judged."""

    article = models.ForeignKey(Article, on_delete=models.CASCADE, related_name="scores", db_index=False)
    entity = models.ForeignKey(Entity, null=True, on_delete=models.CASCADE, related_name="scores", db_index=False)
    release = models.CharField(max_length=64)
    is_current = models.BooleanField(default=True)  # the one that counts: of the last reading
    topic = models.CharField(max_length=100, blank=True)  # of the whole article
    topic_probability = models.FloatField(default=0.0)
    p_negative = models.FloatField()
    p_neutral = models.FloatField()
    p_positive = models.FloatField()
    name = models.CharField(max_length=200, blank=True)  # the entity, as the article writes it
    sentence = models.CharField(max_length=500)
    scored_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["article", "release"], condition=models.Q(entity=None), name="finance_text_score_once"
            ),
            models.UniqueConstraint(fields=["article", "entity", "release"], name="finance_score_once"),
        ]
        indexes = [models.Index(fields=["entity", "article"], name="finance_score_entity")]

    def __str__(self) -> str:
        return f"{self.p_negative:.2f} {self.p_neutral:.2f} {self.p_positive:.2f}"


class Mention(models.Model):
    """A story counted for an entity named in it, or for itself (entity_id 0): what buckets are sums of.

    The probabilities are those of the first of its articles that names the entity.
    """

    story = models.ForeignKey(Story, on_delete=models.CASCADE, related_name="mentions", db_index=False)
    entity_id = models.BigIntegerField(default=0)  # 0: the story itself
    topic = models.CharField(max_length=100, blank=True)
    published_at = models.DateTimeField()  # of the story
    articles = models.PositiveIntegerField(default=1)
    negative = models.FloatField()
    neutral = models.FloatField()
    positive = models.FloatField()
    article = models.ForeignKey(Article, on_delete=models.CASCADE, related_name="+")  # that names it

    class Meta:
        constraints = [models.UniqueConstraint(fields=["story", "entity_id"], name="finance_mention_once")]
        indexes = [models.Index(fields=["entity_id", "-published_at"], name="finance_mention_entity")]

    def __str__(self) -> str:
        return f"{self.entity_id} in {self.story_id}"


class Bucket(models.Model):
    """Stories by when they were first published. Sparse: where nothing was published there is no row. One that fell to
    zero, as its stories turned out to be older, stays: its revision tells the evaluator of the change.

    `negative`, `neutral` and `positive` are expected counts: sums of calibrated probabilities over the stories.
    """

    SIZES = MINUTE, HOUR, DAY = 60, 3_600, 86_400

    entity_id = models.BigIntegerField(default=0)  # 0: all stories, whomever they name
    topic = models.CharField(max_length=100, blank=True)  # empty: all topics
    seconds = models.PositiveIntegerField(choices=[(MINUTE, "minute"), (HOUR, "hour"), (DAY, "day")])
    start = models.DateTimeField()  # UTC
    stories = models.IntegerField()
    articles = models.IntegerField()
    negative = models.FloatField()
    neutral = models.FloatField()
    positive = models.FloatField()
    revision = models.BigIntegerField()  # of the last change

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["entity_id", "topic", "seconds", "start"], name="finance_bucket_once")
        ]
        indexes = [
            models.Index(fields=["seconds", "start"], name="finance_bucket_start"),
            models.Index(fields=["revision"], condition=models.Q(seconds=60), name="finance_bucket_revision"),
        ]

    def __str__(self) -> str:
        return f"{self.entity_id} {self.topic} {self.start:%Y-%m-%d %H:%M}"


class LabelledText(models.Model):
    """How somebody, or a data set, judged a text or a name in it: what the next training learns from."""

    SENTIMENT, TOPIC = "sentiment", "topic"

    digest = models.CharField(max_length=32, unique=True)  # of kind, text and entity
    kind = models.CharField(max_length=10, choices=[(SENTIMENT, "sentiment"), (TOPIC, "topic")])
    text = models.TextField()
    entity = models.CharField(max_length=200, blank=True)  # the judged name, as the text writes it
    label = models.CharField(max_length=100)  # empty: taken back
    changed_at = models.DateTimeField()  # time of the event that this row shows
    changed_by = models.CharField(max_length=401)  # source and id of that event: breaks ties

    class Meta:
        indexes = [models.Index(fields=["kind", "label"], name="finance_labelled_kind")]

    def __str__(self) -> str:
        return f"{self.kind} {self.label}"


class Revision(models.Model):
    """One row: the number of the last change to stories and buckets. Whoever changes them holds it, so that numbers
    are given out in the order of commits and two workers never place two copies of an article apart."""

    number = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.number)
