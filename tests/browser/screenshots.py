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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "suite.settings")

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.browser import chromium
from tests.project import ROOT, Installation, wait_until

WINDOWS = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
SCHEMES = ("light", "dark")
EMPTY = {"home": "/", "storefront": "/commerce/", "not-found": "/nowhere/"}
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
    "log-in": "/admin/login/",
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
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as state, chromium.launched() as browser:
        with started(Path(state) / "empty", "--no-sample") as address:
            faults += pictures(browser, address, EMPTY, folder / "empty")
        with started(Path(state) / "full", wait_for="Suite is ready") as address:
            faults += pictures(browser, address, FULL, folder / "full")
            faults += operator_pictures(browser, address, folder / "full")
    print("\n".join(faults) or f"No fault found; now look at {folder}")
    return 1 if faults else 0


@contextmanager
def started(state: Path, *arguments: str, wait_for: str = "") -> Iterator[str]:
    """The address of a server of its own on a new state."""
    server = Installation(ROOT, state)
    process = server.up(*arguments)
    try:
        wait_until(lambda: wait_for in process.output, 400, "the first start")
        yield server.address
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
            status = page.locator("[data-live-status]")
            if status.count():
                expect(status).to_have_text("live")
            page.wait_for_timeout(700)  # for the list to follow a view, and what moves to stand still
            faults += take(page, folder / f"{title}-{name}.png")
    return faults


def operator_pictures(browser: Browser, address: str, folder: Path) -> list[str]:
    faults: list[str] = []
    for name, page in windows(browser, address):
        page.goto("/admin/")
        page.get_by_label("Username").fill("operator")
        page.get_by_label("Password").fill("operator")
        page.keyboard.press("Enter")
        expect(page.get_by_text("To decide today")).to_be_visible()
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
