from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from typing import Any

import pytest

from suite.encoder.training.config import ConfigError, TrainingConfig
from suite.encoder.training.progress import Progress, Report
from suite.encoder.training.search import DONE, FAILED, PRUNED, SPACE, Trial, search, space_of
from suite.encoder.training.tasks import TrainingError

CONFIG = TrainingConfig(search={"dropout": [0.0, 0.9], "batch_size": [8, 64]})
EVALUATIONS = 6


def quality(config: TrainingConfig) -> float:
    """The best there is has a dropout of 0.6 and batches of 16."""
    return 1 - abs(config.dropout - 0.6) - abs(config.batch_size - 16) / 100


def tune(trial: Trial, config: TrainingConfig, report: Report) -> Progress:
    """A body that gets better at every evaluation, as far as its settings let it."""
    progress = Progress(batches=EVALUATIONS, evaluations=[{"batch": 0, "mean": 0.0}])
    for batch in range(1, EVALUATIONS + 1):
        progress.batch = batch
        progress.evaluations.append({"batch": batch, "mean": quality(config) * batch / EVALUATIONS})
        report(progress)
    return progress


def nothing() -> None:
    return None


def searched(config: TrainingConfig = CONFIG, wanted: int = 30, tune: Any = tune) -> list[Trial]:
    pytest.importorskip("optuna")
    trials: list[Trial] = []
    assert [trial.number for trial in search(config, wanted, trials, tune, nothing)] == list(range(1, wanted + 1))
    return trials


def test_better_settings_are_found_and_bad_trials_are_stopped_early():
    trials = searched()
    assert trials[0].values == {"dropout": CONFIG.dropout, "batch_size": CONFIG.batch_size}
    done = [trial for trial in trials if trial.state == DONE]
    stopped = [trial for trial in trials if trial.state == PRUNED]
    assert len(done) + len(stopped) == len(trials) and len(stopped) >= 5
    assert all(len(trial.means) == EVALUATIONS for trial in done)
    assert all(2 <= len(trial.means) < EVALUATIONS for trial in stopped)
    best = max(done, key=lambda trial: max(trial.means))
    assert max(best.means) > 0.85 > max(trials[0].means)
    for trial in trials:
        assert isinstance(trial.values["batch_size"], int) and 8 <= trial.values["batch_size"] <= 64
        assert 0 <= trial.values["dropout"] <= 0.9
    assert len({json.dumps(trial.values) for trial in trials}) > 20


@pytest.mark.parametrize("change", range(1, 40, 4))
def test_a_search_that_was_killed_goes_on_as_it_would_have(change):
    """Killed when its trials have changed so many times; only what was noted, as JSON, is left of it."""
    pytest.importorskip("optuna")
    noted, left = "[]", change
    trials: list[Trial] = []

    def note() -> None:
        nonlocal noted, left
        noted = json.dumps([asdict(trial) for trial in trials])
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(search(CONFIG, 12, trials, tune, note))
    trials = [Trial(**one) for one in json.loads(noted)]
    assert trials and len(trials) < 12
    list(search(CONFIG, 12, trials, tune, nothing))
    assert trials == searched(wanted=12)


def test_a_trial_that_fails_is_passed_over_and_a_search_of_such_alone_fails():
    def failing(trial: Trial, config: TrainingConfig, report: Report) -> Progress:
        if config.dropout > 0.4:
            raise TrainingError("the loss of shop.moods is not a number any more")
        return tune(trial, config, report)

    trials = searched(wanted=8, tune=failing)
    failed = [trial for trial in trials if trial.state == FAILED]
    assert failed and len(failed) < 8 and all("not a number" in trial.message for trial in failed)
    clash = replace(CONFIG, frozen_layers=2, search={"lora_rank": [0, 8]})
    states = {trial.values["lora_rank"]: trial.state for trial in searched(clash, wanted=4)}
    assert states[0] == DONE and FAILED in states.values()  # adapters do not go with frozen layers
    with pytest.raises(TrainingError, match=r"no trial came through; the last one: the loss of shop\.moods"):
        searched(replace(CONFIG, search={"dropout": [0.5, 0.9]}), wanted=3, tune=failing)


def test_a_value_outside_of_its_range_is_tried_at_the_end_of_it():
    trials = searched(TrainingConfig(search={"learning_rate": [1e-3, 1e-2]}), wanted=2)
    assert trials[0].values == {"learning_rate": 1e-3}


def test_the_declared_space_can_be_searched_and_a_configuration_has_its_own():
    assert space_of(TrainingConfig()) == SPACE
    assert (
        space_of(TrainingConfig(search={name: [one.low, one.high] for name, one in SPACE.items()})).keys()
        == SPACE.keys()
    )
    assert [name for name, one in SPACE.items() if one.is_logarithmic] == ["learning_rate"]
    assert all(one.why for one in SPACE.values())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"search": {"seed": [0, 9]}}, "seed cannot be searched for; the fields are epochs, batch_size"),
        ({"search": {"colour": [0, 9]}}, "colour cannot be searched for"),
        ({"search": {"dropout": [0.5, 0.1]}}, r"dropout must be two numbers \[low, high\] from 0 to 0.9"),
        ({"search": {"dropout": [0.5, 1.5]}}, "dropout must be two numbers"),
        ({"search": {"dropout": 0.5}}, "dropout must be two numbers"),
        ({"search": {"dropout": [0, True]}}, "dropout must be two numbers"),
        ({"search": {"batch_size": [8.5, 16]}}, r"batch_size must be two whole numbers \[low, high\] from 2 to 4096"),
        ({"search": [1]}, "search must be an object of fields"),
        ({"epochs": 0}, "a search needs epochs over 0"),
    ],
)
def test_a_bad_space_is_said(fields, message):
    with pytest.raises(ConfigError, match=message):
        space_of(TrainingConfig.from_mapping(fields))


def test_without_the_package_a_search_is_a_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(TrainingError, match="a search needs the package optuna: install the extra `search`"):
        list(search(CONFIG, 2, [], tune, nothing))
