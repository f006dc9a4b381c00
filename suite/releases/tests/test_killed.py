from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from django.db import connection

from suite.events.models import Event
from suite.index.models import DocumentVector, Generation
from suite.releases import promotion, runtime, selectors, services
from suite.releases.models import Promotion

LEASE_SECONDS = 1.0
COUNT = 40


def environment() -> dict[str, str]:
    """For a process that works on this test's database."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        url = f"sqlite://{name}"
    else:
        url = urlsplit(django_settings.DATABASE_URL)._replace(path=f"/{name}").geturl()
    mine = {"SUITE_DATABASE_URL": url, "SUITE_LEASE_SECONDS": str(LEASE_SECONDS)}
    return os.environ | mine | {"DJANGO_SETTINGS_MODULE": "suite.settings"}


@pytest.mark.faults
def test_a_promotion_whose_worker_is_killed_is_taken_up_where_it_was(
    things, engine, releases, tmp_path, settings, monkeypatch
):
    things.write_many(COUNT)
    asked = services.request_promotion(releases[0])
    command = [sys.executable, "-m", "suite.releases.tests.slow_promotion"]
    arguments = [str(tmp_path / "index"), str(settings.RELEASES_DIR), str(COUNT)]
    worker = subprocess.Popen([*command, *arguments], env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None and worker.stdout.readline() == "stands still\n"
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    asked.refresh_from_db()
    assert asked.state == Promotion.State.RUNNING
    assert DocumentVector.objects.count() == 20  # two batches were in
    assert selectors.active() is None
    assert list(selectors.outstanding()) == [asked]  # what the sweep looks at

    settings.LEASE_SECONDS = LEASE_SECONDS
    encoder, encoded = runtime.encoder_for(releases[0].fingerprint), []
    embed = encoder.embed

    def counted(texts):
        encoded.extend(texts)
        return embed(texts)

    monkeypatch.setattr(encoder, "embed", counted)
    started = time.monotonic()
    while asked.state == Promotion.State.RUNNING and time.monotonic() - started < 30:
        promotion.carry_out_requested()  # until the dead worker's leases have run out
        asked.refresh_from_db()
        time.sleep(0.1)
    assert (asked.state, asked.documents_done) == (Promotion.State.DONE, COUNT)
    assert asked.gate["shop.things"]["documents"] == COUNT
    assert len(encoded) == COUNT - 20  # what the dead worker had encoded was not encoded again
    assert Generation.objects.count() == 1
    assert selectors.active() == releases[0]
    assert Event.objects.filter(type="suite.release.promoted").count() == 1
