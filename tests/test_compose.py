"""docker-compose.yml keeps its shape and its promises, checked without a Docker engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from django.conf import settings

ROOT: Path = settings.BASE_DIR
OURS = {"web", "worker", "scorer-cpu", "scorer-gpu", "trainer", "trainer-gpu", "beat", "consumer", "migrate"}
SERVICES = {"postgres", "rabbitmq", "redis", "elasticsearch"}

DURATION = {"type": "string", "pattern": r"^\d+(s|m|h)$"}
COMMAND = {"type": "array", "items": {"type": "string"}, "minItems": 1}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["services", "volumes"],
    "patternProperties": {"^x-": {}},
    "properties": {
        "services": {"type": "object", "additionalProperties": {"$ref": "#/$defs/service"}},
        "volumes": {"type": "object", "additionalProperties": {"type": ["object", "null"]}},
    },
    "additionalProperties": False,
    "$defs": {
        "service": {
            "type": "object",
            "required": ["image", "logging", "restart", "deploy"],
            "properties": {
                "image": {"type": "string", "pattern": r"^[a-z]+(:[\w.-]+)?$"},
                "build": {"type": "object", "required": ["context"]},
                "hostname": {"type": "string"},
                "environment": {"type": "object", "additionalProperties": {"type": "string"}},
                "command": COMMAND,
                "volumes": {"type": "array", "items": {"type": "string", "pattern": r"^[a-z]+:/[\w/.-]+$"}},
                "ports": {"type": "array", "items": {"type": "string", "pattern": r":\d+$"}},
                "profiles": {"type": "array", "items": {"enum": ["cpu", "gpu"]}},
                "depends_on": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "required": ["condition"],
                        "properties": {"condition": {"enum": ["service_healthy", "service_completed_successfully"]}},
                        "additionalProperties": False,
                    },
                },
                "healthcheck": {
                    "type": "object",
                    "required": ["test", "interval", "timeout"],
                    "properties": {
                        "test": COMMAND,
                        "interval": DURATION,
                        "timeout": DURATION,
                        "start_period": DURATION,
                        "retries": {"type": "integer"},
                    },
                    "additionalProperties": False,
                },
                "restart": {"enum": ["no", "unless-stopped"]},
                "stop_grace_period": DURATION,
                "ulimits": {"type": "object"},
                "logging": {"type": "object", "required": ["driver", "options"]},
                "deploy": {
                    "type": "object",
                    "required": ["resources"],
                    "properties": {
                        "resources": {
                            "type": "object",
                            "required": ["limits"],
                            "properties": {
                                "limits": {
                                    "type": "object",
                                    "required": ["cpus", "memory"],
                                    "properties": {
                                        "cpus": {"type": "string"},
                                        "memory": {"type": "string", "pattern": r"^\d+[MG]$"},
                                    },
                                    "additionalProperties": False,
                                },
                                "reservations": {"type": "object"},
                            },
                            "additionalProperties": False,
                        }
                    },
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        }
    },
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_it_has_the_shape_of_a_compose_file(compose: dict[str, Any]) -> None:
    jsonschema.validate(compose, SCHEMA)


def test_the_schema_refuses_what_is_wrong(compose: dict[str, Any]) -> None:
    web = compose["services"]["web"]
    for wrong in ({"helthcheck": {}}, {"image": "No Image"}, {"deploy": {}}, {"command": "a string"}):
        broken = {**compose, "services": {"web": {**web, **wrong}}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_every_process_is_there(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == OURS | SERVICES


def test_whatever_a_service_waits_for_exists_and_can_become_healthy(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for other, wait in service.get("depends_on", {}).items():
            waited_for = compose["services"][other]
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in waited_for, f"{name} waits for {other}"
            assert not waited_for.get("profiles"), f"{name} waits for {other}, which a profile may leave out"


def test_every_lasting_process_has_a_health_check(compose: dict[str, Any]) -> None:
    lasting = {name for name, service in compose["services"].items() if service["restart"] == "unless-stopped"}
    assert lasting == (OURS | SERVICES) - {"migrate"}
    assert all("healthcheck" in compose["services"][name] for name in lasting)


def test_every_named_volume_is_declared(compose: dict[str, Any]) -> None:
    used = {volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", [])}
    assert used == set(compose["volumes"])


def test_every_queue_has_a_worker_in_both_profiles(compose: dict[str, Any]) -> None:
    for profile in ("cpu", "gpu"):
        queues = [
            queue
            for service in compose["services"].values()
            if "-Q" in service.get("command", []) and profile in service.get("profiles", [profile])
            for queue in service["command"][service["command"].index("-Q") + 1].split(",")
        ]
        assert sorted(queues) == sorted(f"suite.{name}" for name in settings.QUEUES)


def test_no_secret_has_a_value_or_a_default(compose: dict[str, Any]) -> None:
    secret_names = re.compile(r"PASS|SECRET|KEY|_URL")
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if not secret_names.search(variable):
                continue
            secrets = re.findall(r"\$\{\w*(?:PASSWORD|SECRET|KEY)\w*:\?[^}]+\}", value)
            without = re.sub(r"\$\{[^}]*\}", "", value)
            assert secrets or not re.search(r"//[^/@]*:[^/@]+@", value), f"{name}: {variable} holds a password"
            if not variable.endswith("_URL"):
                assert secrets and not without, f"{name}: {variable} must be required, without a default"


def test_every_variable_it_needs_stands_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    example = dict(
        line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if re.match(r"^\w+=", line)
    )
    assert required <= example.keys()
    assert not any(example[name] for name in required), "a secret in the example would be used as it is"


def test_every_setting_it_gives_exists(compose: dict[str, Any]) -> None:
    known = set(re.findall(r'"(SUITE_\w+)"', (ROOT / "suite" / "settings.py").read_text()))
    known |= {f"{name}_FILE" for name in known}
    given = {
        variable
        for name in OURS
        for variable in compose["services"][name]["environment"]
        if variable.startswith("SUITE_")
    }
    assert given and given <= known
