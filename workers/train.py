"""Long work on releases: promotions and rollbacks that were asked for."""

from suite.celery import app
from suite.releases import promotion


@app.task
def promote() -> None:
    promotion.carry_out_requested()
