"""Celery's worker and beat, and RabbitMQ's consumer where there is a RabbitMQ, as threads of this process: what
`manage.py up` runs beside the web server.

Each kind of work (a queue of `settings.QUEUES`) has threads of its own, so a long job never delays a click. Nothing
here has to survive: work is rows, and whoever is killed leaves a lease that runs out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from celery import beat
from celery.concurrency.base import BasePool, apply_target
from celery.worker import WorkController
from django.conf import settings
from django.utils.module_loading import import_string

from suite.celery import app

THREADS = {"interactive": 2}  # of a queue; one where it is not named


class QueueThreads(BasePool):
    """A Celery pool with threads for each queue; the queue is the second word of the task's name."""

    body_can_be_buffer = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.executors = {name: ThreadPoolExecutor(THREADS.get(name, 1), f"worker-{name}") for name in settings.QUEUES}
        self.running: set[Future[Any]] = set()

    def on_apply(  # type: ignore[override]
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> Future[Any]:
        queue = str(args[0]).split(".")[1]  # args[0] is the task's name, workers.<queue>.<function>
        future = self.executors[queue].submit(apply_target, target, args, kwargs, callback, accept_callback)
        self.running.add(future)
        future.add_done_callback(self.running.discard)
        return future

    def on_stop(self) -> None:
        for executor in self.executors.values():
            executor.shutdown(wait=False, cancel_futures=True)


class EmbeddedWorkers:
    """The workers of one process. `start()` returns at once; `stop()` waits a bounded time."""

    def __init__(self) -> None:
        # No prefetch limit: a queue that waits behind a long job must not use up the window of the others.
        self.controller = WorkController(
            app=app,
            pool_cls=QueueThreads,
            concurrency=1,
            prefetch_multiplier=0,
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
        )
        self.beat = beat.Service(app, scheduler_cls=beat.Scheduler)  # intervals only: nothing to keep on disk
        self.threads = [
            threading.Thread(target=self.controller.start, name="worker", daemon=True),
            threading.Thread(target=self.beat.start, name="beat", daemon=True),
        ]
        self.consumer = None if settings.IS_EMBEDDED else import_string("workers.consumer.EventConsumer")()
        if self.consumer is not None:
            self.threads.append(threading.Thread(target=self.consumer.run, name="consumer", daemon=True))

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """Take no more work and wait up to `seconds` for what runs; True where nothing is left running."""
        deadline = time.monotonic() + seconds
        self.beat.stop()
        if self.consumer is not None:
            self.consumer.stop()
        self.controller.stop()
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        pool = self.controller.pool
        while isinstance(pool, QueueThreads) and pool.running and time.monotonic() < deadline:
            time.sleep(0.05)
        return not (isinstance(pool, QueueThreads) and pool.running)
