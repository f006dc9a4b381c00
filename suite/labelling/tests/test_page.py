"""The page on which one text after another is labelled, from the list that a worker makes of the domain's rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.utils import timezone

from suite.domain import EventType, event_types
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.fake import FakeEncoder
from suite.encoder.heads import HeadSpec, fit_head
from suite.encoder.tests.test_heads import moods
from suite.events.models import Event
from suite.labelling import listing, selectors, services
from suite.labelling.models import LabelRequest
from suite.live.models import Topic
from suite.releases.models import Release, TrainingRun
from suite.releases.training_data import Labelling

pytestmark = pytest.mark.django_db(transaction=True)
NEXT = "/admin/labelling/labelrequest/next/"
SPEC = HeadSpec("mood", "classification", ("bad", "fine", "good"), "macro_f1")


@pytest.fixture
def texts(monkeypatch) -> list[dict[str, str]]:
    """What a domain has, and what it takes in."""
    rows = [{"text": f"awful splendid thing {n}", "entity": ""} for n in ("w1", "w2", "w3")]
    rows[0] |= {"text": "Acme splendid <b> awful", "entity": "Acme"}
    given = {"mood": Labelling("shop.moods", lambda: iter(unlabelled()), "shop.mood.labelled", "shop.mood.withdrawn")}

    def unlabelled() -> list[dict[str, str]]:
        held: dict[str, str] = {}
        for data in Event.objects.order_by("id").values_list("data", flat=True):
            held[data["text"]] = data.get("label", "")
        return [row for row in rows if not held.get(row["text"])]

    for module in (listing, services, selectors):
        monkeypatch.setattr(module, "labelling", lambda: given)
    types = {name: EventType(lambda envelope: envelope.data) for name in ("shop.mood.labelled", "shop.mood.withdrawn")}
    known = event_types()
    monkeypatch.setattr("suite.events.ingestion.event_types", lambda: known | types)
    return rows


@pytest.fixture
def release(monkeypatch) -> Release:
    fake = FakeEncoder(heads={"mood": fit_head(FakeEncoder(), SPEC, moods(60), moods(30, seed=1))[0]})
    monkeypatch.setattr(listing.runtime, "active_encoder", lambda: fake)
    return Release.objects.create(
        fingerprint=fake.fingerprint, path="x", body="fake", dimensions=64, state=Release.State.ACTIVE
    )


@pytest.fixture
def ada(client):
    client.force_login(get_user_model().objects.create_superuser("ada", password="x"))
    return client


def post(client, **form: Any) -> str:
    return client.post(f"{NEXT}mood/", form).text


def listed(client) -> LabelRequest:
    client.get(f"{NEXT}mood/")
    listing.make_wanted()
    row = selectors.next_request("mood")
    assert row is not None
    return row


def test_the_page_asks_for_a_list_and_a_worker_makes_it(ada, texts, release):
    page = ada.get(NEXT).text
    assert "The active release is reading" in page and 'data-live-topic="suite.labelling:mood"' in page
    before = Topic.objects.get(name="suite.labelling:mood").sequence
    listing.make_wanted()
    assert Topic.objects.get(name="suite.labelling:mood").sequence == before + 1
    assert not selectors.wanted().exists()
    page = ada.get(f"{NEXT}mood/").text
    row = selectors.next_request("mood")
    assert row is not None and row.release == release.fingerprint
    assert "0 of 3" in page and "chosen from 3 texts" in page
    for number, (label, chance) in enumerate(row.chances.items(), 1):
        assert f'value="{label}" data-key="{number}" aria-keyshortcuts="{number}"' in page
        assert f'<progress value="{100 * chance:.1f}" max="100"' in page
    assert [one.place for one in LabelRequest.objects.all()] == [1, 2, 3]
    doubts = LabelRequest.objects.values_list("uncertainty", flat=True)
    assert row.uncertainty == max(doubts)


def test_a_release_that_cannot_be_read_is_said_once(ada, texts, release, monkeypatch):
    def broken() -> None:
        raise CheckpointError("gone")

    monkeypatch.setattr(listing.runtime, "active_encoder", broken)
    ada.get(f"{NEXT}mood/")
    listing.make_wanted()
    assert "the active release cannot be read" in ada.get(f"{NEXT}mood/").text
    assert not selectors.wanted().exists()  # and is not asked for again and again


def test_what_is_decided_while_a_list_is_made_stays_decided(ada, texts, release, monkeypatch):
    row = listed(ada)
    requests_of = listing.requests_of

    def slow(*args: Any) -> Any:
        found = requests_of(*args)
        services.label(row, "good", "ada")
        return found

    monkeypatch.setattr(listing, "requests_of", slow)
    services.want_list("mood")
    listing.make_wanted()
    row.refresh_from_db()
    assert (row.state, row.label, row.decided_by) == ("labelled", "good", "ada")
    assert LabelRequest.objects.filter(state="open").count() == 2


def test_a_name_is_marked_and_markup_is_text(ada, texts, release):
    del texts[1:]
    listed(ada)
    page = ada.get(f"{NEXT}mood/").text
    assert "<mark>Acme</mark> splendid &lt;b&gt; awful" in page and "How does it speak of <b>Acme</b>?" in page


def test_a_label_is_an_event_of_somebody_and_the_next_text_comes(ada, texts, release):
    row = listed(ada)
    page = post(ada, request=row.pk, label="good")
    assert "Labelled good." in page and "1 of 3" in page and "1 new label since" in page
    assert f'name="request" value="{row.pk}"' not in page
    event = Event.objects.get()
    assert (event.type, event.source) == ("shop.mood.labelled", "labelling")
    assert event.data == row.record | {"label": "good", "by": "ada"}
    assert "somebody has decided on that text already" in post(ada, request=row.pk, label="bad")
    assert Event.objects.count() == 1
    TrainingRun.objects.create(state="done", started_at=timezone.now())
    assert "0 new labels since" in ada.get(f"{NEXT}mood/").text


def test_an_undone_label_is_taken_back_and_asked_again(ada, texts, release):
    row = listed(ada)
    post(ada, request=row.pk, label="good")
    page = post(ada, do="undo")
    assert "Undone" in page and f'name="request" value="{row.pk}"' in page and "0 of 3" in page
    assert Event.objects.latest("id").type == "shop.mood.withdrawn"
    assert Event.objects.latest("id").data == row.record | {"by": "ada"}
    assert "nothing of yours to undo" in post(ada, do="undo")
    services.label(row, "bad", "bob")
    assert "nothing of yours to undo" in post(ada, do="undo")  # it is bob's


def test_a_skipped_text_is_asked_no_more_and_the_end_says_what_to_do(ada, texts, release):
    skipped = listed(ada)
    assert "Skipped." in post(ada, request=skipped.pk, do="skip") and not Event.objects.exists()
    while row := selectors.next_request("mood"):
        page = post(ada, request=row.pk, label="fine")
    assert "3 of 3" in page and "All of this list is decided" in page and "2 new labels since" in page
    texts.append({"text": "a new one", "entity": ""})
    assert "is reading" in post(ada, do="more")
    listing.make_wanted()
    assert "a new one" in ada.get(f"{NEXT}mood/").text and selectors.progress("mood").total == 1
    texts.clear()
    post(ada, do="more")
    listing.make_wanted()
    assert "Nothing to label: there is no text without a label" in ada.get(f"{NEXT}mood/").text


def test_another_release_makes_another_list(ada, texts, release):
    listed(ada)
    Release.objects.update(state=Release.State.RETIRED)
    assert "No release is active" not in ada.get(f"{NEXT}mood/").text  # what is listed can be labelled
    Release.objects.create(fingerprint="ab" * 8, path="x", body="x", dimensions=64, state=Release.State.ACTIVE)
    assert "is reading" in ada.get(f"{NEXT}mood/").text and selectors.wanted().exists()


def test_without_a_release_or_its_head_the_page_says_so(ada, texts, release, monkeypatch):
    monkeypatch.setattr(listing.runtime, "active_encoder", FakeEncoder)
    ada.get(f"{NEXT}mood/")
    listing.make_wanted()
    assert "has no head &#x27;mood&#x27;" in ada.get(f"{NEXT}mood/").text
    Release.objects.all().delete()
    assert "No release is active yet" in ada.get(f"{NEXT}mood/").text


@pytest.mark.parametrize(("form", "answer"), [
    ({"request": "x", "label": "good"}, 404), ({"request": "0", "label": "good"}, 404), ({"do": "skip"}, 404),
])  # fmt: skip
def test_a_text_that_is_not_there_is_not_found(ada, texts, release, form, answer):
    listed(ada)
    assert ada.post(f"{NEXT}mood/", form).status_code == answer
    assert ada.get(f"{NEXT}nothing/").status_code == 404


def test_a_label_that_the_head_has_not_is_refused(ada, texts, release):
    row = listed(ada)
    assert "the labels of this head are bad, fine, good" in post(ada, request=row.pk, label="great")
    assert not Event.objects.exists() and selectors.progress("mood").decided == 0


def test_who_may_only_look_cannot_label(client, texts, release):
    user = get_user_model().objects.create_user("bob", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_labelrequest"))
    client.force_login(user)
    assert client.get("/admin/labelling/labelrequest/").status_code == 200
    assert client.get(f"{NEXT}mood/").status_code == client.post(f"{NEXT}mood/", {"do": "more"}).status_code == 403
