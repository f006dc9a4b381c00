"""What is learned from interactions, and what of it is written again; the command that shows the outcome."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command

from domains.commerce import jobs, selectors
from domains.commerce.models import Catalogue, ItemStatistics
from domains.commerce.selectors import Person
from domains.commerce.tests.events import did, event, item, take

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalogue():
    take(*(item(key, f"Item {key}") for key in "abcdef"))
    for number in range(12):
        take(did("a", user=f"u{number}"), did("b", user=f"u{number}"))
    take(did("e", user="other"), did("f", user="other"))
    jobs.rebuild_statistics()
    return selectors.find_catalogue()


def test_what_is_chosen_together_is_recommended_with_its_reason(catalogue):
    take(did("a", user="new"))
    answer = selectors.recommendations(catalogue, Person("new"), 3)
    first = answer["items"][0]
    assert (first["item_id"], answer["served_by"]) == ("b", "blend")
    [reason] = [reason for reason in first["reasons"] if reason["channel"] == "together"]
    assert reason["text"] == "Often chosen together, because you viewed “Item a”"
    assert reason["items"][0]["item_id"] == "a"
    assert sum(reason["share"] for reason in first["reasons"]) == pytest.approx(1.0, abs=0.1)


def test_unknown_person_gets_what_is_popular(catalogue):
    answer = selectors.recommendations(catalogue, Person("nobody"), 2)
    assert {each["item_id"] for each in answer["items"]} == {"a", "b"}
    assert answer["served_by"] == "popular"


def test_similar_items_are_those_chosen_together(catalogue):
    answer = selectors.similar(catalogue, "e", 1)
    assert answer["items"][0]["item_id"] == "f"
    assert answer["items"][0]["reasons"][0]["text"] == "Often chosen together with “Item e”"


def test_only_rows_that_changed_are_written_and_no_news_cost_nothing(catalogue, django_assert_num_queries):
    with django_assert_num_queries(2):
        jobs.rebuild_statistics()
    assert jobs.rebuild(catalogue, catalogue.statistics_event) == 0
    assert set(ItemStatistics.objects.values_list("item_key", flat=True)) == set("abef")


def test_build_rests_after_its_work(catalogue):
    Catalogue.objects.update(statistics_seconds=1_000.0)
    take(did("c"), did("d"))
    jobs.rebuild_statistics()
    assert not ItemStatistics.objects.filter(item_key="c").exists()
    Catalogue.objects.update(statistics_seconds=0.0)
    jobs.rebuild_statistics()
    assert ItemStatistics.objects.filter(item_key="c").exists()


def test_catalogue_without_news_is_passed_by(catalogue):
    Catalogue.objects.create(slug="films", title="Films")
    take(did("c"))
    jobs.rebuild_statistics()
    films = Catalogue.objects.get(slug="films")
    assert films.statistics_event > 0
    assert films.statistics_at is None


def test_little_to_learn_from_keeps_the_prior_and_says_so(catalogue):
    jobs.learn_blends()
    catalogue.refresh_from_db()
    assert catalogue.blend == {}
    assert catalogue.blend_metrics["learned"] is False
    assert catalogue.blend_metrics["interactions"] == 26


def test_command_prints_items_with_reasons_and_json_like_the_api(catalogue, capsys, tmp_path):
    take(did("a", user="new"))
    call_command("recommend", user="new")
    printed = capsys.readouterr().out
    assert "Item b [b]" in printed
    assert "Often chosen together" in printed
    call_command("recommend", item="e", json=True, k=1)
    assert json.loads(capsys.readouterr().out)["items"][0]["item_id"] == "f"
    session = tmp_path / "clicks.jsonl"
    session.write_text('{"item_id": "a"}\n')
    call_command("recommend", session=session, json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["items"][0]["item_id"] == "b"
    session = tmp_path / "clicks.csv"
    session.write_text("item_id,timestamp\na,1700000000\n")
    call_command("recommend", session=session, json=True)
    assert json.loads(capsys.readouterr().out)["items"][0]["item_id"] == "b"
    session.write_text("item_id,kind\n,view\n")
    with pytest.raises(CommandError, match="line 2 needs an item_id"):
        call_command("recommend", session=session)


def test_command_finds_the_catalogue_where_the_user_was(catalogue, capsys):
    Catalogue.objects.create(slug="films", title="Films")
    take(item("film", "Film", catalogue="films"), did("film", user="cineast", catalogue="films"))
    take(event("item.changed", {"item_id": "other", "title": "Other film", "catalogue": "films"}))
    call_command("recommend", user="cineast", json=True)
    assert json.loads(capsys.readouterr().out)["catalogue"] == "films"
