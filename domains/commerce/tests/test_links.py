"""The knowledge graph from its events to the reason on a recommendation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domains.commerce import jobs, loaders, selectors
from domains.commerce.links import links_between
from domains.commerce.models import Catalogue, Link, RelatedItems
from domains.commerce.selectors import Person
from domains.commerce.tests.events import did, event, item, take
from suite.events.ingestion import ingest
from suite.events.loading import Load
from suite.formats import LoadOptions

pytestmark = pytest.mark.django_db
TITLES = {"emma": "Emma", "persuasion": "Persuasion", "dune": "Dune", "messiah": "Dune Messiah", "kim": "Kim"}
LINKS = [
    ("emma", "book.book.author", "Jane Austen"),
    ("persuasion", "book.book.author", "Jane Austen"),
    ("messiah", "sequel_of", "dune"),
    *((key, "language", "English") for key in TITLES),
]


def link(head: str, relation: str, tail: str, **more: str) -> dict:
    return event("link.recorded", {"head": head, "relation": relation, "tail": tail} | more)


@pytest.fixture
def books() -> Catalogue:
    take(*(item(key, title) for key, title in TITLES.items()))
    take(*(link(*each) for each in LINKS))
    jobs.rebuild_graphs()
    return selectors.find_catalogue()


def test_an_item_that_shares_an_author_is_recommended_and_says_so(books):
    take(did("emma"))
    answer = selectors.recommendations(books, Person("ann"), 4)
    first = answer["items"][0]
    assert (first["item_id"], answer["served_by"]) == ("persuasion", "blend")
    [reason] = first["reasons"]
    assert reason["channel"] == "graph"
    assert reason["text"] == "Same author: Jane Austen, because you viewed “Emma”"
    assert [behind["item_id"] for behind in reason["items"]] == ["emma"]


def test_a_direct_link_is_said_by_its_relation(books):
    first = selectors.similar(books, "dune", 4)["items"][0]
    assert first["item_id"] == "messiah"
    assert first["reasons"][0]["text"] == "Sequel of: Dune Messiah"


def test_of_several_things_that_are_shared_the_rarest_is_named(books):
    found = links_between(books, [("emma", "persuasion"), ("emma", "kim"), ("emma", "gone")], TITLES)
    assert found == {("emma", "persuasion"): "same author: Jane Austen", ("emma", "kim"): "same language: English"}


def test_links_in_any_order_any_number_of_times_end_in_the_same_rows(books):
    before = set(Link.objects.values_list("catalogue_id", "head", "relation", "tail"))
    take(*(link(*each) for each in reversed(LINKS)), link(*LINKS[0]))
    assert set(Link.objects.values_list("catalogue_id", "head", "relation", "tail")) == before
    assert Link.objects.count() == len(LINKS)


def test_the_graph_is_built_again_for_news_alone(books):
    built_at = Catalogue.objects.get().graph_at
    jobs.rebuild_graphs()
    assert Catalogue.objects.get().graph_at == built_at, "nothing was new"
    Catalogue.objects.update(graph_seconds=0.0)
    take(item("new", "A Jungle Book"), link("new", "language", "English"))
    jobs.rebuild_graphs()
    assert Catalogue.objects.get().graph_at != built_at
    assert RelatedItems.objects.filter(item_key="new").exists()


def test_a_catalogue_without_links_is_left_alone():
    take(item("board"), did("board"))
    jobs.rebuild_graphs()
    assert Catalogue.objects.get().graph_at is None


@pytest.mark.parametrize("missing", ["head", "relation", "tail"])
def test_a_link_with_a_part_missing_is_named(missing):
    data = {"head": "a", "relation": "b", "tail": "c"}
    del data[missing]
    [result] = ingest([event("link.recorded", data)])
    assert (result.status, result.field) == ("rejected", f"data.{missing}")


def test_a_file_of_links_is_loaded_once_and_bad_lines_are_named(tmp_path: Path):
    path = tmp_path / "links.csv"
    path.write_text("head,relation,tail,year\nemma,author,1775,1815\nemma,author,1775,\nemma,author\nemma,,x,\n")
    complaints: list[str] = []
    first = Load("commerce.links", loaders.LOADERS["commerce.links"], [path], LoadOptions(), complaints.append)
    first.run()
    assert (first.counts.accepted, first.counts.duplicate, first.counts.bad_lines.total()) == (1, 1, 1)
    assert first.options.unknown_fields == {"year": 1}
    assert any("data.relation" in line for line in complaints)
    assert Link.objects.values_list("head", "relation", "tail").get() == ("emma", "author", "1775")


def test_recboles_graph_is_read_with_the_items_that_its_entities_are(tmp_path: Path):
    (tmp_path / "ml.inter").write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t3\t8\n")
    (tmp_path / "ml.kg").write_text(
        "head_id:token\trelation_id:token\ttail_id:token\nm.1\tfilm.film.actor\tm.9\nm.9\tborn_in\tm.8\n"
    )
    (tmp_path / "ml.link").write_text("item_id:token\tentity_id:token\n7\tm.1\n")
    load = Load("movielens", loaders.LOADERS["movielens"], [tmp_path], LoadOptions(), print)
    load.run()
    assert Link.objects.values_list("head", "relation", "tail").get() == ("7", "film.film.actor", "m.9")
    assert load.counts.skipped == {"a link between two things that are no items": 1}


def test_the_answer_is_valid_json_with_a_graph_reason(books):
    take(did("emma"))
    assert json.dumps(selectors.recommendations(books, Person("ann"), 4))
