"""What a worker does with the events of commerce. Light: the rows were written when the events came in, so all that
is left is to tell the index which documents changed and the pages whose list changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import F

from domains.commerce import services
from domains.commerce.documents import COLLECTION, document_key
from domains.commerce.models import Catalogue, Interaction
from domains.commerce.selectors import Person
from suite.domain import Handler
from suite.events.models import Event
from suite.index.services import touch
from suite.live.broadcast import broadcast

HISTORIC = timedelta(days=1)


def index_items(events: Sequence[Event], prepared: Any) -> None:
    """The documents of changed and removed items are to be written again."""
    slugs = catalogue_slugs(events)
    touch(COLLECTION, {document_key(slugs[event.data["catalogue"]], event.data["item_id"]) for event in events})


def tell_pages(events: Sequence[Event], prepared: Any) -> None:
    """Whoever did something sees a new list: by user, and by session. What lay long in the past when it came in, as
    the lines of a file do, is on nobody's screen."""
    topics = set()
    done = Interaction.objects.filter(
        event__in=[event.pk for event in events], timestamp__gte=F("event__received_at") - HISTORIC
    )
    for slug, user, session in done.values_list("catalogue__slug", "user_key", "session_key"):
        people = [Person(user)] if user else []
        people += [Person(session, is_session=True)] if session else []
        topics |= {person.topic(slug) for person in people}
    broadcast(topics)


def catalogue_slugs(events: Sequence[Event]) -> dict[str, str]:
    """The slug behind each catalogue name in the events' data, "" being the first one."""
    ids = services.catalogue_ids(event.data["catalogue"] for event in events)
    slugs = dict(Catalogue.objects.filter(pk__in=ids.values()).values_list("id", "slug"))
    return {name: slugs[catalogue_id] for name, catalogue_id in ids.items()}


HANDLERS = {
    "commerce.item.changed": Handler(index_items),
    "commerce.item.removed": Handler(index_items),
    "commerce.interaction.recorded": Handler(tell_pages),
}
