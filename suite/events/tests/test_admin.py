from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from suite.events import auth
from suite.events.ingestion import ingest
from suite.events.models import ApiKey, DeadLetter, Event, PendingEvent
from suite.events.tests.conftest import Trial, note


@pytest.fixture
def operator(trial: Trial) -> Client:
    client = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.create_superuser("operator"))
    return client


def test_every_list_and_page_opens(operator: Client) -> None:
    ingest([note("a", data={"text": "<b>bold</b>"})])
    event = Event.objects.get()
    letter = DeadLetter.objects.create(event=event, channel="handler", reason="Trouble: why")
    for path in ("event/", f"event/{event.pk}/change/", "pendingevent/", "deadletter/",
                 f"deadletter/{letter.pk}/change/", "apikey/", "apikey/add/"):  # fmt: skip
        response = operator.get(f"/admin/events/{path}")
        assert response.status_code == 200, path
        assert b"<b>bold</b>" not in response.content
    assert b"&lt;b&gt;bold" in operator.get(f"/admin/events/event/{event.pk}/change/").content
    assert operator.get("/admin/events/event/add/").status_code == 403


def test_a_key_is_made_shown_once_and_revoked(operator: Client) -> None:
    form = {"name": "shop", "scopes": ["ingest", "read"]}
    page = operator.post("/admin/events/apikey/add/", form, follow=True).content.decode()
    text = re.search(r"suite_[\w-]{40,}", page)
    assert text is not None
    key = auth.valid_key(text[0])
    assert key is not None and key.scopes == ["ingest", "read"]
    assert text[0] not in operator.get("/admin/events/apikey/").content.decode()
    operator.post("/admin/events/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
    assert auth.valid_key(text[0]) is None
    assert ApiKey.objects.get().revoked_at is not None


def test_dead_letters_are_replayed_from_the_list(operator: Client) -> None:
    ingest([note("a")])
    PendingEvent.objects.all().delete()
    letters = [
        DeadLetter.objects.create(event=Event.objects.get(), channel="handler", reason="Trouble"),
        DeadLetter.objects.create(channel="rabbitmq", reason="?", body=b"{nonsense"),
    ]
    chosen = {"action": "replay", "_selected_action": [letter.pk for letter in letters]}
    page = operator.post("/admin/events/deadletter/", chosen, follow=True).content.decode()
    assert "1 replayed." in page and f"Dead letter {letters[1].pk} stays" in page
    assert PendingEvent.objects.get().event.event_id == "a"
