"""Handle outstanding events, and publish what the suite concludes."""

from suite.celery import app
from suite.events import doorbell, handling, publishing
from suite.events.database import UNAVAILABLE
from suite.events.leases import is_due
from suite.events.models import PendingEvent

TURN_SECONDS = 20.0  # a task ends before its message grows old; the next one goes on


@app.task(throws=UNAVAILABLE)
def handle_pending() -> None:
    handling.handle_pending(TURN_SECONDS)
    if is_due(PendingEvent.HANDLE):
        doorbell.ring_events()


@app.task(throws=UNAVAILABLE)
def publish_pending() -> None:
    publishing.publish_pending()


@app.task(throws=UNAVAILABLE)
def sweep() -> None:
    """What a lost wake-up left, and what nobody rings for."""
    handling.fold_batches()
    publishing.publish_pending()
    handle_pending()
