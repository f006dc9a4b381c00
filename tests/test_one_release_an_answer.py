"""No request mixes two releases: a real process is asked without a pause while two releases take turns in serving.

What each release answers is noted while it serves alone. Under load an answer must be, to the last digit, what the
release that it names answers: with a vector, a head, a ranker or an index of the other one it would be neither's.

It shows that switching loses and breaks no request. A mix within the moment between pinning a release and searching is
too rare to be met here; the tests of commerce and support that switch in that very moment guard against it.
"""

from __future__ import annotations

import itertools
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from suite.encoder.tests.models import write_tiny
from tests.project import ROOT, Installation, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_200)]  # once is enough: it takes minutes
TURNS = 4  # promotions and rollbacks under load
ASKING = 2  # threads of each process
SOON = 240  # seconds; it only bounds a hang
PATIENT = {"SUITE_QUERY_DEADLINE": "60"}  # a busy machine must not leave a vector out: that would be a poorer answer
ITEMS = (
    "Rake with twelve steel tines",
    "Galvanised watering can",
    "Seeds of wild meadow flowers",
    "Compost bin of larch",
    "Oak chess board",
    "Chess clock of walnut",
    "Weighted chess pieces of boxwood",
    "A primer of chess openings",
)
ANSWERS = {
    "broken": ("A broken bowl", "Send us a photo of the broken bowl. We replace it today, at no cost."),
    "postage": ("Postage to Norway", "Postage to Norway costs nine euros. The parcel takes a week."),
    "return": ("How to return things", "Send it back within thirty days, and we return the money at once."),
    "hours": ("Opening hours", "The shop is open from nine to six, but not on Sundays."),
}
QUESTIONS = ("What does a parcel to Oslo cost?", "My bowl came in pieces", "Are you open on a Sunday?")
HEADLINES = ("Halden Motors sinks as recall widens", "Corvane Pharma beats forecasts on record sales")
Ask = Callable[[str], tuple[str, Any]]  # address -> (release, the rest of the answer)


class Served:
    """A running Suite with two processes that answer, and what it is asked."""

    def __init__(self, suite: Installation) -> None:
        self.suite = suite
        self.key = suite.key()
        self.addresses = [suite.address]

    @property
    def questions(self) -> dict[str, Ask]:
        shop: dict[str, Ask] = {
            f"similar to {title}": self.getting(f"commerce/items/{name_of(title)}/similar", k="5")
            for title in ITEMS[:3]
        }
        desk: dict[str, Ask] = {text: self.suggesting(text) for text in QUESTIONS}
        return shop | desk | {
            "search": self.getting("commerce/search", q="something for a game of kings"),
            "recommendations": self.getting("commerce/users/ann/recommendations", k="5"),
            **{title: self.classifying(title) for title in HEADLINES},
        }  # fmt: skip

    def getting(self, path: str, **query: str) -> Ask:
        def ask(address: str) -> tuple[str, Any]:
            answer = self.request(address, "GET", path, params=query)
            assert answer["degraded"] == [], answer
            return answer["release"], [(row["item_id"], row["score"]) for row in answer["items"]]

        return ask

    def suggesting(self, text: str) -> Ask:
        def ask(address: str) -> tuple[str, Any]:
            answer = self.request(address, "POST", "support/suggest", json={"text": text, "k": 3})
            assert answer["degraded"] == [], answer
            rows = [(row["answer_id"], row["confidence"]) for row in answer["items"]]
            return answer["release"], [answer["best_confidence"], rows]

        return ask

    def classifying(self, title: str) -> Ask:
        """An article is sent, and read when a worker has judged it. Its text goes through the encoder each time, in a
        batch with others, so the last digits move."""

        def ask(address: str) -> tuple[str, Any]:
            name = uuid.uuid4().hex
            now = datetime.now(UTC).isoformat()
            self.send("finance.article.published", article_id=name, title=title, source=name, published_at=now)
            scores: list[dict[str, Any]] = []

            def is_judged() -> bool:
                scores[:] = self.request(address, "GET", f"finance/articles/{name}", absent={"scores": []})["scores"]
                return bool(scores)

            wait_until(is_judged, SOON, "an article's judgement")
            [release] = {score["release"] for score in scores}
            figures = ("topic_probability", "negative", "neutral", "positive")
            return release, [[round(score[figure], 3) for figure in figures] for score in scores]

        return ask

    def request(self, address: str, method: str, path: str, absent: Any = None, **more: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = httpx.request(method, f"{address}/api/{path}", headers=headers, timeout=120, **more)
        if answer.status_code == 404 and absent:
            return absent
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, kind: str, /, **data: Any) -> None:
        answer = self.suite.post(self.key, [{"id": uuid.uuid4().hex, "source": "test", "type": kind, "data": data}])
        assert [result["status"] for result in answer.json()["results"]] == ["accepted"], answer.text

    def switch(self, release: str = "") -> None:
        """Ask for a release to serve, or for a rollback; a worker of the running process carries it out."""
        services = "__import__('suite.releases.services', fromlist=['services'])"
        asked = f"request_promotion(Release.objects.get(pk={release!r}))" if release else "request_rollback()"
        number = self.suite.query(f"{services}.{asked}.pk")
        ended = f"Promotion.objects.filter(pk={number}, finished_at__isnull=False).exists()"
        wait_until(lambda: self.suite.query(ended), SOON, "the end of a promotion")

    def active(self) -> str:
        return self.suite.query("Release.objects.get(state='active').fingerprint")

    def alone(self, release: str) -> dict[str, Any]:
        """What the release answers to each question, while no other one has a part in it."""
        wait_until(lambda: self.has_ranker(release), SOON, "a ranker")
        answers = {name: ask(self.addresses[0]) for name, ask in self.questions.items()}
        assert {named for named, _ in answers.values()} == {release}
        return {name: said for name, (_, said) in answers.items()}

    def has_ranker(self, release: str) -> bool:
        return self.suite.query(f"Ranker.objects.filter(fingerprint={release!r}).exists()")


