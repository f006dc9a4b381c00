"""One real `manage.py up` with a catalogue in it, and windows of a real Chromium that look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import chromium
from tests.browser.shop import Shop, stock

FOLDER = Path(__file__).parent
expect.set_options(timeout=15_000)  # a machine that does other things too is slow, not wrong


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER not in item.path.parents:
            continue
        item.add_marker(pytest.mark.browser)
        item.add_marker(pytest.mark.timeout(600))
        if not chromium.is_installed():
            item.add_marker(pytest.mark.skip(reason=f"no Chromium at {chromium.PATH}: apt-get install chromium"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium.launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    try:
        shop.start()
        stock(shop)
        yield shop
    finally:
        shop.stop()


@pytest.fixture
def window(browser: Browser, shop: Shop) -> Iterator[Callable[..., Page]]:
    """`window(path, **options)`: a window of somebody new. The test fails where one's console has an error, unless
    `expects_errors` is given."""
    errors: list[str] = []
    contexts = []

    def open_window(path: str = "/commerce/", *, expects_errors: bool = False, **options: object) -> Page:
        options = {"viewport": {"width": 1440, "height": 900}} | options
        context = browser.new_context(base_url=shop.address, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        if not expects_errors:
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path)
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert [error for error in errors if not is_of_a_restart(error)] == []


def is_of_a_restart(error: str) -> bool:
    """What Chromium itself writes while no server listens: it can be neither caught nor silenced by a page."""
    return "ERR_CONNECTION_REFUSED" in error or "WebSocket connection to" in error or "ERR_EMPTY_RESPONSE" in error
