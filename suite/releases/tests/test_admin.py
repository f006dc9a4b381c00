from __future__ import annotations

import json
import re

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from suite.events.models import JobLease
from suite.releases import engine_choice
from suite.releases.engine_choice import Choice, Measured
from suite.releases.models import Promotion, Release, TrainingRun

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


def test_a_release_is_removed_by_who_may_promote(operator, visitor, release):
    url = f"{RELEASES}{release.pk}/remove/"
    operator.force_login(get_user_model().objects.get(username="bob"))
    assert submit(operator, url).status_code == 403
    operator.force_login(get_user_model().objects.get(username="ada"))
    assert "Remove this release for good?" in operator.get(url).text
    assert Release.objects.exists()
    Release.objects.update(state=Release.State.ACTIVE)
    submit(operator, url)
    assert "Not done: release 01234567 serves, or is about to" in operator.get(RELEASES).text
    Release.objects.update(state=Release.State.CANDIDATE)
    submit(operator, url)
    assert "Release 01234567 is removed" in operator.get(RELEASES).text and not Release.objects.exists()


def test_releases_are_shown_with_their_metrics(operator, release):
    assert "0123456789abcdef" in operator.get(RELEASES).text
    page = operator.get(f"{RELEASES}{release.pk}/change/").text
    assert "shop.mood" in page and "0.876" in page and "macro f1" in page
    assert "Promote" in page


EVALUATION = {
    "metric": "macro_f1", "examples": 90, "value": 0.512, "interval": [0.478, 0.551],
    "rivals": {"active": {"value": 0.9, "interval": [0.85, 0.94], "lead": [-0.45, -0.3]},
               "tfidf_linear": {"value": None, "interval": [0.4, 0.5], "lead": [-0.01, 0.02]}},
    "labels": ["bad", "good"], "confusion": [[40, 10], [8, 32]], "temperature": 1.7, "spread": 0.25,
    "ece": {"before": 0.091, "after": 0.012},
    "reliability": {"before": [[0.6, 0.5, 45], [0.9, 0.7, 45]], "after": [[0.55, 0.5, 45], [0.7, 0.72, 45]]},
}  # fmt: skip


def test_a_head_is_shown_beside_its_rivals_with_what_it_confuses_and_how_sure_it_is(operator, release):
    release.evaluation, release.compared_with = {"shop.mood": EVALUATION}, "cd" * 8
    release.save()
    page = operator.get(f"{RELEASES}{release.pk}/change/").text
    for shown in ("macro f1, 90 examples", "0.478 to 0.551", "active then, cdcdcdcd", "-0.450 to -0.300",
                  '<td class="worse">worse</td>', "tfidf linear", "within noise",
                  '<td class="wrong" style="--share: 20%">10 <small>20%</small></td>',
                  "0.091 before temperature scaling, 0.012 after it", 'points="55.0,50.0 70.0,28.0"',
                  "sure 0.7, right 0.72, 45 examples", "temperature 1.70, spread 0.25"):  # fmt: skip
        assert shown in page


def test_of_many_classes_those_that_are_confused_most_are_listed(operator, release):
    counts = [[0] * 20 for _ in range(20)]
    counts[3][7], counts[3][3], counts[1][2] = 5, 15, 2
    many = EVALUATION | {"labels": [f"intent-{number}" for number in range(20)], "confusion": counts}
    release.evaluation = {"shop.mood": many}
    release.save()
    page = operator.get(f"{RELEASES}{release.pk}/change/").text
    assert page.index("intent-7") < page.index("intent-2") and "intent-9" not in page
    assert '<td class="wrong" style="--share: 25%">25%</td>' in page


def test_releases_stand_on_one_plot_with_a_table_of_its_figures(operator, release, settings, tmp_path):
    settings.RELEASES_DIR = tmp_path
    release.folder.mkdir()
    (release.folder / "model.safetensors").write_bytes(bytes(2_340_000))
    table = (Measured("torch-fp32", 410.4, 1, 1), Measured("torch-int8", 912.6, 0.99, 0.98))
    engine_choice.note(release.folder, "cpu avx2", Choice("torch-int8", "2026-01-01", table))
    release.evaluation, release.state = {"shop.mood": EVALUATION}, "active"
    release.save()
    other = Release.objects.create(fingerprint="ab" * 8, path="gone", body="tiny", dimensions=32)
    page = operator.get(RELEASES).text
    found = re.search(r'id="plot-data" type="application/json">(.*?)</script>', page)
    assert found
    plot = json.loads(found[1])
    assert plot["heads"] == [{"name": "shop.mood", "metric": "macro f1"}] and plot["machine"] == "cpu avx2"
    rows = {row["name"]: row for row in plot["rows"]}
    known = rows["01234567"]
    assert (known["rate"], known["values"], known["engine"]) == (912.6, [0.512], "torch-int8")
    assert known["megabytes"] == pytest.approx(2.3, abs=0.05)  # the file of engines is in it, too
    assert (rows["abababab"]["rate"], rows["abababab"]["values"], rows["abababab"]["megabytes"]) == (None, [None], 0.0)
    for shown in ('id="release-plot"', '<option value="0">shop.mood, macro f1</option>', "<td>913</td>", "plot.js"):
        assert shown in page
    other.evaluation = {"shop.kind": EVALUATION, "shop.mood": EVALUATION}
    other.save()
    page = operator.get(RELEASES).text
    assert '<option value="0">shop.mood, macro f1</option>' in page  # most releases can be compared by it
    assert '<option value="1">shop.kind, macro f1</option>' in page


def test_where_no_engine_was_timed_the_page_says_how_instead_of_an_empty_plot(operator, release, settings, tmp_path):
    settings.RELEASES_DIR = tmp_path
    release.folder.mkdir()
    engine_choice.note(release.folder, "cpu avx2", Choice("torch-fp32", "2026-01-01", ()))  # there was no other
    release.evaluation = {"shop.mood": EVALUATION}
    release.save()
    page = operator.get(RELEASES).text
    assert "manage.py release --engines" in page
    assert re.search(r'<div class="[^"]*" hidden><canvas id="release-plot"', page)


def test_a_smaller_release_is_asked_for_on_a_releases_page(operator, release, settings, tmp_path):
    settings.RELEASES_DIR = tmp_path
    url = f"{RELEASES}{release.pk}/compress/"
    assert "Make a smaller release of this one?" in operator.get(url).text
    form = {"_form_submitted": "True", "layers": "3", "feed_forward": "960", "is_int8": "on", "minutes": "5"}
    answer = operator.post(url, form)
    run = TrainingRun.objects.get()
    assert (run.teacher, run.config) == (release, {"layers": 3, "feed_forward": 960, "is_int8": True, "minutes": 5.0})
    assert answer.url == f"/admin/releases/trainingrun/{run.pk}/change/"
    TrainingRun.objects.all().delete()
    nothing = {"_form_submitted": "True", "layers": "0", "feed_forward": "0", "minutes": "5"}
    assert "Nothing would be smaller" in operator.post(url, nothing).text
    release.folder.mkdir(parents=True)
    (release.folder / "config.json").write_text('{"num_hidden_layers": 3}')
    answer = operator.post(url, form, follow=True)
    assert "Not done: layers must be less than the 3 of release 01234567, not 3." in answer.text
    assert not TrainingRun.objects.exists()


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
    form = {"_form_submitted": "True", "layers": "3", "minutes": "5"}
    assert visitor.post(f"{RELEASES}{release.pk}/compress/", form).status_code == 403
    assert not TrainingRun.objects.exists()
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
