"""A release in shadow: a real small encoder with a head, and decisions that stand in rows of this test's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from io import StringIO

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.core.management.base import CommandError

from suite.encoder import batching, model
from suite.encoder.heads import Head, HeadSpec
from suite.encoder.model import Encoder
from suite.jobs import held
from suite.live.models import Topic
from suite.releases import runtime, selectors, services, shadow, shadow_report
from suite.releases.decisions import Decision, LiveDecisions
from suite.releases.models import Promotion, Release, Shadow

HEAD, OTHER = "mood", "colour"


@pytest.fixture
def active(transactional_db) -> Release:
    return Release.objects.create(fingerprint="a" * 16, path="a", body="tiny", dimensions=32, state="active")


@pytest.fixture
def candidate(transactional_db, bodies, tmp_path, settings) -> Release:
    """A release whose one head says `bad` of every text, with a probability of .88."""
    settings.RELEASES_DIR = tmp_path / "releases"
    settings.ENCODER_THREADS = 1
    runtime.forget()
    body = Encoder.load(str(bodies[0]), threads=1)
    spec = HeadSpec(HEAD, "classification", ("bad", "good"), "accuracy")
    weight, bias = np.zeros((2, body.dimensions), np.float32), np.array([2.0, 0.0], np.float32)
    encoder = body.with_heads({HEAD: Head(spec, weight, bias)})
    encoder.save(settings.RELEASES_DIR / encoder.fingerprint)
    return Release.objects.create(
        fingerprint=encoder.fingerprint, path=encoder.fingerprint, body="tiny", dimensions=32, metrics={HEAD: {}}
    )


class Traffic:
    """Decisions of a release: any rows with a growing id and a release will do, here promotions. Of an odd one it said
    `bad`, of an even one `good`."""

    def __init__(self) -> None:
        self.read_ids: list[int] = []

    def come(self, release: Release, many: int) -> list[int]:
        rows = Promotion.objects.bulk_create(Promotion(release=release, state="done") for _ in range(many))
        return [row.pk for row in rows]

    def read(self, rows: Sequence[Promotion]) -> list[Decision]:
        self.read_ids += [row.pk for row in rows]
        return [
            Decision(row.pk, f"text {row.pk}", "bad" if row.pk % 2 else "good", 0.7, f"/rows/{row.pk}") for row in rows
        ]


@pytest.fixture
def traffic(monkeypatch) -> Traffic:
    made = Traffic()
    live = {head: LiveDecisions(lambda: Promotion.objects.order_by(), made.read) for head in (OTHER, HEAD)}
    for module in (shadow, shadow_report):
        monkeypatch.setattr(module, "live_decisions", lambda: live)
    return made


def begin(candidate: Release, share: float = 1) -> Shadow:
    return services.request_shadow(candidate, share, "ada")


def now(asked: Shadow) -> Shadow:
    return Shadow.objects.get(pk=asked.pk)


def test_what_the_active_release_decided_is_scored_once_more_and_compared(active, candidate, traffic):
    asked = begin(candidate)
    traffic.come(candidate, 30)  # not the active one's
    ids = traffic.come(active, 150)  # more than two batches
    before = Topic.objects.get(name=services.TOPIC).sequence
    shadow.score_live_traffic()
    assert now(asked).counts == {HEAD: {"bad": {"bad": 75}, "good": {"bad": 75}}}
    assert Topic.objects.get(name=services.TOPIC).sequence > before
    even = [pk for pk in reversed(ids) if pk % 2 == 0][: shadow.EXAMPLES]
    assert now(asked).examples == {HEAD: [[pk, "good", 0.7, "bad", 0.8808] for pk in even]}


def test_each_decision_is_scored_once_whoever_asks_again(active, candidate, traffic):
    asked = begin(candidate)
    ids = traffic.come(active, 10)
    shadow.score_live_traffic()
    shadow.score_live_traffic()
    ids += traffic.come(active, 10)
    shadow.score_live_traffic()
    assert traffic.read_ids == ids
    assert now(asked).counts == {HEAD: {"bad": {"bad": 10}, "good": {"bad": 10}}}


def test_a_batch_that_is_not_written_is_scored_again(active, candidate, traffic, monkeypatch):
    asked = begin(candidate)
    traffic.come(active, 10)
    with monkeypatch.context() as patch:
        patch.setattr(shadow, "broadcast", lambda topics: 1 / 0)
        shadow.score_live_traffic()
    assert (now(asked).counts, now(asked).failures) == ({}, 1)
    shadow.score_live_traffic()
    assert sum(now(asked).counts[HEAD]["good"].values()) == 5
    assert (now(asked).failures, now(asked).message) == (0, "")


def test_a_share_of_the_decisions_is_scored(active, candidate, traffic):
    asked = begin(candidate, share=0.2)
    traffic.come(active, 1_000)
    shadow.score_live_traffic()
    [head] = [one for one in shadow_report.report(now(asked)) if one.head == HEAD]
    assert 150 < head.compared < 250  # the sample follows from the ids: the same in every run
    assert len(traffic.read_ids) == head.compared + len(head.examples)


def test_old_decisions_are_left_alone(active, candidate, traffic, monkeypatch):
    monkeypatch.setattr(shadow, "RECENT", 5)
    ids = traffic.come(active, 20)
    begin(candidate)
    shadow.score_live_traffic()
    assert traffic.read_ids == ids[-5:]


def test_live_work_goes_first(active, candidate, traffic, monkeypatch):
    asked = []

    def lanes(count: int, niceness: int) -> batching.Lanes:
        asked.append(niceness)
        return batching.lanes(count, niceness)

    monkeypatch.setattr(model, "lanes", lanes)
    begin(candidate)
    traffic.come(active, 3)
    shadow.score_live_traffic()
    assert asked == [batching.YIELDING]
    runtime.encoder_for(candidate.fingerprint).embed(["a question"])
    assert asked == [batching.YIELDING, batching.PROMPT]


def test_it_ends_when_the_candidate_is_promoted(active, candidate, traffic):
    asked = begin(candidate)
    traffic.come(active, 3)
    Release.objects.filter(pk=active.pk).update(state="retired")
    Release.objects.filter(pk=candidate.pk).update(state="active")
    shadow.score_live_traffic()
    assert (now(asked).is_running, now(asked).counts) == (False, {})
    assert now(asked).message == f"release {candidate} serves now"
    assert selectors.running_shadow() is None


def test_a_release_that_cannot_be_loaded_ends_it_and_says_why(active, candidate, traffic):
    asked = begin(candidate)
    shutil.rmtree(candidate.folder)
    shadow.score_live_traffic()
    assert not now(asked).is_running
    assert "there is no such folder" in now(asked).message
    assert selectors.active() == active


def test_a_shadow_that_goes_on_failing_is_given_up(active, candidate, traffic, monkeypatch):
    asked = begin(candidate)
    traffic.come(active, 3)
    monkeypatch.setattr(traffic, "read", None)
    monkeypatch.setattr(LiveDecisions, "of", lambda self, ids: 1 / 0)
    for failures in (1, 2):
        shadow.score_live_traffic()
        assert (now(asked).is_running, now(asked).failures) == (True, failures)
    shadow.score_live_traffic()
    assert not now(asked).is_running
    assert now(asked).message.startswith("failed 3 times, the last time with ZeroDivisionError")


def test_while_another_worker_is_at_it_nothing_is_done(active, candidate, traffic):
    begin(candidate)
    traffic.come(active, 3)
    with held(shadow.LEASE):
        shadow.score_live_traffic()
    assert traffic.read_ids == []


def test_a_shadow_that_is_stopped_in_the_middle_writes_nothing_more(active, candidate, traffic, monkeypatch):
    asked = begin(candidate)
    traffic.come(active, 3)
    read = traffic.read
    monkeypatch.setattr(LiveDecisions, "of", lambda self, ids: services.stop_shadow() and read([]))
    shadow.score_live_traffic()
    assert (now(asked).message, now(asked).cursors) == ("stopped", {})


def test_what_makes_no_sense_is_refused(active, candidate):
    with pytest.raises(services.RequestRefused, match="is serving already"):
        begin(active)
    with pytest.raises(services.RequestRefused, match="above 0 and at most 1"):
        begin(candidate, share=0)
    with pytest.raises(services.RequestRefused, match="no release is in shadow"):
        services.stop_shadow()
    begin(candidate)
    with pytest.raises(services.RequestRefused, match="is in shadow already; stop it first"):
        begin(candidate)


def test_the_interval_is_wilsons():
    """10 of 100: 5.52% to 17.44% (Brown, Cai and DasGupta, Interval Estimation for a Binomial Proportion, 2001)."""
    head = shadow_report.HeadReport(HEAD, False, {"bad": {"bad": 90, "good": 10}}, [])
    assert head.summary == "10 of 100 differ: 10.0% (95% interval 5.5% to 17.4%)"
    assert head.matrix == [("bad", [(90, 90), (10, 10)]), ("good", [(0, 0), (0, 0)])]


# What people see of it ---------------------------------------------------------------------------------------
@pytest.fixture
def operator(client, transactional_db):
    client.force_login(get_user_model().objects.create_superuser("ada", password="x"))
    return client


def page_of(client, release: Release) -> str:
    return client.get(f"/admin/releases/release/{release.pk}/change/").text


def test_an_operator_starts_it_watches_it_and_stops_it(operator, active, candidate, traffic):
    url = f"/admin/releases/release/{candidate.pk}/"
    page = page_of(operator, candidate)
    assert "It was never in shadow." in page and "Put in shadow" in page
    assert "Put in shadow" not in page_of(operator, active)
    answer = operator.post(f"{url}shadow/", {"_form_submitted": "True", "share": "1"}, follow=True)
    assert "Shadow of" in answer.text and "nothing was compared yet" in answer.text
    ids = traffic.come(active, 4)
    shadow.score_live_traffic()
    page = page_of(operator, candidate)
    assert "2 of 4 differ: 50.0% (95% interval 15.0% to 85.0%)" in page
    assert "the release has no such head" in page  # the other one
    even = next(pk for pk in ids if pk % 2 == 0)
    assert f'<a href="/rows/{even}" class="text-primary-600 underline">text {even}</a>' in page
    assert "good 0.70" in page and "bad 0.88" in page
    assert 'data-live-topic="suite.releases"' in page
    assert "Put in shadow" not in page and "Stop the shadow" in page
    Promotion.objects.filter(pk=even).delete()
    assert "the row is gone" in page_of(operator, candidate)
    operator.post(f"{url}stop-shadow/", {"_form_submitted": "True"})
    assert selectors.running_shadow() is None
    page = page_of(operator, candidate)
    assert "; stopped." in page and "2 of 4 differ" in page and "Put in shadow" in page


def test_who_may_only_look_cannot_start_or_stop_it(client, active, candidate):
    user = get_user_model().objects.create_user("bob", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_release"))
    client.force_login(user)
    url = f"/admin/releases/release/{candidate.pk}/"
    form = {"_form_submitted": "True", "share": "1"}
    assert "It was never in shadow." in page_of(client, candidate)
    assert client.post(f"{url}shadow/", form).status_code == 403
    begin(candidate)
    assert client.post(f"{url}stop-shadow/", form).status_code == 403
    assert selectors.running_shadow() is not None


def shadow_command(*arguments: str) -> str:
    out = StringIO()
    call_command("shadow", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_starts_tells_and_stops(active, candidate, traffic):
    with pytest.raises(CommandError, match="no release was in shadow yet"):
        shadow_command()
    assert "50% of the decisions: runs" in shadow_command(candidate.fingerprint[:6], "--share", "0.5")
    with pytest.raises(CommandError, match="is in shadow already"):
        shadow_command(candidate.fingerprint)
    Shadow.objects.update(share=1)
    traffic.come(active, 4)
    shadow.score_live_traffic()
    assert "mood: 2 of 4 differ: 50.0%" in shadow_command()
    assert "ended (stopped)" in shadow_command("--stop")
    told = json.loads(shadow_command("--json"))
    assert (told["release"], told["is_running"], told["message"]) == (candidate.fingerprint, False, "stopped")
    mood = next(one for one in told["heads"] if one["head"] == HEAD)
    assert (mood["compared"], mood["differing"], mood["rate"]) == (4, 2, 0.5)
    assert "text" not in json.dumps(told)
    with pytest.raises(CommandError, match="no release begins with 'xyz'"):
        shadow_command("xyz")
