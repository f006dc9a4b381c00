"""The examples of the interest head: fair, repeatable, and few enough for a first release in seconds."""

from __future__ import annotations

from collections import Counter

from domains.commerce.training_data import Visit, interest_examples, visits

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


def test_a_visit_is_told_by_what_came_before_it_and_by_its_first_two_items():
    views = [("monday", key) for key in "ab"] + [("tuesday", key) for key in "cdaefg"]
    assert list(visits(views)) == [Visit(["d", "c", "b", "a"], ["e", "f", "g"])]
