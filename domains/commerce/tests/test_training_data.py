"""What commerce learns from: a first release's examples, few enough for seconds, and those of files and rows."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from domains.commerce.sample.examples import Visit, interest_examples, visits
from domains.commerce.tests.events import did, item, take
from domains.commerce.training_data import TRAINING_DATA, tasks

TEXTS = 800  # that the encoder has to read for a first release


def test_examples_of_both_sides_are_balanced_and_share_no_profile():
    examples = interest_examples()
    for side in (examples.train, examples.validation):
        kinds = Counter(label for _, label in side)
        assert kinds["yes"] == kinds["no"] > 200
    profiles = [{pair[0] for pair, _ in side} for side in (examples.train, examples.validation)]
    assert not profiles[0] & profiles[1]


def test_examples_are_the_same_every_time_and_hold_few_texts():
    first = interest_examples()
    interest_examples.cache_clear()
    assert interest_examples() == first
    texts = {text for pair, _ in (*first.train, *first.validation) for text in pair}
    assert len(texts) <= TEXTS


LOG = [
    *(("ann", key, "view") for key in ["a", "b", "a", "gone", "c", "d", "e"]),
    *(("bob", key, "view") for key in ["e", "x", "y", "z"]),
    ("bob", "a", "dismiss"),
]
ITEMS = [{"item_id": key, "title": key.upper(), "category": "Things > Small", "colour": "red"} for key in "abcdexyz"]


def records(log=LOG):
    rows = [{"user_id": user, "item_id": key, "kind": kind, "timestamp": n} for n, (user, key, kind) in enumerate(log)]
    return {"commerce.interactions": rows, "commerce.items": ITEMS}


def test_what_followed_is_trained_on_and_the_last_is_kept_for_evaluation():
    following, interest = tasks(records())
    text = {item["item_id"]: f"{item['title']}\nThings, Small. colour: red" for item in ITEMS}

    def named(side):
        return {(tuple(past), target) for past, target in side}

    assert named(following.train) == {
        ((text["a"],), text["b"]),
        ((text["a"], text["b"]), text["c"]),
        ((text["e"],), text["x"]),
    }
    assert named(following.validation) == {
        ((text["c"], text["a"], text["b"]), text["d"]),
        ((text["x"], text["e"]), text["y"]),
    }
    wanted = {pair for pair, label in interest.train if label == "yes"}
    assert wanted == {("A", "B. Things, Small"), ("A | B", "C. Things, Small"), ("E", "X. Things, Small")}
    had = {"ann": set("ABCDE"), "bob": set("EXYZ")}
    for (profile, other), label in interest.train:
        if label == "no":
            assert other[0] not in had["ann" if profile[0] in "AB" else "bob"]


def test_what_is_missing_or_wrong_in_a_record_is_named():
    with pytest.raises(KeyError, match="item_id"):
        tasks({"commerce.interactions": [{"user_id": "ann", "timestamp": 3}]})
    with pytest.raises(ValueError, match="timestamp"):
        tasks({"commerce.interactions": [{"user_id": "ann", "item_id": "a", "timestamp": "soon"}]})
    with pytest.raises(KeyError, match="title"):
        tasks({"commerce.items": [{"item_id": "a"}]})


@pytest.mark.django_db
def test_rows_give_the_same_tasks_as_the_file_that_they_came_from():
    now = timezone.now()
    take(*(item(each["item_id"], each["title"], category=each["category"], colour="red") for each in ITEMS))
    take(
        *(
            did(key, user=user, kind=kind, timestamp=(now + timedelta(seconds=n)).isoformat())
            for n, (user, key, kind) in enumerate(LOG)
        )
    )
    from_rows = tasks({name: list(read()) for name, read in TRAINING_DATA.rows.items()})
    assert from_rows == tasks(records())


def test_a_visit_is_told_by_what_came_before_it_and_by_its_first_two_items():
    views = [("monday", key) for key in "ab"] + [("tuesday", key) for key in "cdaefg"]
    assert list(visits(views)) == [Visit(["d", "c", "b", "a"], ["e", "f", "g"])]
