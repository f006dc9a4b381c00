"""Is it alive, is it ready, how much waits: for a load balancer, an orchestrator and Prometheus.

`live` answers as long as the process does. `ready` names each part that answers depend on and tells one that is still
starting from one that is broken. A broker or an index that is away makes answers late or poorer, not wrong, so the
process stays ready and says "degraded". Nothing here says a secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from suite.events import exchange, selectors
from suite.index.models import Collection, Generation
from suite.releases.models import Release

OK, STARTING, BROKEN, DEGRADED = "ok", "starting", "broken", "degraded"
BROKER_SECONDS = 5.0  # how old what is known of the broker may be

State = tuple[str, str]  # how a part is, and why
_broker: tuple[float, State] = (0.0, (OK, ""))
_are_migrations_done = False


def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": OK})


def ready(request: HttpRequest) -> JsonResponse:
    """200 where requests can be answered, else 503; `parts` says of each part how it is and why."""
    parts: dict[str, State] = {"database": database()}
    if parts["database"][0] == OK:
        checks: dict[str, Callable[[], State]] = {"migrations": migrations, "release": release, "index": index}
        for name, check in checks.items():
            parts[name] = check()
            if name == "migrations" and parts[name][0] != OK:
                break
    parts["broker"] = broker()
    states = {state for state, _ in parts.values()}
    status = next((state for state in (BROKEN, STARTING, DEGRADED) if state in states), OK)
    body = {
        "status": status,
        "parts": {name: {"status": state, "reason": reason} for name, (state, reason) in parts.items()},
    }
    return JsonResponse(body, status=503 if status in {BROKEN, STARTING} else 200)


def database() -> State:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError) as error:
        connection.close_if_unusable_or_obsolete()
        return BROKEN, f"does not answer ({type(error).__name__})"
    return OK, ""


def migrations() -> State:
    """Asked until they are done, then never again: no migration is undone under a running process."""
    global _are_migrations_done
    if not _are_migrations_done:
        executor = MigrationExecutor(connection)
        waiting = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if waiting:
            return STARTING, f"{waiting} migrations are not applied yet: run manage.py migrate"
        _are_migrations_done = True
    return OK, ""


def release() -> State:
    if Release.objects.filter(state=Release.State.ACTIVE).exists():
        return OK, ""
    return STARTING, "there is no active release yet: manage.py release makes the first one"


def index() -> State:
    """Each collection that has documents needs an active generation; one that could not be synchronised says why."""
    generations = Generation.objects.filter(state=Generation.State.ACTIVE)
    missing = Collection.objects.filter(last_sequence__gt=0).exclude(pk__in=generations.values("collection"))
    if missing.exists():
        return STARTING, f"is being built for {', '.join(missing.values_list('name', flat=True))}"
    if generations.exclude(last_error="").exists():
        return DEGRADED, "cannot be synchronised now; answers are from what it holds"
    return OK, ""


def broker() -> State:
    """Without a broker work is found by the sweep, a moment later."""
    global _broker
    asked_at, state = _broker
    if settings.IS_EMBEDDED:
        return OK, "in this process"
    if time.monotonic() - asked_at > BROKER_SECONDS:
        link = exchange.connection()
        try:
            with link:
                link.ensure_connection(max_retries=1, timeout=1)
            state = OK, ""
        except exchange.broker_errors(link) as error:
            state = DEGRADED, f"RabbitMQ does not answer ({type(error).__name__}); work waits in the database"
        _broker = (time.monotonic(), state)
    return state


def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)


class StreamCollector(Collector):
    """The state of the event stream, read from the database when Prometheus asks."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            yield from list(stream_metrics())
            is_up = 1
        except (DatabaseError, InterfaceError):
            connection.close_if_unusable_or_obsolete()
            is_up = 0
        yield GaugeMetricFamily("suite_database_up", "Whether the database answers", is_up)


def stream_metrics() -> Iterator[Metric]:
    backlog = GaugeMetricFamily("suite_backlog_events", "Events with work outstanding", labels=["work"])
    age = GaugeMetricFamily("suite_oldest_outstanding_seconds", "Age of the oldest outstanding work", labels=["work"])
    for work, count in selectors.outstanding().items():
        backlog.add_metric([work], count)
        age.add_metric([work], selectors.oldest_outstanding_seconds(work))
    yield backlog
    yield age
    yield CounterMetricFamily("suite_handled_events", "Events handled", selectors.handled_total())
    yield GaugeMetricFamily(
        "suite_handled_events_per_second", "Events handled a second, last minute", selectors.handled_per_second()
    )
    yield GaugeMetricFamily("suite_dead_letters", "Dead letters not replayed", selectors.open_dead_letters())
    yield GaugeMetricFamily("suite_last_sequence", "Sequence of the newest event", selectors.last_sequence())
    lag = GaugeMetricFamily(
        "suite_index_lag_changes", "Document changes that the active generation lacks", labels=["collection"]
    )
    behind = Generation.objects.filter(state=Generation.State.ACTIVE).annotate(
        lag=F("collection__last_sequence") - F("synced_sequence")
    )
    for name, count in behind.values_list("collection", "lag"):
        lag.add_metric([name], count)
    yield lag


REGISTRY.register(StreamCollector())
