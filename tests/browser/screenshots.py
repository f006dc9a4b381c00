"""A picture of each page, light and dark, wide and narrow, empty and full, English and Chinese, to be looked at.

    python -m tests.browser.screenshots FOLDER

It starts a server of its own on an empty state, takes the empty pages, starts another with the sample data, and takes
the full ones. Exit status 1 where a page is wider than its window or its console has an error.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "suite.settings")

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.browser import chromium
from tests.project import ROOT, Installation, wait_until

WINDOWS = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
SCHEMES = ("light", "dark")
EMPTY = {"home": "/", "storefront": "/commerce/", "not-found": "/nowhere/", "chat": "/support/chat/"}
FULL = {
    "home": "/",
    "storefront": "/commerce/?user=",
    "category": "/commerce/?category=Garden",
    "search": "/commerce/?q=warm+drink",
    "search-nothing": "/commerce/?q=zzzz&category=Nowhere",
    "item": "/commerce/items/chess-board-oak/",
    "user": "/commerce/?user=mara",
    "articles": "/commerce/?catalogue=articles&user=",
    "chinese": "/commerce/?catalogue=zh",
    "chinese-search": "/commerce/?catalogue=zh&q=%E8%8C%B6%E5%A3%B6",
    "chat": "/support/chat/",
    "chat-chinese": "/support/chat/?lang=zh",
    "log-in": "/admin/login/",
}
AGENT = {
    "desk": "/support/",
    "desk-solved": "/support/?tab=solved",
    "desk-nowhere": "/support/conversations/nowhere/",
    "answers": "/support/answers/",
    "answers-nothing": "/support/answers/?q=zzzz",
    "new-answer": "/support/answers/new/",
    "insights": "/support/insights/?days=90",
}
WAITING = ("张伟", "Greta", "Clara")  # in the sample; each is a picture of an open conversation
ANALYST = {
    "board": "/finance/",
    "board-chinese": "/finance/?list=Banks+and+insurers&window=7d",
    "board-entity": "/finance/?entity=NWB&window=30d&metric=negative_share",
    "board-nobody": "/finance/?entity=nobody",
    "alerts": "/finance/alerts/",
    "rules": "/finance/rules/",
    "new-rule": "/finance/rules/new/",
    "sources": "/finance/sources/",
    "entities": "/finance/entities/",
    "notifications": "/finance/notifications/",
}
OPERATOR = {
    "catalogues": "/admin/commerce/catalogue/",
    "catalogue": "/admin/commerce/catalogue/1/change/",
    "items": "/admin/commerce/item/",
    "item-row": "/admin/commerce/item/1/change/",
    "interactions": "/admin/commerce/interaction/",
    "statistics": "/admin/commerce/itemstatistics/",
    "statistics-row": "/admin/commerce/itemstatistics/1/change/",
    "links": "/admin/commerce/link/",
    "related-row": "/admin/commerce/relateditems/1/change/",
    "events": "/admin/events/event/",
    "keys": "/admin/events/apikey/",
    "jobs": "/admin/events/joblease/",
    "generations": "/admin/index/generation/",
    "releases": "/admin/releases/release/",
    "support-conversations": "/admin/support/conversation/",
    "support-conversation": "/admin/support/conversation/1/change/",
    "support-runs": "/admin/support/suggestionrun/",
    "support-rankers": "/admin/support/ranker/",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as state, chromium.launched() as browser:
        with started(Path(state) / "empty", "--no-sample") as server:
            faults += pictures(browser, server.address, EMPTY, folder / "empty")
            server.query("bool(User.objects.create_superuser('operator', password='operator'))")
            faults += agent_pictures(browser, server.address, folder / "empty")
            faults += analyst_pictures(browser, server.address, folder / "empty")
        with started(Path(state) / "full", wait_for="Suite is ready") as server:
            faults += pictures(browser, server.address, FULL, folder / "full")
            faults += agent_pictures(browser, server.address, folder / "full", WAITING)
            faults += analyst_pictures(browser, server.address, folder / "full")
            faults += operator_pictures(browser, server.address, folder / "full")
    print("\n".join(faults) or f"No fault found; now look at {folder}")
    return 1 if faults else 0


@contextmanager
def started(state: Path, *arguments: str, wait_for: str = "") -> Iterator[Installation]:
    """A server of its own on a new state."""
    server = Installation(ROOT, state)
    process = server.up(*arguments)
    try:
        wait_until(lambda: wait_for in process.output, 400, "the first start")
        wait_until(lambda: not server.query("PendingEvent.objects.exists()"), 400, "the end of the backlog")
        yield server
    finally:
        process.kill()


def windows(browser: Browser, address: str) -> Iterator[tuple[str, Page]]:
    for window, size in WINDOWS.items():
        for scheme in SCHEMES:
            context = browser.new_context(base_url=address, viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
            yield f"{window}-{scheme}", context.new_page()
            context.close()


def pictures(browser: Browser, address: str, pages: dict[str, str], folder: Path) -> list[str]:
    """One picture a page and window; returns what is wrong with them."""
    faults: list[str] = []
    for name, page in windows(browser, address):
        watch(page, name, faults)
        for title, path in pages.items():
            page.goto(path)
            settle(page)
            faults += take(page, folder / f"{title}-{name}.png")
    return faults


def agent_pictures(browser: Browser, address: str, folder: Path, waiting: Sequence[str] = ()) -> list[str]:
    """The pages of support's agents, and an open conversation of each named customer."""
    faults: list[str] = []
    for name, page in windows(browser, address):
        watch(page, name, faults)
        log_in(page)
        for title, path in AGENT.items():
            page.goto(path)
            settle(page)
            faults += take(page, folder / f"{title}-{name}.png")
        for number, customer in enumerate(waiting, start=1):
            page.goto("/support/")
            page.locator("[data-entry]").filter(has_text=customer).get_by_role("link").click()
            settle(page)
            faults += take(page, folder / f"desk-open-{number}-{name}.png")
    return faults


