"""The storefront over HTTP, without a browser: what it answers, whom it takes somebody for, what it refuses."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client

from domains.commerce.models import Interaction
from domains.commerce.services import ensure_catalogue
from domains.commerce.templatetags.commerce_pictures import drawn
from domains.commerce.templatetags.commerce_shop import price
from domains.commerce.tests.events import did, event, item, take
from domains.commerce.visitors import COOKIE
from suite.events.ingestion import BacklogFull
from suite.events.models import Event

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def stocked() -> None:
    take(
        item("board", "Oak chess board", category="Games > Chess", price=89.0, currency="EUR"),
        item("clock", "Chess clock", category="Games > Chess", price=31.0, currency="EUR"),
        item("mug", "Stoneware mug", category="Kitchen > Cups", description="Holds <b>tea</b>."),
        item("a/b c?&", 'Odd "id" & <title>', category="Kitchen > Cups"),
    )


def click(client: Client, item_id: str, kind: str = "view", **headers: str) -> int:
    return client.post("/commerce/clicks/", {"item": item_id, "kind": kind}, headers=HTMX | headers).status_code


def test_without_a_catalogue_the_page_says_what_to_do(client: Client) -> None:
    response = client.get("/commerce/")
    assert response.status_code == 200
    assert "No catalogue yet" in response.text
    assert "manage.py load" in response.text
    assert client.get("/commerce/items/board/").status_code == 404
    assert client.get("/commerce/for-you/").status_code == 204
    assert click(client, "board") == 404


@pytest.mark.usefixtures("stocked")
def test_the_grid_shows_items_newest_first_and_by_category(client: Client) -> None:
    html = client.get("/commerce/").text
    assert html.index("Stoneware mug") < html.index("Chess clock") < html.index("Oak chess board")
    kitchen = client.get("/commerce/", {"category": "Kitchen"}, headers={"HX-Target": "pane"}).text
    assert "Stoneware mug" in kitchen
    assert "Chess clock" not in kitchen
    assert "<html" not in kitchen
    assert "Nothing in Nowhere" in client.get("/commerce/", {"category": "Nowhere"}).text


def test_a_long_catalogue_comes_in_pages(client: Client) -> None:
    take(*(item(f"item-{number:02}", f"Thing {number:02}") for number in range(30)))
    first = client.get("/commerce/").text.split('id="for-you"')[0]
    assert "page=2" in first
    rest = client.get("/commerce/", {"page": "2"}, headers={"HX-Target": "more"}).text
    assert re.findall(r"Thing \d+\b(?=</span>)", rest) == [f"Thing {number:02}" for number in range(5, -1, -1)]
    assert "Show more" not in rest


@pytest.mark.usefixtures("stocked")
def test_an_items_page_tells_everything_and_escapes_it(client: Client) -> None:
    html = client.get("/commerce/items/mug/").text
    assert "Holds &lt;b&gt;tea&lt;/b&gt;." in html
    odd = client.get("/commerce/items/a%2Fb%20c%3F%26/")
    assert odd.status_code == 200
    assert "Odd &quot;id&quot; &amp; &lt;title&gt;" in odd.text
    take(event("item.removed", {"item_id": "mug"}, time="2026-02-01T00:00:00Z"))
    gone = client.get("/commerce/items/mug/")
    assert gone.status_code == 404
    assert "not here any more" in gone.text


@pytest.mark.usefixtures("stocked")
def test_a_click_is_an_event_of_the_session_and_changes_the_next_list(client: Client) -> None:
    client.get("/commerce/")
    response = client.post("/commerce/clicks/", {"item": "board", "kind": "cart"}, headers=HTMX)
    news = json.loads(response.headers["HX-Trigger"])
    stored = Event.objects.get(source="storefront")
    assert news["accepted"] == {"event": stored.event_id, "item": "board", "kind": "cart"}
    assert news["toast"] == {"text": "In your cart: Oak chess board"}
    done = Interaction.objects.get()
    assert (done.item_key, done.kind, done.user_key) == ("board", "cart", "")
    assert done.session_key.startswith("web-")

    html = client.get("/commerce/for-you/").text
    assert f'data-events="{stored.event_id} "' in html
    assert 'data-item="board"' not in html
    assert "1 seen before" in html


@pytest.mark.usefixtures("stocked")
def test_every_session_is_its_own_and_a_forged_cookie_is_a_new_one(client: Client) -> None:
    client.get("/commerce/")
    click(client, "board")
    other = Client()
    other.cookies[COOKIE] = client.cookies[COOKIE].value + "x"
    other.get("/commerce/")
    click(other, "mug")
    keys = Interaction.objects.values_list("session_key", flat=True)
    assert len(set(keys)) == 2


@pytest.mark.usefixtures("stocked")
def test_without_scripts_a_click_leads_back_to_the_item(client: Client) -> None:
    response = client.post("/commerce/clicks/", {"item": "a/b c?&", "kind": "cart"})
    assert response.status_code == 302
    assert client.get(response.headers["Location"]).status_code == 200


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize(
    ("item_id", "kind"), [("", "view"), ("board", "steal"), ("x" * 201, "view"), ("\ud800", "view")]
)
def test_a_click_that_cannot_be_taken_is_refused_with_its_reason(client: Client, item_id: str, kind: str) -> None:
    body = f"item={item_id}&kind={kind}".encode("utf-8", "surrogatepass")
    response = client.post("/commerce/clicks/", body, content_type="application/x-www-form-urlencoded", headers=HTMX)
    if item_id == "\ud800":  # Django itself puts U+FFFD in its place: an item that nobody has
        assert response.status_code == 200
        return
    assert response.status_code == 422
    assert response.headers["X-Error-Reason"].startswith("data.")
    assert Interaction.objects.count() == 0


@pytest.mark.usefixtures("stocked")
def test_a_full_backlog_is_said(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(items: object) -> None:
        raise BacklogFull

    monkeypatch.setattr("domains.commerce.views.ingest", full)
    response = client.post("/commerce/clicks/", {"item": "board"}, headers=HTMX)
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "5"


@pytest.mark.usefixtures("stocked")
def test_a_click_needs_the_pages_token() -> None:
    careful = Client(enforce_csrf_checks=True)
    assert careful.post("/commerce/clicks/", {"item": "board"}, headers=HTMX).status_code == 403
    token = re.search(r'X-CSRFToken": "(\w+)"', careful.get("/commerce/").text)
    assert token is not None
    assert click(careful, "board", **{"X-CSRFToken": token[1]}) == 200


@pytest.mark.usefixtures("stocked")
def test_only_staff_and_a_demo_look_as_a_user(client: Client, admin_client: Client, settings: Any) -> None:
    take(did("board", "ann"), did("clock", "ann", "purchase"))
    assert "You look as" not in client.get("/commerce/?user=ann").text
    assert "<option" not in client.get("/commerce/").text
    assert "You look as <strong>ann</strong>" in admin_client.get("/commerce/?user=ann").text

    settings.IS_DEMO = True
    page = client.get("/commerce/?user=ann").text
    assert "You look as <strong>ann</strong>" in page
    assert "1 bought before, 1 seen before" in page
    click(client, "mug")
    assert Interaction.objects.get(item_key="mug").user_key == "ann"  # remembered
    assert "without a log-in" in client.get("/commerce/?user=").text
    settings.IS_DEMO = False
    assert "You look as" not in client.get("/commerce/").text


@pytest.mark.usefixtures("stocked")
def test_search_without_a_release_says_what_is_missing(client: Client) -> None:
    html = client.get("/commerce/", {"q": "chess"}).text
    assert "2 results for “chess”" in html
    assert "first release is being made" in html
    assert "Titles are matched instead" in html
    nothing = client.get("/commerce/", {"q": "zeppelin"}).text
    assert "Nothing matches “zeppelin”" in nothing


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize(
    "query", ["?q=%00", "?category=%00", "?page=-1", "?page=9999999", "?catalogue=%00", "?q=%F0%9F%8D%B5"]
)
def test_odd_addresses_are_pages(client: Client, query: str) -> None:
    assert client.get(f"/commerce/{query}").status_code == 200


def test_a_catalogue_is_chosen_by_its_name_and_stays_in_the_links(client: Client) -> None:
    ensure_catalogue("shop")
    ensure_catalogue("films", kind="films")
    take(item("alien", "A film", catalogue="films"))
    html = client.get("/commerce/?catalogue=films").text
    assert "A film" in html
    assert "/commerce/items/alien/?catalogue=films" in html
    assert "Add to cart" not in html
    assert "Save: A film" in html
    assert "A film" not in client.get("/commerce/").text


def test_pictures_depend_on_the_item_alone_and_know_categories() -> None:
    assert drawn("Games > Chess", "board", "Board") == drawn("Games > Chess", "board", "Board")
    assert drawn("Games > Chess", "board", "") != drawn("Games > Chess", "clock", "")
    assert "#pawn" in drawn("Games > Chess", "board", "")
    assert "#die" in drawn("Games > Steak", "board", "")  # "Steak" holds "tea", but is none
    assert "#teapot" in drawn("茶具 > 茶壶", "hu", "")
    assert "#tag" in drawn("", "<x>", "<script>")
    assert "<script>" not in drawn("<script>", "<script>", "<script>")


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [(12.5, "EUR", "€12.50"), (3, "SEK", "SEK 3.00"), (123_456, "CNY", "¥123,456"), (None, "EUR", ""), (0, "", "0.00")],
)
def test_prices(amount: float | None, currency: str, text: str) -> None:
    assert price({"price": amount, "currency": currency}) == text
