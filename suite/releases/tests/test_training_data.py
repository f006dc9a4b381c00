from __future__ import annotations

import pytest

from suite.marking import mark_entity
from suite.releases.training_data import TaskExamples, is_held_out


def test_a_text_is_always_on_the_same_side_and_the_share_is_kept():
    texts = [f"text number {number}" for number in range(5_000)]
    held_out = [text for text in texts if is_held_out(text, 0.2)]
    assert 900 < len(held_out) < 1_100
    assert held_out == [text for text in texts if is_held_out(text, 0.2)]
    assert all(is_held_out(text, 0.3) for text in held_out)  # a larger share only adds
    assert isinstance(is_held_out("a lone surrogate \ud800"), bool)


def test_a_name_is_marked_wherever_it_stands():
    assert mark_entity("Acme beats Zenith, says Acme", "Acme") == "Acme | [ Acme ] beats Zenith, says [ Acme ]"
    assert mark_entity("Nobody is named", "Acme") == "Acme | Nobody is named"
    assert mark_entity("As it is", "") == "As it is"


def test_a_task_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="task a: kind must be one of classification, pair"):
        TaskExamples("a", "ranking")
    with pytest.raises(ValueError, match="task a: a head goes with classification and pair"):
        TaskExamples("a", "classification")
    with pytest.raises(ValueError, match="task a: a head goes with"):
        TaskExamples("a", "contrastive", head="mood")
