"""What the suite concludes goes to the exchange, where RabbitMQ is in use. The mark is removed after the broker's word
that it has the message: an event may be sent twice, and never gets lost; (source, id) tells the second from the first.
"""

from __future__ import annotations

import json
import logging

from django.conf import settings

from suite.events.exchange import CONTENT_TYPE, EVENTS, broker_errors, connection
from suite.events.leases import claimed, postpone
from suite.events.models import PendingEvent
from suite.events.selectors import as_cloud_event

log = logging.getLogger(__name__)
AT_ONCE = 100
WAIT_SECONDS = 5.0  # before the next try where the broker does not answer


def publish_pending() -> int:
    """Publish what waits, oldest first; returns how much was published. A broker that is down delays, no more."""
    published = 0
    while done := publish_batch():
        published += done
    return published


def publish_batch() -> int:
    """Claim some outstanding events and publish them; returns how many the broker has taken."""
    if settings.IS_EMBEDDED:
        return 0
    with claimed(PendingEvent.PUBLISH, AT_ONCE) as claim:
        if not claim.marks:
            return 0
        broker = connection()
        try:
            with broker, broker.Producer() as producer:
                for mark in claim.marks:
                    event = mark.event
                    producer.publish(
                        json.dumps(as_cloud_event(event)).encode(),
                        exchange=EVENTS,
                        routing_key=event.type,
                        declare=[EVENTS],
                        content_type=CONTENT_TYPE,
                        content_encoding="utf-8",
                        message_id=f"{event.source}/{event.event_id}"[:255],
                        delivery_mode=2,  # persistent
                    )
                    PendingEvent.objects.filter(pk=mark.pk, lease=claim.lease).delete()
        except broker_errors(broker) as error:
            log.warning("events were not published (%s); they wait", type(error).__name__)
            postpone(claim.lease, WAIT_SECONDS)
            return 0
    return len(claim.marks)
