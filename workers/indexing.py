"""Bring the candidates to the end of what changed."""

from suite.celery import app
from suite.index import services
from suite.releases import runtime, selectors


@app.task
def synchronise() -> None:
    if release := selectors.active():
        services.ensure_generations(release.fingerprint, release.dimensions)
    services.synchronise(lambda fingerprint: runtime.encoder_for(fingerprint).embed)


@app.task
def tidy() -> None:
    services.tidy()
