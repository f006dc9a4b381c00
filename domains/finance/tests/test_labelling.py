"""What people are asked to label, what becomes of a label, and what of one that was taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from domains.finance.models import Entity, LabelledText
from domains.finance.tests.articles import article, take
from domains.finance.tests.test_news_events import label
from domains.finance.training_data import TRAINING_DATA, topic_rows
from suite.encoder.fake import FakeEncoder
from suite.events.ingestion import ingest
from suite.releases.training_data import Record

pytestmark = pytest.mark.django_db


@pytest.fixture
def articles(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    take(article("Halden Motors profit rises as Northwind Bank meets"))
    take(article("Corvane Pharma fined", 600), article("Corvane Pharma fined", 601))  # the second is a copy


def to_label(head: str) -> list[Record]:
    return list(TRAINING_DATA.labelling[head].rows())


def withdrawal(kind: str, **data: Any) -> dict[str, Any]:
    return label(kind, "w1", "2026-03-04T09:00:00Z", **data) | {"type": f"finance.{kind}.withdrawn"}


def test_titles_and_names_of_new_pieces_are_to_be_labelled(articles: None) -> None:
    first = "Halden Motors profit rises as Northwind Bank meets"
    assert [one["text"] for one in to_label("topic")] == ["Corvane Pharma fined", first]
    assert [(one["text"], one["entity"]) for one in to_label("sentiment")] == [
        ("Corvane Pharma fined", ""), ("Corvane Pharma fined", "Corvane Pharma"),
        (first, ""), (first, "Halden Motors"), (first, "Northwind Bank"),
    ]  # fmt: skip


def test_what_is_labelled_is_asked_no_more_until_it_is_taken_back(articles: None) -> None:
    text = "Corvane Pharma fined"
    take(label("sentiment", text=text, entity="Corvane Pharma", label="negative", by="ada"))
    assert (text, "Corvane Pharma") not in [(one["text"], one["entity"]) for one in to_label("sentiment")]
    assert len(to_label("sentiment")) == 4 and len(to_label("topic")) == 2
    [row] = LabelledText.objects.all()
    assert {"text": text, "label": "negative", "entity": "Corvane Pharma"} in list(labelled("finance.sentiment"))
    take(withdrawal("sentiment", text=text, entity="Corvane Pharma", by="ada"))
    row.refresh_from_db()
    assert row.label == "" and len(to_label("sentiment")) == 5
    assert text not in [one["text"] for one in labelled("finance.sentiment")]
    take(label("sentiment", "late", text=text, entity="Corvane Pharma", label="negative"))  # older than that
    assert len(to_label("sentiment")) == 5


def labelled(name: str) -> Iterator[Record]:
    return TRAINING_DATA.rows[name]()


def test_a_withdrawal_names_its_text() -> None:
    [result] = ingest([withdrawal("topic", by="ada")])
    assert (result.status, result.field) == ("rejected", "data.text")


def test_labels_of_the_samples_topics_join_the_sample_and_others_replace_it() -> None:
    sample = list(topic_rows())
    assert len(sample) > 100
    take(label("topic", text="Halden profit", label="earnings"))
    assert list(topic_rows()) == [{"text": "Halden profit", "label": "earnings"}, *sample]
    take(label("topic", "l2", text="A match", label="sport"))
    assert [row["label"] for row in topic_rows()] == ["earnings", "sport"]
