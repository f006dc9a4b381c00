"""What comes in for finance: articles, labelled texts, and what analysts decide on alerts.

`validate_*` turn an envelope into the data to store, field by field. The rows are written by services, in the
transaction that stores the events.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone

from domains.finance.alerting import intake
from domains.finance.news import services
from domains.finance.news.scoring import LEANINGS
from domains.finance.news.text import LANGUAGE, plain_text
from suite.domain import EventType
from suite.events.envelope import Envelope, Rejected, parse_time, text_field

MAX_KEY = 200
MAX_TITLE = 500
MAX_BODY = 60_000
MAX_URL = 2_000
MAX_SOURCE = 120
MAX_LABELLED, MAX_ENTITY, MAX_LABEL, MAX_NAME = 5_000, 200, 100, 150
AHEAD = timedelta(minutes=10)  # of our clock: what may be published so far in the future
TOPIC_FIELDS = frozenset(("text", "label"))
SENTIMENT_FIELDS = TOPIC_FIELDS | {"entity"}
ARTICLE_FIELDS = frozenset(("article_id", "title", "published_at", "body", "source", "url", "language"))


def validate_article(envelope: Envelope) -> dict[str, Any]:
    """The fields of `finance.articles`, texts without their markup."""
    data = envelope.data
    title = plain_text(text_field(data, "title", MAX_TITLE, prefix="data.")).replace("\n", " ")
    if not title:
        raise Rejected("data.title", "holds no text beside markup and white space")
    return {
        "article_id": text_field(data, "article_id", MAX_KEY, prefix="data."),
        "title": title,
        "published_at": published_at(data).isoformat(),
        "body": plain_text(text_field(data, "body", MAX_BODY, required=False, prefix="data.")),
        "source": plain_text(text_field(data, "source", MAX_SOURCE, required=False, prefix="data.")),
        "url": address(data),
        "language": language(data),
    }


def validate_sentiment(envelope: Envelope) -> dict[str, Any]:
    """The fields of `finance.sentiment`: somebody judged a text, or a name in it."""
    found = labelled(envelope, MAX_ENTITY)
    if found["label"] not in LEANINGS:
        raise Rejected("data.label", f"must be one of {', '.join(LEANINGS)}")
    if found["entity"] and found["entity"] not in found["text"]:
        raise Rejected("data.entity", "must stand in the text as it is written here")
    return found


def validate_topic(envelope: Envelope) -> dict[str, Any]:
    """The fields of `finance.topics`."""
    return labelled(envelope, 0)


def validate_withdrawn(envelope: Envelope, longest_entity: int) -> dict[str, Any]:
    """Somebody takes back what was said of a text: it has no label from then on."""
    return judged(envelope, longest_entity) | {"label": ""}


def labelled(envelope: Envelope, longest_entity: int) -> dict[str, Any]:
    return judged(envelope, longest_entity) | {"label": text_field(envelope.data, "label", MAX_LABEL, prefix="data.")}


def judged(envelope: Envelope, longest_entity: int) -> dict[str, Any]:
    """What is labelled, and `by` whom where that is known."""
    data = envelope.data
    by = text_field(data, "by", MAX_NAME, required=False, prefix="data.")
    return {
        "text": text_field(data, "text", MAX_LABELLED, prefix="data."),
        "entity": text_field(data, "entity", longest_entity, required=False, prefix="data.") if longest_entity else "",
    } | ({"by": by} if by else {})


def published_at(data: dict[str, Any]) -> Any:
    value = data.get("published_at")
    if value in (None, ""):
        raise Rejected("data.published_at", "is required")
    time = parse_time(value, "data.published_at")
    ahead = time - timezone.now()
    if ahead > AHEAD:
        minutes, limit = ahead // timedelta(minutes=1), AHEAD // timedelta(minutes=1)
        raise Rejected("data.published_at", f"lies {minutes:,} minutes ahead of our clock, the limit is {limit}")
    return time


def address(data: dict[str, Any]) -> str:
    url = text_field(data, "url", MAX_URL, required=False, prefix="data.").strip()
    try:
        is_web = not url or (urlsplit(url).scheme in {"http", "https"} and bool(urlsplit(url).hostname))
    except ValueError:
        is_web = False
    if not is_web:
        raise Rejected("data.url", "must be an http or https address")
    return url


def language(data: dict[str, Any]) -> str:
    code = text_field(data, "language", 20, required=False, prefix="data.").replace("_", "-")
    if code and not LANGUAGE.match(code):
        raise Rejected("data.language", "must be a language tag (BCP 47), such as en or zh-Hans")
    return code


TEXT: dict[str, Any] = {"type": "string"}
JUDGED = {
    "text": TEXT | {"maxLength": MAX_LABELLED},
    "entity": TEXT | {"maxLength": MAX_ENTITY, "description": "the judged name, as the text writes it"},
    "by": TEXT | {"maxLength": MAX_NAME, "description": "user name of who says so"},
}
LABELLED_SCHEMA = {
    "type": "object",
    "required": ["text", "label"],
    "properties": JUDGED | {"label": TEXT | {"maxLength": MAX_LABEL}},
}
WITHDRAWN_SCHEMA = {"type": "object", "required": ["text"], "properties": JUDGED}
ARTICLE_SCHEMA = {
    "type": "object",
    "required": ["article_id", "title", "published_at"],
    "properties": {
        "article_id": TEXT | {"maxLength": MAX_KEY},
        "title": TEXT | {"maxLength": MAX_TITLE},
        "published_at": {"type": ["string", "number"], "description": "ISO 8601, or Unix seconds"},
        "body": TEXT | {"maxLength": MAX_BODY},
        "source": TEXT | {"maxLength": MAX_SOURCE},
        "url": TEXT | {"maxLength": MAX_URL, "description": "http or https"},
        "language": TEXT | {"maxLength": 20, "description": "BCP 47, such as en or zh-Hans"},
    },
}
EVENT_TYPES = {
    "finance.article.published": EventType(validate_article, services.record_articles, True, ARTICLE_SCHEMA),
    "finance.sentiment.labelled": EventType(validate_sentiment, services.record_sentiments, False, LABELLED_SCHEMA),
    "finance.sentiment.withdrawn": EventType(
        partial(validate_withdrawn, longest_entity=MAX_ENTITY), services.record_sentiments, False, WITHDRAWN_SCHEMA
    ),
    "finance.topic.labelled": EventType(validate_topic, services.record_topics, False, LABELLED_SCHEMA),
    "finance.topic.withdrawn": EventType(
        partial(validate_withdrawn, longest_entity=0), services.record_topics, False, WITHDRAWN_SCHEMA
    ),
} | intake.EVENT_TYPES
