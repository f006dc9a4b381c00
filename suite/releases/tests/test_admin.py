from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from suite.events.models import JobLease
from suite.releases.models import Promotion, Release

pytestmark = pytest.mark.django_db
RELEASES = "/admin/releases/release/"


@pytest.fixture
def release() -> Release:
    return Release.objects.create(
        fingerprint="0123456789abcdef",
        path="0123456789abcdef",
        body="tiny",
        dimensions=32,
        metrics={"shop.mood": {"macro_f1": 0.876, "train": 90.0}},
    )


@pytest.fixture
def operator(client):
    client.force_login(get_user_model().objects.create_superuser("ada", password="x"))
    return client


@pytest.fixture
def visitor(client):
    """Staff without any right to releases but to look at them."""
    user = get_user_model().objects.create_user("bob", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_release"))
    client.force_login(user)
    return client


def submit(client, url: str, **headers: str):
    return client.post(url, {"_form_submitted": "True"}, headers=headers)


def test_releases_are_shown_with_their_metrics(operator, release):
    assert "0123456789abcdef" in operator.get(RELEASES).text
    page = operator.get(f"{RELEASES}{release.pk}/change/").text
    assert "shop.mood" in page and "0.876" in page and "macro f1" in page
    assert "Promote" in page


def test_promoting_is_asked_back_before_it_is_done(operator, release):
    url = f"{RELEASES}{release.pk}/promote/"
    assert "Let this release serve?" in operator.get(url).text
    assert not Promotion.objects.exists()
    answer = submit(operator, url)
    promotion = Promotion.objects.get()
    assert (promotion.release, promotion.requested_by, promotion.state) == (release, "ada", "requested")
    assert answer.url == reverse("admin:releases_promotion_change", args=[promotion.pk])
    assert submit(operator, url, hx_request="true").headers["HX-Redirect"] == answer.url


def test_what_cannot_be_done_is_said(operator, release):
    answer = operator.post(f"{RELEASES}rollback/", {"_form_submitted": "True"}, follow=True)
    assert "Not done: there is no earlier release to go back to." in answer.text
    Release.objects.update(state="active")
    answer = operator.post(f"{RELEASES}{release.pk}/promote/", {"_form_submitted": "True"}, follow=True)
    assert "is serving already" in answer.text
    assert not Promotion.objects.exists()


def test_who_may_only_look_cannot_promote(visitor, release):
    assert visitor.get(RELEASES).status_code == 200
    assert submit(visitor, f"{RELEASES}{release.pk}/promote/").status_code == 403
    assert submit(visitor, f"{RELEASES}rollback/").status_code == 403
    assert not Promotion.objects.exists()


def test_promotions_show_progress_and_gate(operator, release):
    gate = {"shop.things": {"documents": 1_200, "expected": 1_200, "in_flight": 0, "recall": 0.984}}
    promotion = Promotion.objects.create(release=release, documents_done=600, documents_total=1_200, gate=gate)
    assert "600 of 1,200" in operator.get("/admin/releases/promotion/").text
    page = operator.get(f"/admin/releases/promotion/{promotion.pk}/change/").text
    assert "shop.things" in page and "0.984" in page
    assert 'data-live-topic="suite.releases"' in page and '<script src="/static/live.js" type="module">' in page


def test_jobs_are_shown(operator):
    JobLease.objects.create(name="shop.count", last_error="ZeroDivisionError: nothing")
    assert "ZeroDivisionError: nothing" in operator.get("/admin/events/joblease/").text
