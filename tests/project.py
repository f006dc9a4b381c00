"""Copies of the project to change, and real processes of it to kill."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
from django.conf import settings

ROOT: Path = settings.BASE_DIR
SERVICES = ("SUITE_DATABASE_URL", "SUITE_BROKER_URL", "SUITE_REDIS_URL", "SUITE_ELASTICSEARCH_URL")
START_SECONDS = 480.0  # a first start makes a release
# Answers expressions, a line each. Every one is evaluated by a child that has seen nothing before: as fresh as
# a new process, without the seconds that its imports would take from what is being watched.
QUESTIONS = """
import django, json, os, sys, traceback
from django.apps import apps
django.setup()
globals().update({model.__name__: model for model in apps.get_models()})
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            answer = json.dumps({"value": eval(json.loads(line), globals())})
        except BaseException:
            answer = json.dumps({"error": traceback.format_exc()})
        print(answer, file=answers, flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(json.dumps({"error": "the child died"}), file=answers, flush=True)
"""


def copy_project(folder: Path, *, is_with_tally: bool = False) -> Path:
    """The project in `folder`, without tests; with the domain of tests/tally where asked for."""
    ignored = shutil.ignore_patterns("__pycache__", "tests", "var")
    for name in ("suite", "domains", "workers", "templates", "static", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("manage.py", ".importlinter"):
        shutil.copy(ROOT / name, folder)
    if is_with_tally:
        shutil.copytree(ROOT / "tests" / "tally", folder / "domains" / "tally", ignore=ignored)
        Installation(folder, folder / "var").manage("makemigrations", "tally")
    return folder


def wait_until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    """Fails with `what` where it does not become so in time. The time only bounds a hang; nothing is measured."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def new_database(purpose: str) -> Iterator[str]:
    """The address of a new, empty database on the PostgreSQL server under test."""
    url = os.environ["SUITE_DATABASE_URL"]
    name = f"suite_{purpose}{os.environ.get('SUITE_TEST_ID', '')}".lower()
    drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(drop)
        server.execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(url, autocommit=True) as server:  # another one: a test may have killed the server
            server.execute(drop)


def remove_indices(url: str, prefix: str) -> None:
    """Remove what a test has left in Elasticsearch."""
    for name in httpx.get(f"{url}/_cat/indices/{prefix}*?h=index").text.split():
        httpx.delete(f"{url}/{name}")


class Process:
    """One real process, its output gathered line by line."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        atexit.register(self.kill)  # whatever becomes of the test, nothing is left running
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of the pattern in the output; fails where the process ends without one."""
        deadline = time.monotonic() + START_SECONDS
        while (found := re.search(pattern, self.output)) is None:
            assert self.process.poll() is None, f"ended ({self.process.returncode}):\n{self.output}"
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.output}"
            time.sleep(0.05)
        return found

    def kill(self) -> None:
        """As a power cut would: the process and its children, without a word."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(timeout=120)
        self.reader.join(timeout=5)
        return status


class Installation:
    """A project folder with a state folder of its own, and no service unless `environment` names it."""

    def __init__(self, folder: Path, state: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.state = state
        self.environment = {name: value for name, value in os.environ.items() if name not in SERVICES} | {
            "SUITE_STATE": str(state),
            "OMP_NUM_THREADS": "1",
            **(environment or {}),
        }
        self.address = ""
        self.processes: list[Process] = []
        self.questions: subprocess.Popen[str] | None = None  # the process that answers `query`

    def run(self, *arguments: str, **more: str) -> Process:
        """`python ARGUMENTS...` in the background."""
        process = Process([sys.executable, *arguments], self.folder, {**self.environment, **more})
        self.processes.append(process)
        return process

    def up(self, *arguments: str) -> Process:
        """`manage.py up` on a free port; returns when its pages can be asked for."""
        process = self.run("manage.py", "up", "--port", "0", *arguments)
        self.address = process.wait_for(r"Pages are at (http://\S+)")[1]
        return process

    def web(self) -> Process:
        """The web process of the full stack, alone."""
        port = self.address.rsplit(":", 1)[-1] or str(free_port())
        self.address = f"http://127.0.0.1:{port}"
        return self.run("-m", "uvicorn", "suite.asgi:application", "--port", port, "--lifespan", "off")

    def worker(self, *queues: str, pool: str = "prefork") -> Process:
        """A Celery worker of the full stack for some of the queues."""
        names = ",".join(f"suite.{name}" for name in queues)
        node = f"{'-'.join(queues)}-{len(self.processes)}@%h"  # two of one name shut each other out
        options = ("-n", node, "-Q", names, "-P", pool, "-c", "2", "--without-mingle", "--without-gossip")
        return self.run("-m", "celery", "-A", "suite.celery", "worker", *options)

    def beat(self) -> Process:
        return self.run("-m", "celery", "-A", "suite.celery", "beat", "--schedule", str(self.state / "beat"))

    def manage(self, *arguments: str) -> str:
        """Standard output of one command; fails where it fails."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def query(self, code: str) -> Any:
        """The value of a Python expression in the project, with every model at hand by its name."""
        if self.questions is None:
            environment = {**self.environment, "DJANGO_SETTINGS_MODULE": "suite.settings"}
            command = [sys.executable, "-c", QUESTIONS]
            self.questions = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            atexit.register(self.questions.kill)
        questions = self.questions
        assert questions is not None and questions.stdin is not None and questions.stdout is not None
        print(json.dumps(code), file=questions.stdin, flush=True)
        answer = json.loads(questions.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def key(self) -> str:
        return self.manage(
            "api-key", "create", f"test-{time.monotonic_ns()}", "--scope", "ingest,recommend,suggest,read"
        ).strip()

    def post(self, key: str, events: Iterable[Mapping[str, Any]]) -> httpx.Response:
        return httpx.post(
            f"{self.address}/api/events",
            json=list(events),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"},
            timeout=30,
        )

    def end(self) -> None:
        for process in self.processes:
            process.kill()
        if self.questions is not None:
            self.questions.kill()
            self.questions.wait()
            self.questions = None
