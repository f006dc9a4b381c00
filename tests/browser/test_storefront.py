"""The storefront as people use it: real clicks in Chromium, the real one-process server behind it."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.shop import Shop

Window = Callable[..., Page]
LIVE = re.compile("^live$")


def picks(page: Page) -> list[str]:
    return page.locator(".pick").evaluate_all("rows => rows.map(row => row.dataset.item)")


def first_card(page: Page) -> str:
    """The id of the first item of the grid."""
    return str(page.locator(".card .open").first.get_attribute("href")).split("/items/")[1].split("/?")[0]


def wait_for_list(page: Page, before: list[str]) -> None:
    page.wait_for_function(
        "before => JSON.stringify([...document.querySelectorAll('.pick')].map(row => row.dataset.item)) !== before",
        arg=str(before).replace("'", '"').replace(", ", ","),
    )


def test_search_click_and_the_list_changes_by_push(window: Window) -> None:
    page = window()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/for-you/" in request.url else None)
    expect(page.locator("[data-live-status]")).to_have_text(LIVE)
    expect(page.get_by_text("Popular now").or_(page.get_by_text("New here")).first).to_be_visible()
    before = picks(page)
    assert asked == []  # nothing is polled

    page.get_by_role("searchbox").fill("chess board")
    expect(page.get_by_role("status").filter(has_text="results for “chess board”")).to_be_visible()
    page.get_by_role("link", name=re.compile("Solid Oak Chess Board")).first.click()

    expect(page.get_by_role("heading", level=1, name=re.compile("Solid Oak Chess Board"))).to_be_visible()
    wait_for_list(page, before)
    reason = page.locator(".pick").filter(has_text=re.compile("because you viewed “Solid Oak Chess Board"))
    expect(reason.first).to_be_visible()
    expect(page.locator("#click-to-list")).to_have_text(re.compile(r"^\d+\.\d s$"))
    assert float(page.locator("#click-to-list").get_attribute("data-milliseconds") or "nan") > 0
    expect(page.locator(".pick .moved", has_text="new").first).to_be_visible()
    assert "chess-board-oak" not in picks(page)
    assert asked  # the frame said that there is news, and the page fetched it


def test_why_opens_the_reasons_and_stays_open_while_the_list_changes(window: Window) -> None:
    page = window("/commerce/items/chess-board-oak/")
    expect(page.locator(".pick").filter(has_text="because you viewed").first).to_be_visible()
    row = page.locator(".pick").first
    key = row.get_attribute("data-item")
    row.locator("summary").click()
    expect(row.locator(".because")).to_contain_text("Solid Oak Chess Board")
    expect(row.locator(".because")).to_contain_text("Left out of this list: 1 seen before")

    before = picks(page)
    dismissed = page.locator(".pick").nth(4)
    gone = dismissed.get_attribute("data-item")
    dismissed.get_by_role("button", name=re.compile("Not for me")).click()
    wait_for_list(page, before)
    assert gone not in picks(page)
    expect(page.locator(f'.pick[data-item="{key}"] details')).to_have_attribute("open", "")


def test_two_windows_of_one_user_agree(window: Window) -> None:
    first, second = window("/commerce/?user=ada"), window("/commerce/?user=ada")
    expect(second.get_by_text("You look as ada")).to_be_visible()
    expect(second.locator("[data-live-status]")).to_have_text(LIVE)
    before = picks(second)

    first.locator(".card").get_by_role("button").first.click()

    expect(first.locator(".card").first.get_by_text("in cart")).to_be_visible()
    wait_for_list(second, before)
    expect(second.locator(".pick").filter(has_text="because you put in your cart").first).to_be_visible()
    expect(first.locator("#click-to-list")).to_be_visible()
    assert picks(first) == picks(second)


def test_sessions_are_apart_and_need_no_account(window: Window) -> None:
    first, second = window(), window()
    expect(first.get_by_text("This session, without a log-in")).to_be_visible()
    before, others = picks(first), picks(second)
    first.locator(".card .open").first.click()
    wait_for_list(first, before)
    second.wait_for_timeout(500)
    assert picks(second) == others
    expect(second.locator(".done summary")).to_contain_text("nothing yet")
    first.reload()
    expect(first.locator(".done summary")).to_contain_text("What you did")
    expect(first.locator(".done summary")).not_to_contain_text("nothing yet")


def test_back_and_links_lead_to_whole_pages(window: Window) -> None:
    page = window()
    page.get_by_role("navigation", name="Categories").get_by_role("link", name=re.compile("^Garden")).click()
    expect(page).to_have_url(re.compile("category=Garden"))
    expect(page.get_by_role("heading", level=1, name="Garden")).to_be_attached()
    page.locator(".card .open").first.click()
    expect(page.get_by_role("heading", name="Similar items")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(re.compile("category=Garden"))
    expect(page.locator(".card").first).to_be_visible()
    expect(page.locator(".for-you")).to_be_visible()


def test_the_keyboard_is_enough(window: Window) -> None:
    page = window()
    expect(page.locator("[data-live-status]")).to_have_text(LIVE)
    before = picks(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("jk?cx")  # letters, not commands
    expect(page.get_by_role("searchbox")).to_have_value("jk?cx")
    page.get_by_role("searchbox").fill("")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("c")
    wait_for_list(page, before)
    expect(page.locator(".toast")).to_contain_text("In your cart")


def test_an_input_method_that_composes_searches_nothing(window: Window) -> None:
    page = window()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "q=" in request.url else None)
    page.evaluate(
        """() => {
          const box = document.querySelector('.search [name=q]');
          box.value = 'qi';
          box.dispatchEvent(new InputEvent('input', {bubbles: true, isComposing: true}));
        }"""
    )
    page.wait_for_timeout(600)
    assert asked == []
    page.evaluate(
        """() => {
          const box = document.querySelector('.search [name=q]');
          box.value = '棋';
          box.dispatchEvent(new CompositionEvent('compositionend', {bubbles: true, data: '棋'}));
        }"""
    )
    expect(page).to_have_url(re.compile("q=%E6%A3%8B"))


def test_a_click_that_cannot_be_taken_says_why(window: Window, shop: Shop) -> None:
    page = window("/commerce/?user=eve", expects_errors=True)
    form = page.locator(".card form").first
    form.locator("[name=kind]").evaluate("input => { input.value = 'steal' }")
    with page.expect_response(re.compile("/clicks/")) as answer:
        form.get_by_role("button").click()
    assert answer.value.status == 422
    expect(page.locator(".toast.bad")).to_contain_text("data.kind must be one of")


def test_a_server_that_restarts_leaves_a_stale_page_that_recovers(window: Window, shop: Shop) -> None:
    page = window("/commerce/?user=grace")
    expect(page.locator("[data-live-status]")).to_have_text(LIVE)
    shop.stop()
    expect(page.locator("[data-live-status]")).to_have_text(re.compile("^as of .+, reconnecting$"), timeout=15_000)
    before = picks(page)
    shop.start()
    expect(page.locator("[data-live-status]")).to_have_text(LIVE, timeout=60_000)
    page.locator(".card").get_by_role("button").first.click()
    wait_for_list(page, before)
