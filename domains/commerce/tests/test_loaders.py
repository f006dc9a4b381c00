"""Files become events of commerce: every oddity of the order lines is handled and counted, and nothing comes twice."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from domains.commerce import loaders
from domains.commerce.models import Catalogue, Interaction, Item
from domains.commerce.plain_records import interaction_row
from domains.commerce.sample import stream
from domains.commerce.sample.player import Player
from suite.events.ingestion import ingest
from suite.events.loading import Load
from suite.formats import LoadOptions

pytestmark = pytest.mark.django_db
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
LINES = [
    "1,10001,RED MUG,6,2011-01-01 09:00:00,2.50,17,UK",
    "1,10001,RED MUG,1,2011-01-01 09:00:00,2.50,17,UK",  # the same item twice on one invoice
    '1,10002a,"*TIN, SMALL",2,2011-01-01 09:00:00,1.00,17,UK',  # a small letter, a star, a comma
    "2,10001,Red mug?,1,2011-01-02 09:00:00,2.75,,UK",  # no customer; a description that is rarer
    "C3,10002A,TIN SMALL,-2,2011-01-03 09:00:00,1.00,17,UK",  # a cancellation
    "4,10001,damages,-5,2011-01-04 09:00:00,0,,UK",  # stock-keeping
    "5,10003,found,5,2011-01-05 09:00:00,0,,UK",  # stock-keeping: no price
    "6,POST,POSTAGE,1,2011-01-06 09:00:00,18,17,UK",
    "6,gift_0001_20,Voucher,1,2011-01-06 09:00:00,18,17,UK",
    "7,10004,,1,2011-01-07 09:00:00,3,18.0,UK",  # no description
    "8,10001,RED MUG,many,2011-01-08 09:00:00,2.5,17,UK",  # a bad line
    "9,10001,RED MUG,1,soon,2.5,17,UK",
]


def load(name: str, path: Path, **options: object) -> tuple[Load, list[str]]:
    complaints: list[str] = []
    running = Load(name, loaders.LOADERS[name], [path], LoadOptions(**options), complaints.append)  # type: ignore[arg-type]
    running.is_dry = running.options.is_dry
    running.run()
    return running, complaints


@pytest.fixture
def order_lines(tmp_path):
    path = tmp_path / "lines.csv.gz"
    path.write_bytes(gzip.compress("\n".join([HEADER, *LINES]).encode()))
    return path


def test_order_lines_are_cleaned_and_what_is_left_out_is_counted(order_lines):
    counts, complaints = (found := load("online-retail", order_lines))[0].counts, found[1]
    assert counts.accepted == 3 + 6  # items, interactions
    assert counts.skipped == {
        "stock-keeping: negative quantity without a cancellation": 1,
        "stock-keeping or given away: no price": 1,
        "postage, charge, voucher or manual entry: no item": 2,
    }
    assert counts.bad_lines.total() == 2
    assert [line.split()[:2] for line in complaints] == [["line", "12"], ["line", "13"]]
    assert dict(Item.objects.values_list("key", "title")) == {
        "10001": "Red mug", "10002A": "Tin, small", "10004": "Item 10004",
    }  # fmt: skip
    assert Item.objects.get(key="10001").price == 2.75
    done = Interaction.objects.order_by("timestamp", "event_id").values_list(
        "user_key", "session_key", "item_key", "kind", "value"
    )
    assert list(done) == [
        ("17", "", "10001", "purchase", 6.0),
        ("17", "", "10001", "purchase", 1.0),
        ("17", "", "10002A", "purchase", 2.0),
        ("", "2", "10001", "purchase", 1.0),
        ("17", "", "10002A", "dismiss", 2.0),
        ("18", "", "10004", "purchase", 1.0),
    ]
    assert Catalogue.objects.get().slug == "online-retail"


def test_second_load_finds_only_duplicates(order_lines):
    load("online-retail", order_lines)
    again, _ = load("online-retail", order_lines)
    assert (again.counts.accepted, again.counts.duplicate) == (0, 9)
    assert Interaction.objects.count() == 6


def test_dry_run_stores_nothing_not_even_a_catalogue(order_lines):
    dry, _ = load("online-retail", order_lines, is_dry=True)
    assert dry.counts.accepted == 9
    assert Catalogue.objects.count() == Item.objects.count() == 0


def test_plain_items_from_csv_have_numbers_and_lists(tmp_path):
    path = tmp_path / "items.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "title", "price", "available", "tags", "weight"])
        writer.writerow(["007", "Mug", "2.5", "false", '["a", "b"]', "300"])
        writer.writerow(["008", "Tin", "cheap", "", "", ""])
    loaded, _ = load("commerce.items", path, catalogue="kitchen")
    assert (loaded.counts.accepted, loaded.counts.rejected.total()) == (1, 1)
    row = Item.objects.get()
    assert (row.key, row.price, row.is_available) == ("007", 2.5, False)
    assert row.attributes == {"tags": ["a", "b"], "weight": 300.0}
    assert row.catalogue.slug == "kitchen"


def test_a_csv_as_data_frames_write_it_is_read(tmp_path):
    path = tmp_path / "items.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "item_id", "title", "code", "parent", "size", "width"])
        writer.writerow(["0", "5", "[REC]", "00123", "1234567890123456789", "inf", "1_000"])
    loaded, complaints = load("commerce.items", path)
    assert (loaded.counts.accepted, complaints) == (1, [])
    assert loaded.options.unknown_fields == {"without a name": 1}
    row = Item.objects.get()
    assert (row.key, row.title) == ("5", "[REC]")
    assert row.attributes == {"code": "00123", "parent": "1234567890123456789", "size": "inf", "width": "1_000"}


def test_names_that_are_numbers_and_times_in_texts_are_read(tmp_path):
    items, done = tmp_path / "items.jsonl", tmp_path / "done.jsonl"
    items.write_text(json.dumps({"item_id": 0, "title": "Mug"}))
    rows = [{"user_id": 0, "item_id": 0, "timestamp": stamp} for stamp in ("1700000000", 1_700_000_060, "20240115")]
    done.write_text("\n".join(map(json.dumps, rows)))
    assert load("commerce.items", items)[0].counts.accepted == 1
    assert load("commerce.interactions", done)[0].counts.accepted == 3
    assert set(Interaction.objects.values_list("user_key", "item_key")) == {("0", "0")}
    assert sorted(one.timestamp.year for one in Interaction.objects.all()) == [2023, 2023, 2024]
    assert [interaction_row(row)[0] for row in rows] == ["0"] * 3
    assert interaction_row(rows[2])[2] == datetime(2024, 1, 15, tzinfo=UTC).timestamp()


def test_last_line_of_an_item_holds(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(json.dumps({"item_id": "a", "title": f"Title {n}"}) for n in range(5)))
    load("commerce.items", path)
    assert Item.objects.get().title == "Title 4"


def test_plain_interactions_need_a_time_and_name_what_they_do_not_know(tmp_path):
    path = tmp_path / "done.jsonl"
    rows = [
        {"user_id": "ann", "item_id": "a", "timestamp": 1_700_000_000, "colour": "red"},
        {"user_id": "ann", "item_id": "a"},
        {"user_id": "ann", "item_id": "a", "timestamp": "2026-01-01T00:00:00Z", "kind": "gaze"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    loaded, complaints = load("commerce.interactions", path)
    assert (loaded.counts.accepted, loaded.counts.bad_lines.total(), loaded.counts.rejected.total()) == (1, 1, 1)
    assert loaded.options.unknown_fields == {"colour": 1}
    assert [line.split(" data")[0] for line in sorted(complaints)] == ["line 2 has no timestamp", "line 3"]


def test_movielens_folder(tmp_path):
    (tmp_path / "ml.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tAnimation Comedy\n"
    )
    (tmp_path / "ml.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t1\t3\t881250949\n196\t1\tbad\t881250949\n"
    )
    loaded, _ = load("movielens", tmp_path)
    assert (loaded.counts.accepted, loaded.counts.bad_lines.total()) == (2, 1)
    row = Item.objects.get()
    assert (row.title, row.attributes) == ("Toy Story", {"genres": ["Animation", "Comedy"], "release_year": 1995.0})
    assert Interaction.objects.values_list("user_key", "kind", "value").get() == ("196", "rating", 3.0)


ITEMS = [{"item_id": f"i{n}", "title": f"Item {n}", "category": f"Kind {n % 3} > Sub"} for n in range(30)]
CAST = {
    "personas": [{"name": "mara", "interests": {"Kind 0": 1.0}, "favourites": ["i0", "i3"], "rhythm": "evening"}],
    "bundles": [["i0", "i1"]],
    "sequences": [["i0", "i5", "i6"]],
}


def test_player_is_repeatable_and_its_people_have_a_taste():
    until = datetime(2026, 1, 1, tzinfo=UTC)
    actions = Player(ITEMS, CAST, seed=3).history(until)
    assert actions == Player(ITEMS, CAST, seed=3).history(until)
    assert actions != Player(ITEMS, CAST, seed=4).history(until)
    kinds = Counter(action.kind for action in actions)
    assert kinds["view"] > kinds["cart"] > kinds["purchase"] > 0
    assert actions == sorted(actions, key=lambda action: action.time)
    liked = sum(int(action.item[1:]) % 3 == 0 for action in actions)
    assert liked > 0.5 * len(actions), "a third would be chance"
    live = Player(ITEMS, CAST, seed=3).live()
    assert len({next(live).session for _ in range(40)}) > 3


def test_sample_of_this_project_is_taken_in_whole():
    folder = Path(loaders.__file__).parent / "sample"
    loaded, complaints = load("sample", folder)
    assert complaints == []
    assert loaded.counts.accepted == loaded.counts.records
    assert list(Catalogue.objects.order_by("id").values_list("slug", flat=True)) == ["shop", "zh", "articles"]
    missing = Interaction.objects.exclude(item_key__in=Item.objects.values("key"))
    assert missing.count() == 0


def test_a_sample_that_goes_on_after_midnight_is_the_same_sample(monkeypatch):
    folder = Path(stream.__file__).parent
    taken, _ = load("sample", folder)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr(stream, "datetime", Mock(now=lambda zone: tomorrow))
    again, _ = load("sample", folder)
    assert again.counts.duplicate == taken.counts.accepted
    assert again.counts.accepted <= 2, "at most what was done in the seconds between the first event and now"


def test_an_item_file_that_is_loaded_again_after_another_holds_again(tmp_path):
    for name in "AB":
        rows = [{"item_id": "cup", "title": f"Cup {name}"}, {"item_id": "tin", "title": "Tin"}]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    titles, accepted = [], []
    for name in "AABAABB":
        loaded, _ = load("commerce.items", tmp_path / f"{name}.jsonl")
        titles.append(Item.objects.get(key="cup").title)
        accepted.append(loaded.counts.accepted)
    assert titles == [f"Cup {name}" for name in "AABAABB"]
    assert accepted == [2, 0, 1, 1, 0, 1, 0]


def test_a_removed_item_comes_back_with_its_file(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"item_id": "cup", "title": "Cup"}))
    load("commerce.items", tmp_path / "a.jsonl")
    ingest([{"id": "gone", "source": "shop", "type": "commerce.item.removed", "data": {"item_id": "cup"}}])
    assert Item.objects.get().is_removed
    load("commerce.items", tmp_path / "a.jsonl")
    assert not Item.objects.get().is_removed
