"""Handle outstanding events."""

from suite.celery import app
from suite.events import handling


@app.task
def handle_pending() -> None:
    handling.handle_pending()


@app.task
def sweep() -> None:
    handling.handle_pending()
