from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from suite.encoder.fake import FakeEncoder
from suite.management.commands import evaluate
from suite.releases import promotion, runtime
from suite.releases.evaluation import Evaluation, EvaluationError, Report, Request
from suite.releases.measures import of_cases
from suite.releases.models import Release
from suite.releases.selectors import NoSuchRelease

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def requests(monkeypatch) -> list[Request]:
    """What the evaluation `shop.things` was asked for."""
    asked: list[Request] = []

    def run(request: Request) -> Report:
        asked.append(request)
        if request.options.get("mood") == "bad":
            raise EvaluationError("things.jsonl: field label is required")
        if request.options.get("mood") == "headless":
            request.encoder().classify("shop.mood", ["x"])
        rivals = {"popularity": {"mrr": 0.25}} if request.has_baselines else {}
        return Report(7, {"mrr": 0.5, "auroc": float("nan")}, "the last one is held out", rivals, {"classes": [1]})

    monkeypatch.setattr(evaluate, "evaluations", lambda: {"shop.things": Evaluation(run)})
    monkeypatch.setattr(runtime, "resolve", lambda name: FakeEncoder(salt=name))
    return asked


@pytest.fixture
def data(tmp_path) -> str:
    (tmp_path / "data.jsonl").write_text("{}\n")
    return str(tmp_path / "data.jsonl")


def test_evaluate_prints_one_object(requests, data, capsys):
    call_command("evaluate", "shop.things", "--data", data, "--baselines", "--release", "ab", "--json")
    answer = json.loads(capsys.readouterr().out)
    assert answer.pop("seconds") >= 0
    assert answer == {
        "name": "shop.things",
        "n": 7,
        "release": FakeEncoder(salt="ab").fingerprint,
        "metrics": {"mrr": 0.5, "auroc": None},
        "baselines": {"popularity": {"mrr": 0.25}},
        "protocol": "the last one is held out",
        "classes": [1],
    }


def test_evaluate_passes_everything_on(requests, data):
    arguments = ["--against", data, data, "--cut", "2011-11-01", "--option", "mood=good"]
    call_command("evaluate", "shop.things", "--data", data, *arguments)
    request = requests[0]
    assert [str(path) for path in (request.data, *request.against)] == [data] * 3
    assert request.cut.isoformat() == "2011-11-01T00:00:00+00:00"
    assert (request.options, request.has_baselines) == ({"mood": "good"}, False)


def test_a_release_that_is_not_there_is_said_before_anything_is_measured(requests, data, monkeypatch):
    def resolve(name: str) -> FakeEncoder:
        raise {"zz": NoSuchRelease, "": OperationalError}[name]("no release begins with 'zz'")

    monkeypatch.setattr(runtime, "resolve", resolve)
    with pytest.raises(CommandError, match="no release begins with 'zz'"):
        call_command("evaluate", "shop.things", "--data", data, "--release", "zz")
    assert not requests
    with pytest.raises(CommandError, match="the database cannot be read"):
        call_command("evaluate", "shop.things", "--data", data)


