"""Long work on releases: promotions and rollbacks that were asked for, and the processes that train."""

from suite.celery import app
from suite.releases import processes, promotion


@app.task
def promote() -> None:
    promotion.carry_out_requested()


@app.task
def train() -> None:
    processes.see_to_training()
