import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from domains.commerce.models import Catalogue, Interaction, Item
from domains.commerce.tests.events import did, event, item, take
from suite.events.handling import handle_pending
from suite.events.ingestion import ingest
from suite.events.models import Event
from suite.live.models import Topic

ITEM_COLUMNS = [field.attname for field in Item._meta.fields if field.attname not in {"id", "catalogue_id"}]


@pytest.mark.django_db
def test_item_is_stored_as_its_event_says():
    take(
        item(
            "b-1", "Oak chess board", description="Hand made", category="Games > Chess", brand="Castle", price=49,
            currency="eur", available=False, created_at=86400, wood="oak", attributes={"tags": ["gift", "wood"]},
        )
    )  # fmt: skip
    row = Item.objects.get()
    assert (row.key, row.title, row.category, row.brand) == ("b-1", "Oak chess board", "Games > Chess", "Castle")
    assert (row.price, row.currency, row.is_available) == (49.0, "EUR", False)
    assert row.created_at == datetime(1970, 1, 2, tzinfo=UTC)
    assert row.attributes == {"wood": "oak", "tags": ["gift", "wood"]}


@pytest.mark.django_db
def test_what_a_later_event_leaves_out_is_empty():
    take(event("item.changed", {"item_id": "a", "title": "A", "brand": "Castle", "wood": "oak"}))
    take(event("item.changed", {"item_id": "a", "title": "B"}, time="2026-01-02T00:00:00Z"))
    row = Item.objects.get()
    assert (row.title, row.brand, row.attributes) == ("B", "", {})


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"title": "A"}, "data.item_id"),
        ({"item_id": 7, "title": "A"}, "data.item_id"),
        ({"item_id": "x" * 201, "title": "A"}, "data.item_id"),
        ({"item_id": "a"}, "data.title"),
        ({"item_id": "a", "title": "A", "price": -0.01}, "data.price"),
        ({"item_id": "a", "title": "A", "price": "12"}, "data.price"),
        ({"item_id": "a", "title": "A", "price": True}, "data.price"),
        ({"item_id": "a", "title": "A", "price": 1e300}, "data.price"),
        ({"item_id": "a", "title": "A", "currency": "EURO"}, "data.currency"),
        ({"item_id": "a", "title": "A", "currency": "€€€"}, "data.currency"),
        ({"item_id": "a", "title": "A", "available": "yes"}, "data.available"),
        ({"item_id": "a", "title": "A", "created_at": "yesterday"}, "data.created_at"),
        ({"item_id": "a", "title": "A", "size": {"width": 1}}, "data.size"),
        ({"item_id": "a", "title": "A", "tags": [["x"]]}, "data.tags"),
        ({"item_id": "a", "title": "A", "tags": ["x"] * 101}, "data.tags"),
        ({"item_id": "a", "title": "A", "text": "x" * 1001}, "data.text"),
        ({"item_id": "a", "title": "A", "attributes": {"price": 3}}, "data.attributes.price"),
        ({"item_id": "a", "title": "A", "attributes": [1]}, "data.attributes"),
        ({"item_id": "a", "title": "A"} | {f"a{n}": n for n in range(61)}, "data.attributes"),
        ({"item_id": "a", "title": "A", "catalogue": "no such name"}, "data.catalogue"),
    ],
)
def test_bad_item_is_rejected_with_its_field(data, field):
    [result] = ingest([event("item.changed", data)])
    assert (result.status, result.field) == ("rejected", field)
    assert Event.objects.count() == Item.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"item_id": "a"}, "data.user_id"),
        ({"user_id": "ann"}, "data.item_id"),
        ({"user_id": "ann", "item_id": "a", "kind": "stare"}, "data.kind"),
        ({"user_id": "ann", "item_id": "a", "kind": ["view"]}, "data.kind"),
        ({"user_id": "ann", "item_id": "a", "kind": "rating"}, "data.value"),
        ({"user_id": "ann", "item_id": "a", "kind": "rating", "value": "5"}, "data.value"),
        ({"user_id": "ann", "item_id": "a", "timestamp": "1969-12-31"}, "data.timestamp"),
        ({"user_id": "ann", "item_id": "a", "timestamp": "soon"}, "data.timestamp"),
    ],
)
def test_bad_interaction_is_rejected_with_its_field(data, field):
    [result] = ingest([event("interaction.recorded", data)])
    assert (result.status, result.field) == ("rejected", field)
    assert Interaction.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_number_that_is_none_is_rejected(value):
    [result] = ingest([item(price=value)])
    assert result.status == "rejected"


