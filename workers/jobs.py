"""Repeated jobs, and what a lost wake-up left of releases."""

from suite import jobs
from suite.celery import app
from suite.labelling import listing
from suite.labelling import selectors as labelling
from suite.labelling.services import ring as ring_labelling
from suite.releases import selectors, services


@app.task
def sweep() -> None:
    if selectors.outstanding().exists():
        services.ring()
    if selectors.outstanding_runs().exists():
        services.ring_training()
    if selectors.running_shadow():
        services.ring_shadow()
    if labelling.wanted().exists():
        ring_labelling()
    for name in jobs.due():
        run.delay(name)


@app.task
def run(name: str) -> None:
    jobs.run(name)


@app.task
def list_examples() -> None:
    listing.make_wanted()
