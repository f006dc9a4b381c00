"""Long work on releases: promotions and rollbacks that were asked for, shadows, and the processes that train."""

from suite.celery import app
from suite.releases import processes, promotion
from suite.releases.shadow import score_live_traffic


@app.task
def promote() -> None:
    promotion.carry_out_requested()


@app.task
def train() -> None:
    processes.see_to_training()


@app.task
def shadow() -> None:
    score_live_traffic()
