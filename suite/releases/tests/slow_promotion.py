"""Carries promotions out in a process of its own, and never gets past the second batch: to be killed there.

Arguments: the index folder, the releases folder, the number of documents. It writes a line when it stands still.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import django

if __name__ == "__main__":
    django.setup()

    from django.conf import settings

    from suite.index import selectors, services
    from suite.index.collections import Collection
    from suite.index.embedded import EmbeddedEngine
    from suite.releases import gate, promotion, runtime
    from suite.releases.tests.conftest import NAME, Things

    index_folder, releases_folder, count = sys.argv[1:]
    settings.RELEASES_DIR = Path(releases_folder)
    services.BATCH_DOCUMENTS = 10
    engine = EmbeddedEngine(Path(index_folder))
    things = Things()
    things.titles = {f"t{number}": f"thing number {number}" for number in range(int(count))}
    registered = {NAME: Collection(load=things.load, keys=things.keys)}
    for module in (services, gate, promotion):
        setattr(module, "collections", lambda: registered)  # noqa: B010  modules take it, type checkers do not
    for module in (services, selectors, gate):
        setattr(module, "engine", lambda: engine)  # noqa: B010

    encoder = runtime.encoder_for(promotion.selectors.outstanding().values_list("release_id", flat=True)[0])
    embed = encoder.embed
    batches = 0

    def slow(texts):
        global batches
        batches += 1
        if batches == 3:
            print("stands still", flush=True)
            time.sleep(600)
        return embed(texts)

    setattr(encoder, "embed", slow)  # noqa: B010
    promotion.carry_out_requested()
