"""How many conversations one address may begin."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from redis.exceptions import RedisError

from domains.support import visitors
from domains.support.models import Conversation

pytestmark = pytest.mark.django_db
BEGUN = {"text": "Where is my order?"}


@pytest.fixture(autouse=True)
def first_minutes(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Three conversations may be begun, and the hour has 47 minutes and a second left."""
    settings.STARTS_AN_HOUR = 3
    monkeypatch.setattr(visitors, "SALT", uuid.uuid4().hex)  # nothing is counted under it yet
    monkeypatch.setattr(visitors, "time", SimpleNamespace(time=lambda: 500_000 * visitors.HOUR + 12 * 60 + 59))


def test_who_began_too_many_is_told_when_to_try_again(client: Client) -> None:
    near = ["2001:db8::1", "2001:db8::2", "2001:db8::3:4"]  # of one household
    assert [client.post("/support/chat/", BEGUN, REMOTE_ADDR=one).status_code for one in near] == [302] * 3
    assert client.post("/support/chat/", {"text": " "}, REMOTE_ADDR=near[0]).status_code == 422
    refused = client.post("/support/chat/", {"text": "A long <question>"}, REMOTE_ADDR="2001:db8::5")
    assert (refused.status_code, refused["Retry-After"]) == (429, str(47 * 60 + 1))
    assert "again in 48 min." in refused.text and "A long &lt;question&gt;" in refused.text
    assert "frame-ancestors" in refused["Content-Security-Policy"]
    assert client.post("/support/chat/", BEGUN, REMOTE_ADDR="2001:db8:0:1::1").status_code == 302
    assert Conversation.objects.count() == 4


def test_the_next_hour_counts_anew(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [client.post("/support/chat/", BEGUN).status_code for _ in range(4)] == [302, 302, 302, 429]
    monkeypatch.setattr(visitors, "time", SimpleNamespace(time=lambda: 500_001 * visitors.HOUR))
    assert client.post("/support/chat/", BEGUN).status_code == 302


def test_nobody_is_turned_away_where_there_is_no_limit_or_no_count(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STARTS_AN_HOUR = 0
    assert [client.post("/support/chat/", BEGUN).status_code for _ in range(4)] == [302] * 4
    settings.STARTS_AN_HOUR = 3
    assert client.post("/support/chat/", BEGUN).status_code == 429

    def cut(*args: Any) -> None:
        raise RedisError

    monkeypatch.setattr(visitors.cache, "incr", cut)
    assert client.post("/support/chat/", BEGUN).status_code == 302
