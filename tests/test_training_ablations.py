"""The table of `manage.py benchmark training-ablations`, without the training."""

from __future__ import annotations

import pytest
from django.core.management.base import CommandError

from benchmarks.training_ablations import THINGS, table, variants
from suite.encoder.training.config import TrainingConfig


def test_what_the_recipe_has_is_taken_away_and_what_it_lacks_is_added():
    recipe = TrainingConfig(minutes=5, adversarial=0.1, average=1, hard_negatives=2, seed=7)
    runs = variants(recipe, THINGS)
    assert list(runs) == ["recipe", "another seed", "with pretraining", "without hard_negatives",
                          "without adversarial", "with lora", "with averaging", "with frozen_layers",
                          "without retention", "without plain_texts", "without concatenated"]  # fmt: skip
    changed = {
        name: {key: value for key, value in used.as_dict().items() if value != recipe.as_dict()[key]}
        for name, used in runs.items()
    }
    assert changed["recipe"] == {}
    assert changed["another seed"] == {"seed": 8}
    assert changed["without hard_negatives"] == {"hard_negatives": 0}
    assert changed["without adversarial"] == {"adversarial": 0.0}
    assert changed["with averaging"] == {"average": 3}


def test_a_thing_that_is_not_known_is_a_clear_line():
    with pytest.raises(CommandError, match="things=luck: there is no such thing; there are: pretraining, hard"):
        variants(TrainingConfig(), ["averaging", "luck"])


def test_the_table_says_how_far_each_run_is_from_the_recipe():
    rows = {
        "recipe": {"metrics": {"finance.sentiment by entity": 0.85, "support.intents": 0.93}, "seconds": 300},
        "with lora": {"metrics": {"finance.sentiment by entity": 0.83, "support.intents": 0.935}, "seconds": 90},
    }
    assert table(rows).split("\n")[1:] == [
        "|  | finance.sentiment by entity macro_f1 | support.intents accuracy | minutes |",
        "| --- | --- | --- | --- |",
        "| recipe | 0.8500 | 0.9300 | 5.0 |",
        "| with lora | -0.0200 | +0.0050 | 1.5 |",
    ]
