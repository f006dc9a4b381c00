"""Articles and labelled texts as they come in: what is taken, what is refused, and with which words."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from domains.finance.models import Article, LabelledText
from domains.finance.tests.articles import article, take
from suite.events.ingestion import ingest

pytestmark = pytest.mark.django_db


def test_an_article_is_stored_as_plain_text() -> None:
    take(
        article(
            "<b>Halden</b> &amp; Co<script>alert(1)</script>",
            body="<p>One.</p><p>Two &lt; three</p>",
            source="Morning <i>Ledger</i>",
            url="https://example.org/a?b=1",
            language="en_GB",
        )
    )
    row = Article.objects.get()
    assert (row.title, row.body, row.source_name) == ("Halden & Co", "One.\nTwo < three", "Morning Ledger")
    assert (row.url, row.language) == ("https://example.org/a?b=1", "en-GB")


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"article_id": ""}, "data.article_id", "is required"),
        ({"article_id": "x" * 201}, "data.article_id", "201 characters long, the limit is 200"),
        ({"title": ""}, "data.title", "is required"),
        ({"title": "<p></p>"}, "data.title", "holds no text"),
        ({"title": "x" * 501}, "data.title", "the limit is 500"),
        ({"title": ["x"]}, "data.title", "must be a text, not a list"),
        ({"body": "x" * 60_001}, "data.body", "the limit is 60,000"),
        ({"body": 7}, "data.body", "must be a text"),
        ({"url": "javascript:alert(1)"}, "data.url", "must be an http or https address"),
        ({"url": "http://[::1"}, "data.url", "must be an http or https address"),
        ({"language": "english please"}, "data.language", "language tag"),
        ({"published_at": None}, "data.published_at", "is required"),
        ({"published_at": "yesterday"}, "data.published_at", "ISO 8601"),
        ({"published_at": "1969-12-31T00:00:00Z"}, "data.published_at", "before 1970"),
        ({"published_at": math.nan}, "data.published_at", "NaN"),
        ({"published_at": "2999-01-01T00:00:00Z"}, "data.published_at", "ahead of our clock, the limit is 10"),
        ({"title": "a\x00b"}, "data.title", "NUL"),
    ],
)
def test_a_bad_article_is_refused_with_its_field(change: dict[str, Any], field: str, words: str) -> None:
    [result] = ingest([{**article("Halden rises"), "data": article("Halden rises")["data"] | change}])
    assert (result.status, result.field) == ("rejected", field)
    assert words in result.reason
    assert not Article.objects.exists()


def test_the_past_is_taken_and_the_near_future_is_now() -> None:
    take(article("Old news", published_at="1987-10-19T14:30:00Z"))
    take(article("News to come", published_at=(timezone.now() + timedelta(minutes=9)).isoformat()))
    old, new = Article.objects.order_by("published_at")
    assert old.published_at.year == 1987
    assert new.published_at == new.received_at


def label(kind: str, id: str = "l1", time: str = "2026-03-02T09:00:00Z", **data: Any) -> dict[str, Any]:
    return {"id": id, "source": "tests", "type": f"finance.{kind}.labelled", "time": time, "data": data}


def test_labels_are_kept_and_the_newest_holds() -> None:
    text = "Halden gains as Corvane slips"
    take(
        label("sentiment", "l1", text=text, entity="Halden", label="positive"),
        label("sentiment", "l2", text=text, entity="Corvane", label="neutral"),
        label("sentiment", "l3", "2026-03-03T09:00:00Z", text=text, entity="Corvane", label="negative"),
        label("sentiment", "l4", "2026-03-01T09:00:00Z", text=text, entity="Corvane", label="positive"),
        label("topic", "l5", text=text, label="markets"),
    )
    held = {(row.kind, row.entity): row.label for row in LabelledText.objects.all()}
    assert held == {
        ("sentiment", "Halden"): "positive",
        ("sentiment", "Corvane"): "negative",
        ("topic", ""): "markets",
    }


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        ("sentiment", {"text": "a", "label": "great"}, "data.label"),
        ("sentiment", {"text": "a", "label": "positive", "entity": "Halden"}, "data.entity"),
        ("sentiment", {"label": "positive"}, "data.text"),
        ("topic", {"text": "a"}, "data.label"),
        ("topic", {"text": "a", "label": "x" * 101}, "data.label"),
    ],
)
def test_bad_labels_are_refused(kind: str, data: dict[str, Any], field: str) -> None:
    [result] = ingest([label(kind, **data)])
    assert (result.status, result.field) == ("rejected", field)