def is_up(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health/live").is_success
    except httpx.TransportError:
        return False


def name_of(title: str) -> str:
    return title.lower().replace(" ", "-")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    environment = PATIENT | {"SUITE_ENCODER": str(write_tiny(folder / "body"))}
    suite = Installation(ROOT, folder / "state", environment)
    suite.up("--no-sample").wait_for("Suite is ready")
    made = Served(suite)
    for title in ITEMS:
        made.send("commerce.item.changed", catalogue="shop", item_id=name_of(title), title=title)
    made.send("commerce.interaction.recorded", catalogue="shop", user_id="ann", item_id=name_of(ITEMS[3]), kind="view")
    for name, (title, text) in ANSWERS.items():
        made.send("support.answer.changed", answer_id=name, title=title, text=text)
    lag = "[one.collection.last_sequence - one.synced_sequence for one in Generation.objects.all()]"
    wait_until(lambda: not any(suite.query(lag)) and suite.query("ItemStatistics.objects.exists()"), SOON, "the index")
    web = Installation(ROOT, suite.state, environment)
    web.web()
    made.addresses.append(web.address)
    wait_until(lambda: is_up(web.address), SOON, "a second process that answers")
    yield made
    web.end()
    suite.end()


@pytest.fixture(scope="module")
def releases(served: Served) -> tuple[str, str]:
    """The active one, and a candidate."""
    other = served.suite.run("-m", "tests.other_release", DJANGO_SETTINGS_MODULE="suite.settings")
    return served.active(), other.wait_for(r"\n?([0-9a-f]{16})\n")[1]


@pytest.fixture(scope="module")
def known(served: Served, releases: tuple[str, str]) -> dict[str, dict[str, Any]]:
    """{release: {question: answer}}; the first release serves again afterwards."""
    first, second = releases
    found = {first: served.alone(first)}
    served.switch(second)
    found[second] = served.alone(second)
    served.switch()
    assert served.active() == first
    assert served.alone(first) == found[first], (
        "what a release answers must be settled before others are compared with it"
    )
    for name in found[first]:
        assert found[first][name] != found[second][name], f"both releases answer the same to: {name}"
    return found


class Load:
    """Threads that ask all processes without a pause, until the `with` ends; failures are kept, not raised."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.answers: list[tuple[str, str, Any]] = []  # (question, release, the rest)
        self.failures: list[str] = []
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self.ask, args=(address, number))
            for address in served.addresses
            for number in range(ASKING)
        ]

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def ask(self, address: str, number: int) -> None:
        questions = list(self.served.questions.items())
        for name, ask in itertools.islice(itertools.cycle(questions), number * len(questions) // ASKING, None):
            if self.over.is_set():
                return
            try:
                self.answers.append((name, *ask(address)))
            except Exception as error:  # whatever it is, the test is to tell of it
                self.failures.append(f"{name}: {type(error).__name__}: {error}")

    def wait_for_all(self, release: str) -> None:
        """Until every question was answered by this release since now."""
        begin, wanted = len(self.answers), set(self.served.questions)
        wait_until(
            lambda: bool(self.failures) or wanted <= {name for name, by, _ in self.answers[begin:] if by == release},
            SOON, f"an answer of {release} to every question",
        )  # fmt: skip

    def mixed(self, known: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, Any]]:
        """The answers that are not what the release that they name answers."""
        return [answer for answer in self.answers if known[answer[1]][answer[0]] != answer[2]]


def test_every_answer_is_of_one_release_while_two_take_turns(served, releases, known) -> None:
    with Load(served) as load:
        load.wait_for_all(releases[0])
        for turn in range(TURNS):
            served.switch("" if turn % 2 else releases[1])  # a promotion, a rollback, a promotion, ...
            load.wait_for_all(releases[1 - turn % 2])
    assert served.active() == releases[0]
    assert load.failures == []
    assert {release for _, release, _ in load.answers} == set(releases)
    assert load.mixed(known) == []


@pytest.mark.parametrize("harm", ["corrupt", "missing"])
def test_a_broken_checkpoint_leaves_the_old_release_answering_and_says_so(served, releases, known, harm: str) -> None:
    first, second = releases
    folder = served.suite.state / "releases" / second
    away = folder.with_name("away")
    shutil.copytree(folder, away)
    if harm == "corrupt":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    else:
        shutil.rmtree(folder)
    with Load(served) as load:
        refused = served.suite.run("manage.py", "promote", second, "--wait")
        assert refused.process.wait(timeout=SOON) == 1
        load.wait_for_all(first)
    refused.reader.join()
    assert "Refused, the active release serves on: " in refused.output and "Traceback" not in refused.output
    assert ("corrupt" if harm == "corrupt" else "missing") in refused.output
    assert served.active() == first
    assert load.failures == [] and load.mixed(known) == []
    shutil.rmtree(folder, ignore_errors=True)
    away.rename(folder)
