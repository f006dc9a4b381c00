"""Is every service reachable and every setting sane? One line a check, with the mend where it fails."""

from __future__ import annotations

import json
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import elasticsearch
import redis
from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from suite.celery import app
from suite.events.models import DeadLetter, PendingEvent
from suite.management.plain import PlainCommand
from suite.releases import selectors as releases

FREE_BYTES = 2 * 2**30  # advised for the state folder's disk
SECONDS = 3  # that a service may take to answer


@dataclass(frozen=True, slots=True)
class Finding:
    """`state` is ok, note (works, but know it) or bad; `mend` says what to do about it."""

    name: str
    state: str
    message: str
    mend: str = ""


class Command(PlainCommand):
    help = (
        "Check that every service is reachable and every setting sane. Exit status 1 where something is bad.\n\n"
        "Example:\n  manage.py doctor --json"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="a list of findings on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = list(examine())
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings]))
        else:
            for finding in findings:
                self.stdout.write(f"{finding.state:4}  {finding.name}: {finding.message}")
                if finding.mend:
                    self.stdout.write(f"      {finding.mend}")
        if any(finding.state == "bad" for finding in findings):
            sys.exit(1)


def examine() -> Iterator[Finding]:
    """Every finding; an examination that fails in an unforeseen way is a finding, too."""
    examinations: dict[str, Callable[[], Iterator[Finding]]] = {
        "checks": examine_checks,
        "state folder": examine_state,
        "database": examine_database,
        "broker": examine_broker,
        "Redis": examine_redis,
        "Elasticsearch": examine_elasticsearch,
        "encoder": examine_encoder,
        "events": examine_events,
        "security": examine_security,
    }
    for name, examination in examinations.items():
        try:
            yield from examination()
        except Exception as error:  # each library has its own; the doctor must see every patient
            yield Finding(name, "bad", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


def examine_checks() -> Iterator[Finding]:
    messages = [message for message in checks.run_checks() if message.level >= checks.WARNING]
    for message in messages:
        state = "bad" if message.level >= checks.ERROR else "note"
        yield Finding(str(message.id), state, str(message.msg), str(message.hint or ""))
    if not messages:
        yield Finding("checks", "ok", "every system check passes")


def examine_state() -> Iterator[Finding]:
    folder = settings.STATE_DIR
    probe = folder / ".doctor"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        yield Finding("state folder", "bad", f"{folder} cannot be written ({error.strerror})", "Set SUITE_STATE.")
        return
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        yield Finding("state folder", "note", f"{folder}: {free >> 20:,} MiB free", "Free some disk space.")
    else:
        yield Finding("state folder", "ok", f"{folder}: {free >> 30:,} GiB free")


def examine_database() -> Iterator[Finding]:
    try:
        connection.ensure_connection()
        plan = MigrationExecutor(connection).migration_plan(MigrationExecutor(connection).loader.graph.leaf_nodes())
    except DatabaseError as error:
        mend = "Start it (docker compose up -d postgres), or mend SUITE_DATABASE_URL."
        yield Finding("database", "bad", str(error).splitlines()[0], mend)
        return
    if plan:
        yield Finding("database", "bad", f"{len(plan)} migrations are missing", "Run: manage.py migrate")
    else:
        yield Finding("database", "ok", f"{connection.vendor}, every migration is there")


def examine_broker() -> Iterator[Finding]:
    if settings.IS_EMBEDDED:
        yield Finding("broker", "ok", "in memory, inside the one process")
        return
    try:
        with app.connection_for_write(connect_timeout=SECONDS) as broker:
            broker.ensure_connection(max_retries=1, timeout=SECONDS)
    except Exception as error:  # amqp, socket and kombu errors
        mend = "Start it (docker compose up -d rabbitmq), or mend SUITE_BROKER_URL."
        yield Finding("broker", "bad", f"does not answer ({type(error).__name__})", mend)
        return
    yield Finding("broker", "ok", "RabbitMQ answers")


def examine_redis() -> Iterator[Finding]:
    if not settings.REDIS_URL:
        yield Finding("Redis", "ok", "not used: frames stay inside the one process")
        return
    try:
        redis.Redis.from_url(settings.REDIS_URL, socket_timeout=SECONDS, socket_connect_timeout=SECONDS).ping()
    except redis.RedisError as error:
        mend = "Start it (docker compose up -d redis), or mend SUITE_REDIS_URL."
        yield Finding("Redis", "bad", f"does not answer ({type(error).__name__})", mend)
        return
    yield Finding("Redis", "ok", "answers")


def examine_elasticsearch() -> Iterator[Finding]:
    if not settings.ELASTICSEARCH_URL:
        yield Finding("Elasticsearch", "ok", "not used: candidates come from the embedded engine")
        return
    key = settings.ELASTICSEARCH_API_KEY or None
    mend = "Start it (docker compose up -d elasticsearch), or mend SUITE_ELASTICSEARCH_URL."
    try:
        with elasticsearch.Elasticsearch(
            settings.ELASTICSEARCH_URL, api_key=key, request_timeout=SECONDS, max_retries=0
        ) as client:
            number = str(client.info()["version"]["number"])
    except elasticsearch.ApiError as error:
        yield Finding("Elasticsearch", "bad", f"refuses ({error.status_code})", "Set SUITE_ELASTICSEARCH_API_KEY.")
        return
    except elasticsearch.TransportError as error:
        yield Finding("Elasticsearch", "bad", f"does not answer ({type(error).__name__})", mend)
        return
    if int(number.split(".")[0]) < 9:
        yield Finding("Elasticsearch", "bad", f"is version {number}", "Suite needs version 9.")
    else:
        yield Finding("Elasticsearch", "ok", f"version {number} answers")


def examine_encoder() -> Iterator[Finding]:
    try:
        yield Finding("torch", "ok", version("torch"))
    except PackageNotFoundError:
        yield Finding("torch", "bad", "is not installed", "Run: make run TORCH=cpu (or gpu)")
    release = releases.active()
    if release is None:
        yield Finding("release", "bad", "none is active, so nothing is scored", "Run: manage.py release")
    elif not (settings.RELEASES_DIR / release.path).is_dir():
        mend = "Run this where the worker runs; where it is gone for good, promote another one: manage.py promote"
        yield Finding("release", "note", f"{release} has no checkpoint folder on this machine", mend)
    else:
        yield Finding("release", "ok", f"{release} from {release.body}, {release.dimensions} dimensions")


def examine_events() -> Iterator[Finding]:
    waiting = PendingEvent.objects.filter(work=PendingEvent.HANDLE).count()
    state = "note" if waiting > settings.BACKLOG_LIMIT // 2 else "ok"
    yield Finding("events", state, f"{waiting:,} wait to be handled", "Start more workers." if state == "note" else "")
    letters = DeadLetter.objects.filter(replayed_at=None).count()
    if letters:
        yield Finding("dead letters", "note", f"{letters:,} wait for somebody to look", "Run: manage.py dead-letters")


def examine_security() -> Iterator[Finding]:
    if settings.DEBUG:
        yield Finding(
            "security", "note", "SUITE_DEBUG is on: errors show source code", "Unset it where others can come."
        )
    if not settings.IS_EMBEDDED and not settings.IS_HTTPS:
        yield Finding(
            "security", "note", "SUITE_HTTPS is off: cookies travel in the clear", "Put a TLS proxy before it."
        )
