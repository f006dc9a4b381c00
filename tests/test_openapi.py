"""schemathesis over the OpenAPI schema: whatever the schema allows, and much that it does not, no answer is a 500."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from suite.api import api
from tests.project import ROOT, Installation, wait_until
from tests.streams import Desk, news, shop

SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(api.get_openapi_schema())))
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str]]:
    installation = Installation(ROOT, tmp_path_factory.mktemp("openapi") / "state")
    installation.up("--no-sample").wait_for("Suite is ready")
    installation.manage("load", "finance.entities", str(ROOT / "domains" / "finance" / "sample" / "entities.jsonl"))
    key, desk = installation.key(), Desk()
    events = [*shop(), *desk.answers(), *desk.customers(), *news(datetime.now(UTC) - timedelta(hours=6))]
    for start in range(0, len(events), 100):
        assert installation.post(key, events[start : start + 100]).status_code == 202
    wait_until(lambda: installation.query("PendingEvent.objects.count()") == 0, 120, "the streams to be handled")
    yield installation, key
    installation.end()


def test_there_are_operations_to_try() -> None:
    assert "POST /api/events" in OPERATIONS and len(OPERATIONS) >= 30


@pytest.mark.parametrize("label", OPERATIONS)
def test_no_answer_is_a_server_error(label: str, running: tuple[Installation, str]) -> None:
    installation, key = running
    answers = []

    @given(case=OPERATIONS[label].as_strategy())
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    def no_server_error(case: Any) -> None:
        answer = case.call(base_url=installation.address, headers={"Authorization": f"Bearer {key}"})
        answers.append(answer.status_code)
        assert answer.status_code < 500, f"{answer.status_code} for {case.as_curl_command()}: {answer.text[:500]}"

    no_server_error()
    assert answers and not {401, 403} & set(answers), "the key opens it"
