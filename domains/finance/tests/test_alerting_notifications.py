"""Who is told: once, in groups, again after a while, never of what is silenced, and whatever is killed in between."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from domains.finance.alerting import ledger, notifications, outlets, services
from domains.finance.models import Alert, AlertRule, Channel, Entity, Notification

pytestmark = pytest.mark.django_db(transaction=True)
FIGURES = {"value": 10.0, "stories": 10, "negative": 2.5, "neutral": 3.75, "positive": 3.75, "from": 0, "to": 900}


class Receiver:
    """Keeps what it took in by its key, as a receiver does that takes no message twice."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.tries: list[str] = []
        self.taken: dict[str, dict[str, Any]] = {}
        self.statuses: list[int] = []  # to answer first

    def hear(self, key: str, body: dict[str, Any]) -> int:
        self.tries.append(key)
        if self.statuses:
            return self.statuses.pop(0)
        assert self.taken.setdefault(key, body) == body  # the same key always brings the same message
        return 200


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.PRIVATE_NETWORKS = [ipaddress.ip_network("127.0.0.0/8")]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(found.hear(self.headers["Idempotency-Key"], body))
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def channel(receiver: Receiver) -> Channel:
    return Channel.objects.create(name="desk", target=receiver.address, group_wait_seconds=0)


def fire(symbol: str = "ACME", rule_name: str = "Busy", severity: str = "warning", **more: Any) -> Alert:
    entity, _ = Entity.objects.get_or_create(symbol=symbol, defaults={"name": symbol.title()})
    rule, _ = AlertRule.objects.get_or_create(name=rule_name, defaults={"metric": "volume", "threshold": 10})
    now = timezone.now()
    with transaction.atomic():
        alert = Alert.objects.create(
            rule=rule, rule_name=rule.name, rule_version=1, spec={}, severity=severity, group_key=f"{entity.pk}/",
            entity=entity, started_at=now, fired_at=now, decided_at=now, figures=FIGURES, seen=[], why="10 stories",
            **more,
        )  # fmt: skip
        ledger.tell([alert], [])
    return alert


def resolve(alert: Alert) -> None:
    with transaction.atomic():
        ledger.close_alert(alert, int(timezone.now().timestamp()))
        ledger.tell([], [alert])


def later(**span: float) -> datetime:
    return timezone.now() + timedelta(**span)


def told(receiver: Receiver) -> list[list[tuple[str, str]]]:
    return [
        [(alert["labels"]["entity"], alert["status"]) for alert in body["alerts"]] for body in receiver.taken.values()
    ]


