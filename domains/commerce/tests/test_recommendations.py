"""What is recommended, from rows alone: no release is active here, so the answers also show how that degrades."""

from __future__ import annotations

import pytest

from domains.commerce import selectors
from domains.commerce.filters import BadFilter, parse_filters, passes
from domains.commerce.models import Catalogue, Item
from domains.commerce.selectors import NotFound, Person
from domains.commerce.sources import COLLECTION, IndexText
from domains.commerce.tests.events import did, event, item, take
from suite.encoder.fake import FakeEncoder
from suite.events.handling import handle_pending
from suite.index import selectors as index
from suite.index import services
from suite.index.embedded import EmbeddedEngine
from suite.index.engine import Range, Term

pytestmark = pytest.mark.django_db
ANN = Person("ann")


def ids(answer: dict) -> list[str]:
    return [each["item_id"] for each in answer["items"]]


def shop(*events: dict) -> Catalogue:
    take(*events)
    return selectors.find_catalogue()


def test_unknown_person_gets_a_named_fallback_and_never_an_empty_list():
    catalogue = shop(item("a", "A"), item("b", "B"))
    answer = selectors.recommendations(catalogue, ANN, 5)
    assert ids(answer) == ["b", "a"]
    assert (answer["served_by"], answer["degraded"]) == ("newest", ["no_release"])
    assert [reason["channel"] for reason in answer["items"][0]["reasons"]] == ["newest"]


def test_what_was_seen_bought_or_dismissed_is_left_out_at_once():
    catalogue = shop(*(item(key, key) for key in "abcd"))
    take(did("a", kind="view"), did("b", kind="purchase"), did("c", kind="dismiss"), did("d", user="bob"))
    assert ids(selectors.recommendations(catalogue, ANN, 5)) == ["d"]
    for exclude, left in (("seen", "dc"), ("bought", "dca"), ("dismissed", "dba"), ("", "dcba")):
        answer = selectors.recommendations(catalogue, ANN, 5, exclude=[exclude])
        assert ids(answer) == list(left), exclude


def test_somebody_who_saw_everything_still_gets_a_list():
    catalogue = shop(item("a", "A"))
    take(did("a"))
    assert ids(selectors.recommendations(catalogue, ANN, 5)) == ["a"]
    take(item("b", "B"), did("b", kind="dismiss"))
    assert ids(selectors.recommendations(catalogue, ANN, 5)) == ["a"]  # but not of what was dismissed


def test_an_item_is_not_similar_to_itself():
    catalogue = shop(item("a", "A"))
    assert ids(selectors.similar(catalogue, "a")) == []


def test_sessions_are_people_too_and_users_are_apart():
    catalogue = shop(item("a", "A"), item("b", "B"))
    take(event("interaction.recorded", {"session_id": "s", "item_id": "a"}))
    assert ids(selectors.recommendations(catalogue, Person("s", is_session=True), 5)) == ["b"]
    assert ids(selectors.recommendations(catalogue, Person("s"), 5)) == ["b", "a"]


def test_only_available_items_of_the_catalogue_that_are_there_pass():
    catalogue = shop(item("a", "A"), item("gone", "Gone"), item("out", "Out", available=False))
    Catalogue.objects.create(slug="films", title="Films")
    take(item("film", "Film", catalogue="films"), event("item.removed", {"item_id": "gone"}, time="2026-02-01"))
    assert ids(selectors.recommendations(catalogue, None, 5)) == ["a"]
    anything = parse_filters(["available:true", "available:false"])
    assert ids(selectors.recommendations(catalogue, None, 5, filters=anything)) == ["out", "a"]


def test_filters_hold_on_fields_categories_and_attributes():
    catalogue = shop(
        item("a", "A", category="Games > Chess", brand="Castle", price=40, wood="oak", size=42),
        item("b", "B", category="Games > Go", brand="Castle", price=90, tags=["gift", "new"], size="42"),
        item("c", "C", category="Games", brand="Other", price=90.5),
    )
    for texts, wanted in (
        (["category:Games"], "cba"),
        (["category:Games > Go"], "b"),
        (["brand:Castle", "price:50..90"], "b"),
        (["price:..40"], "a"),
        (["price:90.1.."], "c"),
        (["wood:oak", "wood:ash"], "a"),
        (["tags:gift"], "b"),
        (["wood:birch"], ""),
        (["size:42"], "ba"),
        (["size:42.0"], "ba"),
        (["price:90.5"], "c"),
    ):
        answer = selectors.recommendations(catalogue, None, 5, filters=parse_filters(texts))
        assert ids(answer) == list(wanted), texts


def test_filters_are_read_strictly():
    assert parse_filters(["price:1..2"]) == (Term("available", ("true",)), Range("price", 1.0, 2.0))
    assert parse_filters(["a:1", "a:2"])[1] == Term("a", ("1", "2"))
    for text in ("price", "price:", ":3", ""):
        with pytest.raises(BadFilter):
            parse_filters([text])
    with pytest.raises(BadFilter, match="limit is 20"):
        parse_filters(["a:1"] * 21)
    assert not passes({"price": "12"}, [Range("price", 0, 20)])


def test_missing_item_and_catalogue_are_named():
    catalogue = shop(item("a", "A"))
    with pytest.raises(NotFound, match="'zzz'"):
        selectors.similar(catalogue, "zzz")
    with pytest.raises(NotFound, match="known catalogues: shop"):
        selectors.find_catalogue("films")


def test_search_without_an_index_looks_at_titles_and_says_so():
    catalogue = shop(item("a", "Oak chess board"), item("b", "Kettle"))
    answer = selectors.search(catalogue, "chess")
    assert ids(answer) == ["a"]
    assert (answer["served_by"], answer["degraded"]) == ("titles", ["no_release"])


def test_answer_costs_a_fixed_number_of_statements(django_assert_max_num_queries):
    catalogue = shop(*(item(f"i{n}", f"Item {n}", price=n) for n in range(60)))
    take(*(did(f"i{n}") for n in range(30)))
    assert Item.objects.count() == 60
    with django_assert_max_num_queries(12):
        assert len(ids(selectors.recommendations(catalogue, ANN, 30))) == 30


def test_a_person_is_searched_for_under_the_release_of_the_vectors(tmp_path, monkeypatch):
    """Another release may come to serve between the two; its vectors are of other dimensions here."""
    engine = EmbeddedEngine(tmp_path / "index")
    for module in (services, index):
        monkeypatch.setattr(module, "engine", lambda: engine)

    def serve(encoder: FakeEncoder) -> None:
        services.activate(services.create_generation(COLLECTION, encoder.fingerprint, encoder.dimensions))
        services.synchronise(lambda fingerprint: encoder.embed)
        index.forget_active_generations()

    catalogue = shop(item("a", "oak chess board"), item("b", "walnut chess clock"), item("c", "garden rake"))
    handle_pending()
    serve(FakeEncoder(dimensions=128))
    text = IndexText(catalogue.slug, ())
    vector = text.vectors(["a"])["a"]
    before = text.nearest(vector, 2, {"a"})
    assert before[0][0] == "b"
    serve(FakeEncoder(dimensions=64))
    assert text.nearest(vector, 2, {"a"}) == before and text.degraded == []
    index.forget_active_generations()