@pytest.mark.django_db
def test_interaction_takes_the_time_of_its_event_unless_it_names_one():
    take(did("a"), did("b", timestamp="2026-01-01T10:00:00+02:00", session_id="s"))
    assert [row.timestamp.isoformat() for row in Interaction.objects.order_by("event_id")] == [
        "2026-01-01T12:00:00+00:00",
        "2026-01-01T08:00:00+00:00",
    ]


@pytest.mark.django_db
def test_first_catalogue_is_the_default_and_an_unknown_name_is_rejected_with_those_known():
    take(item("a", catalogue="films"))  # none exists yet: the name makes it
    Catalogue.objects.create(slug="books", title="Books")
    take(item("b"), item("c", catalogue="books"))
    slugs = dict(Item.objects.values_list("key", "catalogue__slug"))
    assert slugs == {"a": "films", "b": "films", "c": "books"}
    [result] = ingest([item("d", catalogue="fimls")])
    assert (result.field, result.reason) == ("data.catalogue", "is not known; known catalogues: books, films")


@pytest.mark.django_db
def test_batch_of_one_kind_costs_a_fixed_number_of_statements(django_assert_max_num_queries):
    take(item("first"))
    with django_assert_max_num_queries(12):
        take(*(item(f"i{n}") for n in range(100)))


def changes() -> st.SearchStrategy[list[dict]]:
    """Changes and removals of three items, with times that often tie."""
    change = st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from(["changed", "removed"]))
    return st.lists(change, min_size=1, max_size=8).map(
        lambda drawn: [
            event(
                f"item.{verb}",
                {"item_id": key} | ({"title": f"title {number}", "price": number} if verb == "changed" else {}),
                id=f"event {number}",
                time=f"2026-01-0{1 + day}T00:00:00Z",
            )
            for number, (key, day, verb) in enumerate(drawn)
        ]
    )


class OrderTest(TestCase):
    """Any order and repetition of events ends in the same rows."""

    def rows(self, events: list[dict], size: int) -> list[tuple]:
        Event.objects.all().delete()
        Catalogue.objects.all().delete()
        for start in range(0, len(events), size):
            take(*events[start : start + size])
        return list(Item.objects.order_by("key").values_list(*ITEM_COLUMNS))

    @settings(max_examples=25, deadline=None)
    @given(changes(), st.randoms(use_true_random=False), st.integers(1, 8))
    def test_order_and_repetition_do_not_matter(self, events: list[dict], random: random.Random, size: int) -> None:
        shuffled = events * 3
        random.shuffle(shuffled)
        assert self.rows(shuffled, size) == self.rows(events, 1)


@pytest.mark.django_db
def test_only_what_is_done_now_moves_a_page():
    """The lines of a file are history: no screen waits for them."""
    now = timezone.now()
    take(
        did("a", user="now", timestamp=now.isoformat()),
        did("a", user="an hour late", timestamp=(now - timedelta(hours=1)).isoformat()),
        did("a", user="long ago", timestamp=(now - timedelta(days=40)).isoformat()),
    )
    handle_pending()
    topics = {name.rsplit(".", 1)[-1] for name in Topic.objects.values_list("name", flat=True)}
    assert topics == {"now", "an hour late"}
