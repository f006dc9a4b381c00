"""What comes in while processes die, and how to tell that nothing of it was lost or doubled."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from domains.finance.sample.press import phrases, write
from domains.support.sample.files import sample_questions
from tests.project import Installation, wait_until

ROUNDS = 10  # of killing
BATCH = 20
SHORT_LEASES = {"SUITE_LEASE_SECONDS": "2", "SUITE_SWEEP_SECONDS": "0.5", "SUITE_PRIVATE_NETWORKS": "127.0.0.0/8"}
BURST = 8  # stories about one company
COMPANIES = ("Northwind Bank", "Halden Motors", "Corvane Pharma")
ANSWERS = Path("domains", "support", "sample", "answers.jsonl")
ENTITIES = Path("domains", "finance", "sample", "entities.jsonl")
WATCH = """
import time
from django.db import transaction
from domains.finance.alerting.services import save_rule
from domains.finance.alerting.series import moment
from domains.finance.models import RuleProgress
begin = moment(int(time.time() // 60 * 60) - 3 * 3_600)
fields = {"metric": "volume", "window_seconds": 86_400, "threshold": 5}
with transaction.atomic():  # a rule that began before the burst: the evaluator has to catch up
    rule = save_rule({"name": f"rule {time.time_ns()}", **fields}, by="test")
    RuleProgress.objects.create(rule=rule, version=1, begun_at=begin, evaluated_until=begin)
"""
Event = dict[str, Any]


def event(name: str, kind: str, data: dict[str, Any] | None = None) -> Event:
    return {"specversion": "1.0", "id": name, "source": "test", "type": kind, "data": data or {}}


def marks() -> Iterator[Event]:
    while True:
        yield event(uuid.uuid4().hex, "tally.mark.made")


def messages() -> Iterator[Event]:
    """Customers who ask, a conversation each."""
    while True:
        for question in sample_questions():
            name = uuid.uuid4().hex
            data = {"conversation_id": name, "message_id": name, "text": question["text"]}
            yield event(name, "support.message.received", data)


def article(title: str, published_at: datetime) -> Event:
    name = uuid.uuid4().hex
    data = {"article_id": name, "title": title, "published_at": published_at.isoformat(), "source": name}
    return event(name, "finance.article.published", data)


def articles() -> Iterator[Event]:
    """News as it happens; what is told twice is one story."""
    dice = random.Random()
    told = [phrase for phrase in phrases() if phrase.companies == 1 and phrase.language == "en"]
    while True:
        for title in write(dice.choice(told), dice, (dice.choice(COMPANIES),)).titles:
            yield article(title, datetime.now(UTC))


def burst() -> Iterator[Event]:
    """Two hours ago, so many different stories about each company."""
    told = [phrase for phrase in phrases() if phrase.companies == 1 and phrase.language == "en"]
    for company in COMPANIES:
        for phrase in told[:BURST]:
            yield article(write(phrase, random.Random(1), (company,)).titles[0], datetime.now(UTC) - timedelta(hours=2))


class Sender(threading.Thread):
    """Sends batches until told to stop. A batch without an answer is sent again, as a careful client would."""

    def __init__(
        self, installation: Installation, key: str, events: Iterator[Event], batch: int = BATCH, pause: float = 0.0
    ) -> None:
        super().__init__(daemon=True)
        self.installation = installation
        self.key = key
        self.events = events
        self.batch, self.pause = batch, pause
        self.accepted: list[str] = []
        self.is_over = threading.Event()
        self.errors: list[str] = []

    def run(self) -> None:
        while not self.is_over.wait(self.pause):
            events = list(itertools.islice(self.events, self.batch))
            while not self.send(events):
                time.sleep(0.05)

    def send(self, events: list[Event]) -> bool:
        try:
            answer = self.installation.post(self.key, events)
        except httpx.TransportError:
            return False
        if answer.status_code == 202:
            results = answer.json()["results"]
            self.accepted += [result["id"] for result in results]
            self.errors += [str(result) for result in results if result["status"] == "rejected"]
            return True
        if answer.status_code != 503:
            self.errors.append(f"{answer.status_code}: {answer.text[:200]}")
        return False


class Receiver:
    """Takes the notifications of alerts; of two with the same key it keeps one, as its documentation asks of it."""

    def __init__(self) -> None:
        self.bodies = bodies = dict[str, dict[str, Any]]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert bodies.setdefault(self.headers["Idempotency-Key"], body) == body
                time.sleep(0.05)  # so that a kill hits a sender that waits
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def told(self) -> Counter[str]:
        """How often each alert was told to be firing, by its number."""
        alerts = [alert for body in list(self.bodies.values()) for alert in body["alerts"]]
        return Counter(alert["annotations"]["alert_id"] for alert in alerts if alert["status"] == "firing")


class Load:
    """What comes in while processes die: marks without a pause, and messages and articles as a worker keeps up with."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.receiver = Receiver()
        target = f"http://127.0.0.1:{self.receiver.server.server_port}/"
        channel = f"name='receiver', target={target!r}, group_by='alert', group_wait_seconds=0, repeat_seconds=0"
        installation.query(f"Channel.objects.create({channel}).pk")
        installation.manage("load", "support.answers", str(ANSWERS))
        installation.manage("load", "finance.entities", str(ENTITIES))
        key = installation.key()
        self.marks = Sender(installation, key, marks())
        self.desk = Sender(installation, key, messages(), batch=3, pause=0.5)
        self.press = Sender(installation, key, itertools.chain(burst(), articles()), batch=4, pause=0.5)
        self.senders = (self.marks, self.desk, self.press)

    def start(self) -> None:
        for sender in self.senders:
            sender.start()

    def watch(self) -> None:
        """One more rule, made by a process beside those that start and die."""
        self.installation.run("manage.py", "shell", "-c", WATCH)

    def end(self) -> None:
        """Stop when enough came through to prove something, however slowly processes start again here."""
        wait_until(self.is_enough, 180, "the whole burst and many marks to be accepted")
        for sender in self.senders:
            sender.is_over.set()
        for sender in self.senders:
            sender.join(timeout=60)
            assert not sender.is_alive()

    def is_enough(self) -> bool:
        return len(self.press.accepted) > BURST * len(COMPANIES) and len(self.marks.accepted) > ROUNDS * BATCH

    def check(self) -> None:
        check_effects(self.installation, self.marks)
        check_desk(self.installation, self.desk)
        check_press(self.installation, self.press)
        check_alerts(self.installation, self.receiver)


def check_effects(installation: Installation, sender: Sender) -> None:
    """Nothing is outstanding in the end, and every accepted event has one effect."""
    wait_until(lambda: installation.query("PendingEvent.objects.count()") == 0, 180, "the end of the backlog")
    effects = Counter(installation.query("list(Effect.objects.values_list('name', flat=True))"))
    assert not sender.errors
    assert len(sender.accepted) > ROUNDS * BATCH, "the sender got too little through to prove anything"
    assert not [name for name in sender.accepted if name not in effects], "lost"
    assert not {name: count for name, count in effects.items() if count != 1}, "doubled"
    assert installation.query("DeadLetter.objects.count()") == 0


def once_each(installation: Installation, wanted: Iterable[Any], found: str) -> None:
    """What the expression lists is what was wanted, each once."""
    counts = Counter(map(str, installation.query(f"list({found})")))
    assert not set(map(str, wanted)) - counts.keys(), f"lost: {found}"
    assert not {name: count for name, count in counts.items() if count != 1}, f"doubled: {found}"


def check_desk(installation: Installation, sender: Sender) -> None:
    """Every message is there, was looked into once, and its suggestions were told of once."""
    missed = "Message.objects.filter(runs=None).count()"
    wait_until(lambda: installation.query(missed) == 0, 60, "an answer to every message")
    assert not sender.errors and len(sender.accepted) > ROUNDS
    once_each(installation, sender.accepted, "Message.objects.values_list('key', flat=True)")
    once_each(installation, sender.accepted, "SuggestionRun.objects.values_list('message__key', flat=True)")
    offered = "Event.objects.filter(type='support.suggestion.offered').values_list('data__message_id', flat=True)"
    once_each(installation, sender.accepted, offered)
    places = "Suggestion.objects.values_list('message__key', 'position')"
    once_each(installation, [], places)
    assert installation.query("Suggestion.objects.count()") > ROUNDS, "too few to prove anything"


def check_press(installation: Installation, sender: Sender) -> None:
    """Every article is read once, told of once, and counted once."""
    assert not sender.errors and len(sender.accepted) > BURST * len(COMPANIES)
    once_each(installation, sender.accepted, "Article.objects.exclude(story=None).values_list('key', flat=True)")
    scored = "Score.objects.filter(entity=None, is_current=True).values_list('article__key', flat=True)"
    once_each(installation, sender.accepted, scored)
    told = "Event.objects.filter(type='finance.sentiment.scored').values_list('data__article_id', flat=True)"
    once_each(installation, sender.accepted, told)
    days = "Bucket.objects.filter(entity_id=0, topic='', seconds=86400)"
    counted = f"[sum({days}.values_list('stories', flat=True)), sum({days}.values_list('articles', flat=True))]"
    assert installation.query(counted) == installation.query("[Story.objects.count(), Article.objects.count()]")


def check_alerts(installation: Installation, receiver: Receiver) -> None:
    """Every rule fired once for each company, and everybody was told once of each."""
    alerts = "Alert.objects.filter(state='firing').values_list('pk', flat=True)"
    expected = ROUNDS * len(COMPANIES)
    wait_until(lambda: len(installation.query(f"list({alerts})")) >= expected, 120, "every rule to fire")
    fired = installation.query(f"list({alerts})")
    wait_until(lambda: receiver.told().keys() >= set(map(str, fired)), 120, "the receiver to be told")  # a try's lease
    assert receiver.told() == Counter(map(str, fired)), "told once"
    assert len(fired) == expected == installation.query("Alert.objects.count()")
    told = "Event.objects.filter(type='finance.alert.fired').values_list('data__alert_id', flat=True)"
    once_each(installation, fired, told)
    lines = "Transition.objects.filter(after='firing').values_list('alert', flat=True)"
    once_each(installation, fired, lines)
