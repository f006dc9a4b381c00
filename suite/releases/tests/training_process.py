"""Carries training runs out in a process of its own, on the shop of test_training.py: to be killed there.

Arguments: the folders of releases and of runs, and of the body. It writes the number of every batch that it has done.
"""

from __future__ import annotations

import sys
from pathlib import Path

import django

if __name__ == "__main__":
    django.setup()

    from django.conf import settings

    from suite.domain import Domain
    from suite.releases import building, runs, snapshot
    from suite.releases.heads import Examples, HeadDeclaration
    from suite.releases.tests.test_training import LABELS, moods, tasks
    from suite.releases.training_data import TrainingData

    settings.RELEASES_DIR, settings.TRAINING_DIR, settings.ENCODER = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    shop = Domain(label="shop", title="Shop")
    mood = HeadDeclaration("mood", "classification", LABELS, "macro_f1", lambda: Examples(moods(90), moods(60, 1)))
    given = TrainingData(tasks, {"shop.moods": lambda: iter(())})
    setattr(building, "declared", lambda part, constant: [(shop, "mood", mood)])  # noqa: B010
    setattr(snapshot, "providers", lambda: {"shop.moods": (shop, given)})  # noqa: B010
    is_ours = runs.carry_out_requested(report=lambda progress: print(progress.batch, flush=True))
    print("done" if is_ours else "busy", flush=True)