def analyst_pictures(browser: Browser, address: str, folder: Path) -> list[str]:
    """The pages of finance, and the drawers and dialogs of the first alert and story where there are some."""
    faults: list[str] = []
    for name, page in windows(browser, address):
        watch(page, name, faults)
        log_in(page)
        for title, path in ANALYST.items():
            page.goto(path)
            settle(page)
            faults += take(page, folder / f"{title}-{name}.png")
        page.goto("/finance/")
        for title, opener in (("story", ".story .headline"), ("evidence", ".alert.firing .name")):
            if page.locator(opener).count():
                page.locator(opener).first.click()
                expect(page.locator("#drawer h2").first).to_be_visible()
                page.wait_for_timeout(300)  # it slides in
                faults += take(page, folder / f"{title}-{name}.png")
                page.keyboard.press("Escape")
        if page.locator(".alert.firing").count():
            page.locator(".alert.firing").first.get_by_role("link", name="Silence").click()
            expect(page.get_by_role("dialog")).to_be_visible()
            faults += take(page, folder / f"silence-{name}.png")
    return faults


def log_in(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill("operator")
    page.get_by_label("Password").fill("operator")
    page.keyboard.press("Enter")
    expect(page.get_by_text("To decide today")).to_be_visible()


def settle(page: Page) -> None:
    """Until the page is live, its list has followed a view, and what moves stands still."""
    status = page.locator("[data-live-status]")
    if status.count():
        expect(status.last).to_have_text("live")
    page.wait_for_timeout(700)


def operator_pictures(browser: Browser, address: str, folder: Path) -> list[str]:
    faults: list[str] = []
    for name, page in windows(browser, address):
        log_in(page)
        faults += take(page, folder / f"operator-{name}.png")
        for title, path in OPERATOR.items():
            page.goto(path)
            faults += take(page, folder / f"admin-{title}-{name}.png")
        page.goto("/commerce/?user=mara")
        expect(page.locator("[data-live-status]")).to_have_text("live")
        page.locator(".pick summary").first.click()
        faults += take(page, folder / f"why-{name}.png")
        page.keyboard.press("?")
        faults += take(page, folder / f"keys-{name}.png")
    return faults


def take(page: Page, path: Path) -> list[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"{path.name}: {excess} px wider than the window"] if excess > 0 else []


def watch(page: Page, name: str, faults: list[str]) -> None:
    def hear(message: ConsoleMessage) -> None:
        is_expected = "404 (Not Found)" in message.text  # of the page that is not found
        if message.type == "error" and not is_expected:
            faults.append(f"{name}: console: {message.text}")

    page.on("console", hear)


if __name__ == "__main__":
    sys.exit(main())