def test_a_webhook_gets_alertmanager_s_format(channel: Channel, receiver: Receiver) -> None:
    alert = fire()
    assert notifications.deliver(later(seconds=1)) == 1
    [body] = receiver.taken.values()
    assert (body["version"], body["status"], body["receiver"]) == ("4", "firing", "desk")
    assert body["commonLabels"] == {"alertname": "Busy", "severity": "warning", "entity": "ACME"}
    [one] = body["alerts"]
    assert (one["status"], one["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert one["annotations"] == {"summary": "10 stories", "alert_id": str(alert.pk)}
    assert one["generatorURL"] == f"http://localhost:8000/finance/alerts/{alert.pk}/"
    assert {"groupKey", "truncatedAlerts", "groupLabels", "commonAnnotations", "externalURL"} <= body.keys()
    assert Notification.objects.get().state == "sent"
    assert notifications.deliver(later(hours=1)) == 0


def test_alerts_close_together_are_one_notification(channel: Channel, receiver: Receiver) -> None:
    channel.group_wait_seconds = 30
    channel.save()
    fire("ACME")
    fire("BOLT")
    fire("COIL", rule_name="Other")
    assert notifications.deliver(later(seconds=10)) == 0
    assert notifications.deliver(later(seconds=31)) == 2
    assert told(receiver) == [[("ACME", "firing"), ("BOLT", "firing")], [("COIL", "firing")]]


@pytest.mark.parametrize(("group_by", "count"), [("rule", 2), ("entity", 2), ("topic", 1), ("alert", 3), ("all", 1)])
def test_a_channel_chooses_its_groups(channel: Channel, receiver: Receiver, group_by: str, count: int) -> None:
    channel.group_by = group_by
    channel.save()
    fire("ACME", "Busy")
    fire("BOLT", "Busy")
    fire("BOLT", "Other")
    assert notifications.deliver(later(seconds=1)) == count


def test_a_resolved_alert_is_told_to_those_who_were_told_that_it_fired(channel: Channel, receiver: Receiver) -> None:
    alert = fire()
    notifications.deliver(later(seconds=1))
    resolve(alert)
    notifications.deliver(later(seconds=1))
    assert told(receiver) == [[("ACME", "firing")], [("ACME", "resolved")]]


def test_resolved_never_comes_before_firing(channel: Channel, receiver: Receiver) -> None:
    receiver.statuses = [503] * 3
    alert = fire()
    notifications.deliver(later(seconds=1))
    resolve(alert)
    for minutes in range(0, 40, 2):
        notifications.deliver(later(minutes=minutes, seconds=2))
    assert told(receiver) == [[("ACME", "firing")], [("ACME", "resolved")]]
    assert set(Notification.objects.values_list("state", flat=True)) == {"sent"}


def test_nobody_is_told_of_what_was_over_before(channel: Channel, receiver: Receiver) -> None:
    resolve(fire())
    notifications.deliver(later(seconds=1))
    assert receiver.taken == {}
    row = Notification.objects.get()
    assert (row.state, "resolved before anybody was told" in row.response) == ("suppressed", True)


def test_a_channel_has_a_least_severity(channel: Channel, receiver: Receiver) -> None:
    channel.least_severity = "critical"
    channel.save()
    fire("ACME", severity="warning")
    fire("BOLT", severity="critical")
    notifications.deliver(later(seconds=1))
    assert told(receiver) == [[("BOLT", "firing")]]


def test_what_still_fires_is_told_again_after_a_while_and_once(channel: Channel, receiver: Receiver) -> None:
    fire()
    notifications.deliver(later(seconds=1))
    notifications.remind(later(hours=3))
    assert notifications.deliver(later(hours=3)) == 0
    for _ in range(3):
        notifications.remind(later(hours=4, seconds=5))
    assert notifications.deliver(later(hours=4, seconds=6)) == 1
    assert told(receiver) == [[("ACME", "firing")]] * 2


def test_what_somebody_took_on_is_not_told_again_until_that_ends(channel: Channel, receiver: Receiver) -> None:
    alert = fire()
    notifications.deliver(later(seconds=1))
    services.acknowledge(alert.pk, by="ann", until=later(hours=6))
    notifications.remind(later(hours=5))
    assert notifications.deliver(later(hours=5)) == 0
    notifications.remind(later(hours=7))
    assert notifications.deliver(later(hours=7)) == 1


def test_a_silence_suppresses_and_says_so_and_what_fires_after_it_is_told(channel: Channel, receiver: Receiver) -> None:
    alert = fire()
    services.silence(by="ann", until=later(hours=1), reason="known", entity=alert.entity)
    notifications.deliver(later(seconds=1))
    assert receiver.taken == {}
    row = Notification.objects.get()
    assert row.state == "suppressed"
    assert row.response == f"alert {alert.pk}: silenced by ann (known)"
    notifications.remind(later(minutes=30))
    assert Notification.objects.count() == 1
    notifications.remind(later(minutes=61))
    notifications.deliver(later(minutes=61))
    assert told(receiver) == [[("ACME", "firing")]]


def test_one_silenced_alert_leaves_its_group_and_is_named(channel: Channel, receiver: Receiver) -> None:
    silenced, other = fire("ACME"), fire("BOLT")
    services.silence(by="ann", until=later(hours=1), reason="known", entity=silenced.entity)
    notifications.deliver(later(seconds=1))
    assert told(receiver) == [[("BOLT", "firing")]]
    row = Notification.objects.get()
    assert list(row.alerts.all()) == [other]
    assert f"alert {silenced.pk}: silenced by ann" in row.left_out


def test_a_receiver_that_is_down_is_tried_again_with_longer_waits(channel: Channel, receiver: Receiver) -> None:
    receiver.statuses = [503, 429, 500]
    fire()
    clock = later(seconds=1)
    waits = []
    for _ in range(4):
        assert notifications.deliver(clock) == 1
        row = Notification.objects.get()
        waits.append(round((row.due_at - timezone.now()).total_seconds()))
        clock = row.due_at + timedelta(seconds=1)
    assert waits[:3] == [10, 20, 40]
    assert (row.state, row.attempts, len(receiver.taken), len(set(receiver.tries))) == ("sent", 4, 1, 1)


def test_a_message_that_is_refused_is_not_sent_again(channel: Channel, receiver: Receiver) -> None:
    receiver.statuses = [400]
    fire()
    notifications.deliver(later(seconds=1))
    row = Notification.objects.get()
    assert (row.state, row.response) == ("failed", "answered 400: ")
    assert notifications.deliver(later(days=1)) == 0


def test_it_is_given_up_after_many_tries(channel: Channel, receiver: Receiver) -> None:
    receiver.statuses = [503] * 50
    fire()
    for i in range(20):
        notifications.deliver(later(hours=2 * i + 1))
    row = Notification.objects.get()
    assert (row.state, row.attempts) == ("failed", notifications.MOST_TRIES)


def test_a_sender_killed_after_sending_sends_the_same_once_more(
    channel: Channel, receiver: Receiver, monkeypatch: Any
) -> None:
    """Between the receiver's word and our noting it: the same key and body again, so the receiver has one message."""

    class Killed(BaseException):
        pass

    def die(*args: Any) -> None:
        raise Killed

    alert, at = fire(), later(seconds=5)
    with monkeypatch.context() as patch:
        patch.setattr(notifications, "finish", die)
        with pytest.raises(Killed):
            notifications.deliver(at)
    resolve(alert)  # what is to be said of it now is another message
    # Of the first one a request may still be under way; the resolution waits for it.
    assert notifications.deliver(at + timedelta(seconds=outlets.SECONDS)) == 0
    assert [notifications.deliver(at + timedelta(seconds=2 * outlets.SECONDS)) for _ in range(2)] == [1, 1]
    assert (len(receiver.tries), len(receiver.taken)) == (3, 2)
    assert told(receiver) == [[("ACME", "firing")], [("ACME", "resolved")]]


def test_two_senders_send_once(channel: Channel, receiver: Receiver) -> None:
    fire()
    at = later(seconds=1)
    [row] = Notification.objects.select_related("channel")
    [same] = Notification.objects.select_related("channel")
    assert notifications.claim(row, at)
    assert not notifications.claim(same, at)


def test_a_try_after_many_slow_ones_has_its_whole_lease(channel: Channel) -> None:
    fire()
    row = Notification.objects.select_related("channel").get()
    assert notifications.claim(row, later(minutes=-10))
    assert row.due_at > later(seconds=outlets.SECONDS)


def test_a_chain_of_notifications_never_forks(channel: Channel) -> None:
    fire()
    notifications.deliver(later(seconds=1))
    last = Notification.objects.get()
    first = notifications.collecting(channel, last.group_key)
    assert notifications.collecting(channel, last.group_key) == first
    assert first is not None
    assert first.key == notifications.chained_key(channel, last.group_key, last)


def test_a_private_address_is_not_asked(channel: Channel, receiver: Receiver, settings: Any) -> None:
    settings.PRIVATE_NETWORKS = []
    fire()
    notifications.deliver(later(seconds=1))
    row = Notification.objects.get()
    assert (row.state, "private network" in row.response, receiver.tries) == ("failed", True, [])


def test_a_mail_has_the_key_as_its_message_id(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.org"
    Channel.objects.create(name="mail", kind="email", target="ann@example.org", group_wait_seconds=0)
    fire("ACME")
    fire("BOLT\nBcc: eve@example.org")
    notifications.deliver(later(seconds=1))
    [sent] = mail.outbox
    row = Notification.objects.get()
    assert sent.subject == "[firing] ACME: 10 stories (+1)"
    assert sent.to == ["ann@example.org"]
    assert sent.extra_headers["Message-ID"] == f"<{row.key}@suite>"
    assert (row.state, "Busy, ACME: 10 stories" in sent.body) == ("sent", True)


def test_without_a_mail_server_a_mail_fails_with_the_reason() -> None:
    Channel.objects.create(name="mail", kind="email", target="ann@example.org", group_wait_seconds=0)
    fire()
    notifications.deliver(later(seconds=1))
    assert Notification.objects.get().response == "no mail server is set: SUITE_SMTP_URL"


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"target": "ftp://example.org"}, "target", "begin with http"),
        ({"target": "http://user:word@example.org"}, "target", "password"),
        ({"kind": "email", "target": "ann at example"}, "target", "one e-mail address"),
        ({"kind": "email", "target": "ann@example.org"}, "kind", "SUITE_SMTP_URL"),
        ({"group_wait_seconds": 3_601}, "group_wait_seconds", "at most 3600"),
        ({"repeat_seconds": 30}, "repeat_seconds", "from 60 to 604800"),
    ],
)
def test_a_channel_says_what_is_wrong_at_its_field(fields: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Channel(**({"name": "desk", "target": "https://example.org/hook"} | fields)).full_clean()
    assert reason in " ".join(caught.value.message_dict[field])


def test_fingerprints_tell_groups_apart() -> None:
    one, other = fire("ACME"), fire("BOLT")
    assert outlets.as_told(one)["fingerprint"] == outlets.as_told(one)["fingerprint"]
    assert outlets.as_told(one)["fingerprint"] != outlets.as_told(other)["fingerprint"]
