"""The analyst's dashboard as people use it: real news over the API, the real one-process server, Chromium."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.newsroom import add_company, bad_news, publish, wait_for_the_middle_of_a_minute
from tests.browser.shop import Shop

Window = Callable[..., Page]
LIVE = re.compile("^live$")
NEAR_THE_NEWEST = """canvas => {
  const { right, top, bottom } = Chart.getChart(canvas).chartArea;
  return { x: right - 2, y: (top + bottom) / 2 };
}"""
FIRES_MS = 120_000  # a minute is decided when it is over; the rest is for a busy machine


@pytest.fixture(scope="module")
def key(shop: Shop) -> str:
    return shop.installation.key()


def status(page: Page) -> Any:
    return page.locator(".places [data-live-status]")


def board(window: Window, query: str = "", **options: Any) -> Page:
    page = window(f"/finance/?{query}", **options)
    expect(status(page)).to_have_text(LIVE)
    return page


def test_a_burst_of_bad_news_becomes_an_alert_that_two_people_agree_on(window: Window, shop: Shop, key: str) -> None:
    add_company(shop, "MRBL", "Marble Motors")
    editor = window("/finance/rules/new/?analyst=ann")
    editor.get_by_label("Name").fill("Bad press")
    editor.get_by_text("Negative share", exact=True).click()
    editor.get_by_label("Of whom").select_option("entity")
    editor.get_by_label("Entity").fill("Marble Motors")
    editor.get_by_label("Threshold", exact=True).fill("0.5")
    editor.get_by_label("Within").fill("10")
    editor.get_by_label("With at least").fill("4")
    expect(editor.locator("#proof")).to_contain_text("It would not have fired")
    editor.get_by_role("button", name="Save the rule").click()
    expect(editor.locator("tr", has_text="Bad press")).to_contain_text("negative share 50% or more of MRBL")

    ann, ben = board(window, "analyst=ann&window=1h"), board(window, "analyst=ben&window=1h")
    asked: list[str] = []
    ann.on("request", lambda request: asked.append(request.url))
    expect(ann.locator("#alerts")).to_contain_text("Nothing is firing")
    ann.wait_for_timeout(1500)
    assert asked == []  # nothing is polled

    wait_for_the_middle_of_a_minute()
    publish(shop, key, bad_news("Marble Motors"))
    expect(ann.locator("#tile-MRBL")).to_contain_text("8 stories")

    card = ann.locator(".alert.firing", has_text="MRBL: Bad press")
    expect(card).to_be_visible(timeout=FIRES_MS)
    expect(card.locator(".figures")).to_have_text(re.compile(r"\d+% negative of 8 stories, at 50% or more"))
    expect(ann.locator("#news")).to_contain_text("New alert: MRBL: Bad press")
    expect(ann).to_have_title(re.compile(r"^\(1\) "))
    expect(ben.locator(".alert.firing", has_text="MRBL: Bad press")).to_be_visible()

    ann.keyboard.press("j")
    ann.keyboard.press("Enter")
    drawer = ann.get_by_role("complementary", name="Evidence")
    expect(drawer).to_contain_text("8 stories counted")
    for title in bad_news("Marble Motors"):
        expect(drawer).to_contain_text(title)
    expect(drawer).to_contain_text("Negative share")
    expect(drawer).to_contain_text("A week before")
    expect(ann).to_have_url(re.compile(r"alert=\d+"))
    ann.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(card.locator(".name")).to_be_focused()

    ann.keyboard.press("a")
    expect(ann.get_by_role("dialog", name="Acknowledge: MRBL")).to_be_visible()
    ann.keyboard.press("Enter")
    expect(ann.get_by_role("dialog")).to_have_count(0)
    mine, theirs = (page.locator(".alert", has_text="MRBL: Bad press") for page in (ann, ben))
    expect(theirs).to_contain_text("Acknowledged by ann")
    expect(mine).to_contain_text("Acknowledged by ann")
    expect(ben.locator("#states")).to_contain_text("1 acknowledged")

    theirs.get_by_role("link", name="Silence").click()
    ben.get_by_role("button", name="Silence").click()
    expect(ben.get_by_text("This field is required.")).to_be_visible()
    ben.get_by_label("Why").fill("the recall is known")
    ben.keyboard.press("Enter")
    expect(mine).to_contain_text("Silenced by ben")
    expect(mine).to_contain_text("the recall is known")

    lived = shop.installation.query(
        "[[a.entity.symbol, int(a.fired_at.timestamp())] for a in Alert.objects.filter(rule_name='Bad press')]"
    )
    assert len(lived) == 1
    editor.get_by_role("link", name="Bad press").click()
    tested = editor.locator("#proof tr[data-fired]")
    expect(tested).to_have_count(1)
    assert [[tested.get_attribute("data-group"), int(tested.get_attribute("data-fired") or 0)]] == lived


def test_new_stories_wait_behind_a_pill_and_the_list_does_not_jump(window: Window, shop: Shop, key: str) -> None:
    add_company(shop, "PIER", "Pier Logistics")
    publish(shop, key, ["Pier Logistics opens a depot in the west"])
    page = board(window)
    rows = page.locator("#feed-rows > .story")
    expect(rows.first).to_contain_text("opens a depot")
    publish(shop, key, ["Pier Logistics wins the mail of four islands", "Pier Logistics names a new treasurer"])
    expect(page.get_by_role("button", name="2 new")).to_be_visible()
    expect(rows.first).to_contain_text("opens a depot")
    publish(shop, key, ["Pier Logistics opens a depot in the west"], source="Valley Post")
    expect(rows.first).to_contain_text("+1 outlet")  # what stands is brought up to date in its place
    page.keyboard.press("n")
    expect(page.get_by_role("button", name=re.compile("new$"))).to_have_count(0)
    expect(page.locator("#feed")).to_contain_text("wins the mail of four islands")
    expect(page.locator("#feed")).to_contain_text("names a new treasurer")


def test_a_cut_socket_makes_a_stale_page_that_catches_up(window: Window, shop: Shop, key: str) -> None:
    add_company(shop, "TARN", "Tarn Bank")
    is_cut = False
    open_sockets: list[WebSocketRoute] = []

    def route(socket: WebSocketRoute) -> None:
        if is_cut:
            socket.close(code=1012)
            return
        open_sockets.append(socket)
        socket.connect_to_server()

    page = window("/finance/rules/")
    page.route_web_socket(re.compile("/live/$"), route)
    page.goto("/finance/?entity=TARN&window=1h")
    expect(status(page)).to_have_text(LIVE)
    is_cut = True
    open_sockets[-1].close(code=1012)
    expect(page.locator(".stale-note")).to_be_visible()
    expect(status(page)).to_have_text(re.compile("^as of .+, reconnecting$"))
    publish(shop, key, ["Tarn Bank loses its licence in the south"])
    page.wait_for_timeout(1000)
    expect(page.locator("#feed-rows > .story")).to_have_count(0)
    is_cut = False
    expect(page.locator("#feed-rows > .story")).to_have_count(1, timeout=30_000)
    expect(page.locator(".stale-note")).to_be_hidden()
    expect(status(page)).to_have_text(LIVE)


def test_filters_stand_in_the_address_and_the_chart_leads_to_its_stories(window: Window, shop: Shop, key: str) -> None:
    add_company(shop, "QUAY", "Quay Foods")
    if (second := time.time() % 60) > 25:  # the minute must not be over before the chart's last point is clicked
        time.sleep(60 - second)
    publish(shop, key, ["Quay Foods raises its dividend", "Quay Foods sued over mouldy flour"])
    page = board(window)
    page.keyboard.press("/")
    page.keyboard.type("QUAY")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("entity=QUAY"))
    expect(page.locator("#series-title")).to_contain_text("QUAY")
    expect(page.locator("#tile-QUAY")).to_have_attribute("aria-current", "true")
    page.get_by_role("navigation", name="Time").get_by_role("link", name="1 h").click()
    expect(page).to_have_url(re.compile("window=1h"))
    expect(page.locator("#series-title")).to_contain_text("a minute at a time")
    page.get_by_role("navigation", name="Figure").get_by_role("link", name="Negative share").click()
    expect(page).to_have_url(re.compile("metric=negative_share"))
    page.get_by_text("As a table").click()
    expect(page.locator(".as-table tbody tr").first).to_contain_text("2")

    canvas = page.locator("#chart canvas")
    canvas.click(position=canvas.evaluate(NEAR_THE_NEWEST))
    drawer = page.get_by_role("complementary", name="Evidence")
    expect(drawer).to_contain_text("2 stories for QUAY")
    drawer.get_by_role("link", name="Quay Foods sued over mouldy flour").click()
    expect(drawer).to_contain_text("What it says, and of whom")
    page.reload()
    expect(page.get_by_role("complementary", name="Evidence")).to_contain_text("What it says, and of whom")
    page.go_back()
    expect(page).not_to_have_url(re.compile("metric="))
    expect(page.locator("#series-title")).to_contain_text("QUAY")


def test_the_proof_follows_the_threshold_as_it_is_dragged(window: Window, shop: Shop, key: str) -> None:
    add_company(shop, "RILL", "Rill Water")
    before = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()  # a minute that is over: others are not replayed
    publish(shop, key, bad_news("Rill Water")[:5], published_at=before)
    page = window("/finance/rules/new/")
    page.get_by_text("Number of stories", exact=True).click()
    count = page.locator(".proof-count")
    slider = page.get_by_label("Threshold, to be dragged")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.get_by_label("Threshold", exact=True)).to_have_value("0")
    expect(page.locator("#proof")).to_contain_text("Threshold: Must be from 1")
    page.keyboard.press("ArrowRight")
    expect(count).to_contain_text("It would have fired")
    expect(page.locator("#proof tr[data-group=RILL]").first).to_be_visible()
    page.keyboard.press("End")
    expect(count).to_contain_text("It would not have fired")


def test_a_phone_shows_alerts_first_and_nothing_is_cut(window: Window) -> None:
    page = board(window, viewport={"width": 390, "height": 844})
    tops = [page.locator(part).bounding_box() for part in ("#states", "#alerts", "#series", "#feed")]
    assert [box["y"] for box in tops if box] == sorted(box["y"] for box in tops if box)
    for path in ("", "alerts/", "rules/", "rules/new/", "sources/", "entities/", "notifications/"):
        page.goto(f"/finance/{path}")
        excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert excess <= 0, path
