"""What finance repeats in the background."""

from __future__ import annotations

from suite.domain import Job

JOBS: dict[str, Job] = {}
