"""Pages of the platform: the first page, the operator's figures, and errors that can be reported."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import Client
from django.urls import get_resolver, path, reverse
from django.utils import timezone
from django.utils.html import escape

from suite import dashboard, urls
from suite.dashboard import BAD, GOOD, WARN, Figure
from suite.domain import domains
from suite.events.models import DeadLetter, Event, HandledBatch, PendingEvent

pytestmark = pytest.mark.django_db


def fails(request: HttpRequest) -> HttpResponse:
    raise OperationalError("secret") if request.GET["kind"] == "database" else LookupError("secret")


urlpatterns = [path("fails/", fails), path("api/fails/", fails), *urls.urlpatterns]
handler404, handler500 = urls.handler404, urls.handler500


def figure(label: str) -> Figure:
    return next(each for each in dashboard.figures() if each.label == label)


def event(number: int) -> Event:
    now = timezone.now()
    return Event.objects.create(
        source="tests", event_id=str(number), type="tests.thing.done", time=now, data={}, received_at=now
    )


def test_the_first_page_leads_to_everything(client: Client) -> None:
    html = client.get("/").text
    for address in ("/commerce/", "/support/", "/finance/", "/admin/", "/api/docs", "/health/ready"):
        assert f'href="{address}"' in html
    assert 'href="#main"' in html  # the skip link


def addresses() -> Iterator[tuple[str, str]]:
    """(name, address) of every page of every domain; where it is of one thing, of one that there is not."""
    unknown = {"key": "999", "uid": "none", "token": "none", "name": "none"}
    for label in domains():
        for name, found in get_resolver().namespace_dict[label][1].reverse_dict.items():
            if isinstance(name, str):
                arguments = found[0][0][1]
                yield f"{label}:{name}", reverse(f"{label}:{name}", kwargs={each: unknown[each] for each in arguments})


ADDRESSES = dict(addresses())
FOR_EVERYBODY = {"support:chat", "support:chat-with", "support:chat-news"}  # and all of commerce


def test_every_domain_has_pages() -> None:
    assert {"commerce", "support", "finance"} <= {name.split(":")[0] for name in ADDRESSES}


@pytest.mark.parametrize("name", [name for name in ADDRESSES if not name.startswith("commerce:")])
def test_a_page_of_people_who_work_here_wants_a_log_in(client: Client, django_user_model: Any, name: str) -> None:
    """Who is not logged in goes there and comes back, htmx is told where to go; a stranger with a log-in is refused."""
    address = ADDRESSES[name]
    answer = client.get(address)
    if name in FOR_EVERYBODY:
        assert answer.status_code in {200, 404}
        return
    if answer.status_code == 405:
        answer = client.post(address)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/?next=/")
    method = client.get if client.get(address).status_code != 405 else client.post
    fragment = method(address, headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/here"})
    assert (fragment.status_code, fragment.content) == (204, b"")
    assert fragment.headers["HX-Redirect"].startswith("/admin/login/?next=")
    client.force_login(django_user_model.objects.create_user("stranger"))
    assert method(address).status_code == 403


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_page_answers_where_nothing_is_there_yet(client: Client, django_user_model: Any, name: str) -> None:
    """An empty installation: every page says so, and what is not there is not found. Nothing of Django's own shows."""
    client.force_login(django_user_model.objects.create(username="everything", is_superuser=True, is_staff=True))
    answer = client.get(ADDRESSES[name])
    assert answer.status_code in {200, 204, 302, 404, 405, 422}, answer.text
    is_of_one_thing = any(unknown in ADDRESSES[name] for unknown in ("999", "none"))
    assert answer.status_code != 404 or is_of_one_thing
    for word in ("Traceback", "DEBUG = True", "DoesNotExist", "{%"):
        assert word not in answer.text


def test_an_unknown_address_is_a_page_for_people_and_a_problem_for_programs(client: Client) -> None:
    page = client.get("/nowhere/")
    assert page.status_code == 404
    assert "There is nothing at this address" in page.text
    problem = client.get("/api/nowhere")
    assert problem.status_code == 404
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert problem.json()["status"] == 404