def test_evaluate_prints_intervals_and_the_active_release_among_the_baselines(monkeypatch, data, capsys):
    """Every case of the one that is measured is right, half of the active one's are."""
    encoders = {name: FakeEncoder(salt=name) for name in ("new", "old")}
    Release.objects.create(
        fingerprint=encoders["old"].fingerprint, path="x", body="tiny", dimensions=3, state=Release.State.ACTIVE
    )

    def run(request: Request) -> Report:
        share = 1 if request.encoder() is encoders["new"] else 2
        cases = {"release": {"mrr": np.arange(200) % share == 0}}
        if request.has_baselines:
            cases["luck"] = {"mrr": np.arange(200) % 10 == 0}
        measure = of_cases({who: {"mrr": given["mrr"].astype(float)} for who, given in cases.items()})
        found = measure(np.arange(200))
        return Report(200, found.pop("release"), "all", found, {}, measure)

    monkeypatch.setattr(evaluate, "evaluations", lambda: {"shop.things": Evaluation(run)})
    monkeypatch.setattr(runtime, "resolve", lambda name: encoders["new"])
    monkeypatch.setattr(runtime, "encoder_for", lambda fingerprint: encoders["old"])
    call_command("evaluate", "shop.things", "--data", data, "--baselines", "--json")
    answer = json.loads(capsys.readouterr().out)
    assert answer["metrics"] == {"mrr": 1.0} and answer["intervals"] == {"mrr": [1.0, 1.0]}
    assert answer["baselines"] == {"active": {"mrr": 0.5}, "luck": {"mrr": 0.1}}
    low, high = answer["baseline_intervals"]["active"]["mrr"]
    assert 0.4 < low < 0.5 < high < 0.6
    assert answer["leads"]["active"]["mrr"] == pytest.approx([1 - high, 1 - low])
    call_command("evaluate", "shop.things", "--data", data)
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["release", "95%", "of", "release"]
    assert lines[4].split() == ["mrr", "1.0000", "1.0000", "to", "1.0000"]


def test_evaluate_prints_a_table_beside_the_rivals(requests, data, capsys):
    call_command("evaluate", "shop.things", "--data", data, "--baselines")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("shop.things, 7 cases, release ")
    assert lines[3].split() == ["release", "popularity"]
    assert lines[4].split() == ["mrr", "0.5000", "0.2500"]
    assert lines[5].split() == ["auroc", "-", "-"]


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["shop.nothing"], "no evaluation 'shop.nothing'; there are: shop.things", 1),
        (["shop.things", "--against", "nowhere.jsonl"], "nowhere.jsonl: there is no such file", 1),
        (["shop.things", "--option", "mood=bad"], "things.jsonl: field label is required", 1),
        (["shop.things", "--option", "mood=headless"], "no head 'shop.mood'; it has: none", 2),
    ],
)
def test_evaluate_says_what_is_wrong(requests, data, arguments, message, status):
    with pytest.raises(CommandError, match=message) as raised:
        call_command("evaluate", *arguments, "--data", data)
    assert raised.value.returncode == status


def test_promote_and_rollback_from_the_command_line(things, engine, releases, capsys):
    things.write_many(5)
    call_command("promote", releases[0].fingerprint[:6], "--wait")
    assert capsys.readouterr().out == f"Release {releases[0].fingerprint} serves\n"
    call_command("promote", releases[1].fingerprint, "--wait", "--json")
    answer = json.loads(capsys.readouterr().out)
    assert (answer["state"], answer["release"], answer["previous"]) == (
        "done",
        releases[1].fingerprint,
        releases[0].fingerprint,
    )
    call_command("rollback", "--wait")
    assert capsys.readouterr().out == f"Release {releases[0].fingerprint} serves\n"


def test_without_wait_a_worker_is_asked(things, engine, releases, capsys):
    call_command("promote", releases[0].fingerprint)
    assert "A worker carries it out" in capsys.readouterr().out
    assert promotion.selectors.outstanding().count() == 1


def test_a_refused_promotion_is_an_error_of_the_command(things, engine, releases):
    releases[0].folder.rename(releases[0].folder.with_name("away"))
    with pytest.raises(CommandError, match=r"Refused, the active release serves on: .*folder is missing"):
        call_command("promote", releases[0].fingerprint, "--wait")
    with pytest.raises(CommandError, match="no release begins with 'xyz'"):
        call_command("promote", "xyz")
    with pytest.raises(CommandError, match="no earlier release"):
        call_command("rollback")


def test_a_web_process_never_loads_torch():
    """What a web process imports: the application, every address, every admin, every domain's pages and API."""
    code = (
        "import sys; import suite.asgi; from django.urls import get_resolver; from django.contrib import admin; "
        "get_resolver().reverse_dict; import suite.releases.admin, suite.releases.services; "
        "heavy = {'torch', 'transformers', 'sklearn', 'suite.encoder.heads'} & sys.modules.keys(); "
        "print(sorted(heavy), len(admin.site._registry) > 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[] True"
