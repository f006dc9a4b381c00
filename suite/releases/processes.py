"""Training runs are worked on by processes of their own: here one is started where it is needed. No torch in here."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time

from django.conf import settings
from django.utils import timezone

from suite.events.models import JobLease
from suite.releases import selectors
from suite.releases.services import TRAINING_LEASE

log = logging.getLogger(__name__)
WATCH_SECONDS = 1.0

_lock = threading.Lock()
_process: subprocess.Popen[bytes] | None = None


def see_to_training() -> None:
    """Start a process where a run is outstanding and nobody works on it: a new one, or one whose process died."""
    global _process
    with _lock:
        if _process is not None and _process.poll() is None:
            return
        if not selectors.outstanding_runs().exists() or is_worked_on():
            return
        log.info("starting a process for training")
        _process = subprocess.Popen([sys.executable, str(settings.BASE_DIR / "manage.py"), "train", "--requested"])


def is_worked_on() -> bool:
    return JobLease.objects.filter(name=TRAINING_LEASE, leased_until__gte=timezone.now()).exists()


def end_with_parent() -> None:
    """Let this process end when the one that started it does: the run stays where its last checkpoint is."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