@pytest.mark.urls("tests.test_pages")
@pytest.mark.parametrize("address", ["/fails/", "/api/fails/"])
@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [("other", 500, "Something went wrong here"), ("database", 503, "The database cannot be used now")],
)
def test_an_error_has_an_id_that_stands_in_the_log_and_tells_nothing_else(
    client: Client, caplog: pytest.LogCaptureFixture, address: str, kind: str, status: int, words: str
) -> None:
    client.raise_request_exception = False
    with caplog.at_level(logging.ERROR):
        response = client.get(address, {"kind": kind})
    assert response.status_code == status
    assert words in response.text
    assert "secret" not in response.text
    assert response.text.count(response.headers["X-Error-Id"]) >= 1
    assert any(response.headers["X-Error-Id"] in record.getMessage() for record in caplog.records)
    assert response.headers["Content-Type"].startswith("application/problem+json" if "api" in address else "text/html")


def test_a_page_that_is_too_old_says_so() -> None:
    response = Client(enforce_csrf_checks=True).post("/commerce/clicks/", {"item": "board"})
    assert response.status_code == 403
    assert "too old to act on" in response.text
    assert response.headers["X-Error-Reason"].endswith("Load it again.")


def test_the_operators_page_puts_red_first_and_links_to_where_it_is_mended(admin_client: Client) -> None:
    DeadLetter.objects.create(event=event(1), channel="handler", reason="why")
    html = admin_client.get("/admin/").text
    labels = [each.label for each in dashboard.figures()]
    assert [html.index(f">{label}") for label in labels] == sorted(html.index(f">{label}") for label in labels)
    states = [each.state for each in dashboard.figures()]
    assert states == sorted(states, key=[BAD, WARN, GOOD].index)
    assert figure("Dead letters").state == BAD
    assert "1 dead letters: read the reason" in html
    assert "manage.py release" in html  # none was made


def test_figures_count_what_waits_and_for_how_long() -> None:
    assert (figure("Backlog").value, figure("Oldest unhandled").state) == (0, GOOD)
    now = timezone.now()
    PendingEvent.objects.create(event=event(1), available_at=now, marked_at=now - timedelta(minutes=5))
    assert figure("Backlog").value == 1
    assert figure("Oldest unhandled").state == BAD


def test_the_line_of_handled_events_has_a_value_a_minute() -> None:
    now = timezone.now()
    HandledBatch.objects.create(finished_at=now, events=7, seconds=1)
    HandledBatch.objects.create(finished_at=now - timedelta(minutes=10, seconds=1), events=5, seconds=1)
    HandledBatch.objects.create(finished_at=now - timedelta(hours=2), events=100, seconds=1)
    history = figure("Handled").history
    assert (len(history), history[-1], history[-11], sum(history)) == (60, 7, 5, 12)


def test_a_figure_that_cannot_be_read_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[Figure]:
        raise LookupError

    monkeypatch.setattr(dashboard, "index_figures", fail)
    found = dashboard.figures()
    broken = next(each for each in found if each.label == "Index")
    assert (broken.state, broken.note) == (BAD, "cannot be read (LookupError)")
    assert {"Backlog", "Release"} <= {each.label for each in found}


def test_numbers_are_short_times_relative_and_lines_within_their_place() -> None:
    template = Template(
        "{% load suite_page %}{{ small|short }} {{ large|short }} {{ then|ago }} {{ never|ago }} {% spark line 'two' %}"
    )
    then = timezone.now() - timedelta(minutes=90)
    html = template.render(Context({"small": 999, "large": 1_234_567, "then": then, "never": None, "line": [0, 4, 2]}))
    assert html.startswith('999 <span title="1,234,567">1.2M</span> ')
    assert f'<time datetime="{then.isoformat()}" data-relative>1 hr. ago</time>' in html
    assert 'aria-label="two"' in html
    assert 'points="0.0,26.0 60.0,2.0 120.0,14.0"' in html


OWN_LISTS = [model for model in admin.site._registry if model._meta.app_label != "auth"]


@pytest.mark.parametrize("model", OWN_LISTS, ids=lambda model: model._meta.label_lower)
def test_an_empty_list_says_how_rows_come_to_be(admin_client: Client, model: Any) -> None:
    options = model._meta
    address = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    model.objects.all().delete()
    page = admin_client.get(address).text
    words = escape(admin.site._registry[model].nothing_yet)
    assert words and words in page
    assert f"No {options.verbose_name_plural} yet" in page


def test_a_list_in_which_nothing_matches_offers_all(admin_client: Client) -> None:
    event(1)
    page = admin_client.get("/admin/events/event/?q=nobody").text
    assert "Nothing matches" in page and "Show all" in page
