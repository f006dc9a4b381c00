"""Examples made of two texts, one with a marked name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.encoder.tests.test_training import Given
from suite.encoder.training.augmentation import put_together
from suite.encoder.training.tasks import Texts, read_tasks
from suite.marking import beside, mark_entity, name_in, without_mark

RISES = (mark_entity("Acme rises", "Acme"), "positive")
FALLS = (mark_entity("Zenith falls", "Zenith"), "negative")
QUIET = ("A quiet day", "neutral")


def made(*examples, limit=20, share=1.0, seed=0):
    sizes = [len(text.split()) for text, _ in examples]
    return put_together(examples, sizes, limit, share, np.random.default_rng(seed))


def test_a_marked_text_takes_another_before_it_or_after_it():
    assert beside(RISES[0], "Zenith falls", "; ", True) == "Acme | [ Acme ] rises; Zenith falls"
    assert beside(RISES[0], "Zenith falls", "; ", False) == "Acme | Zenith falls; [ Acme ] rises"
    assert without_mark(beside(RISES[0], "Zenith falls", "; ", False)) == "Zenith falls; Acme rises"
    assert name_in(QUIET[0]) == name_in("Acme | Nobody is named") == ""


def test_each_name_keeps_its_label_beside_a_text_of_another():
    found = {made(RISES, FALLS, seed=seed)[0] for seed in range(40)}
    assert {label for _, label in found} == {"positive"}
    assert {name_in(text) for text, _ in found} == {"Acme"}
    plain = {without_mark(text) for text, _ in found}
    assert {"Acme rises; Zenith falls", "Zenith falls; Acme rises", "Acme rises - Zenith falls"} <= plain


def test_texts_without_a_mark_are_only_put_beside_others():
    assert [(name_in(text), label) for text, label in made(RISES, QUIET)] == [("Acme", "positive")]


@pytest.mark.parametrize(
    ("examples", "limit"),
    [
        ((RISES, (mark_entity("Bolt rises", "Bolt"), "positive")), 20),  # one label
        ((RISES, ("Acme falls", "negative")), 20),  # says something of the name, too
        ((RISES, FALLS), 11),  # six words each, with the marks
        ((RISES, (without_mark(RISES[0]), "neutral")), 20),
    ],
)
def test_nothing_is_made_of_texts_that_do_not_go_together(examples, limit):
    assert made(*examples, limit=limit) == []


def test_the_share_says_how_many_are_made():
    many = [(mark_entity(f"Name{n} rises", f"Name{n}"), "positive") for n in range(1_000)]
    assert made(*many, FALLS, share=0) == []
    assert 440 < len(made(*many, FALLS, share=0.5)) < 560


def test_what_is_made_is_trained_on_and_is_the_same_in_every_life(tiny):
    names = [(mark_entity(f"a tent of name{n:02}", f"name{n:02}"), "xy"[n % 2]) for n in range(40)]
    given = Given("mood", "classification", ("x", "y"), names, names[:2], prefix="classify: ")
    given = replace(given, train=names[2:])

    def trained(concatenated):
        texts = Texts(tiny.tokenizer, 128)
        [task] = read_tasks([given], texts, concatenated, seed=1)
        strings = list(texts.numbers)
        return [(strings[one.texts[0]], one.label) for one in task.train], len(task.validation)

    plain, doubled = trained(0.0), trained(1.0)
    assert len(plain[0]) == 38 and len(doubled[0]) == 76
    assert doubled == trained(1.0)
    assert plain[1] == doubled[1] == 2
    assert all(text.startswith("classify: name") for text, _ in doubled[0])
    held = {without_mark(text) for text, _ in names[:2]}
    assert not any(one in text for one in held for text, _ in doubled[0])
