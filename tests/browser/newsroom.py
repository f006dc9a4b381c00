"""News for the browser tests, sent in over the API as a sender would."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.browser.shop import Shop
from tests.project import wait_until

# Seconds of a minute between which a burst begins: all of it is read before the minute is decided, soon after.
BURST = 25, 40


def add_company(shop: Shop, symbol: str, name: str) -> None:
    """An entity that articles are searched for, unless there is one already."""
    shop.installation.query(
        f"Entity.objects.get_or_create(symbol={symbol!r}, defaults={{'name': {name!r}}})[0].aliases"
        f".get_or_create(text={name!r})[1]"
    )


def bad_news(name: str) -> list[str]:
    """Headlines that nobody takes for good, each a story of its own."""
    return [
        f"{name} recalls thousands of vans after brake failures",
        f"Court fines {name} for hiding defects from buyers",
        f"Shares of {name} plunge as annual losses widen",
        f"Workers walk out at {name} over an unsafe paint shop",
        f"Prosecutors accuse the treasurer of {name} of fraud",
        f"Fire destroys the largest warehouse of {name}",
        f"{name} defaults on a bond, lenders refuse new credit",
        f"裁员九百人,{name}巨额亏损",
    ]


def publish(shop: Shop, key: str, titles: list[str], **more: Any) -> None:
    """Articles of this moment, unless `published_at` is given; returns when every one was read."""
    ids = [uuid.uuid4().hex for _ in titles]
    common = {"published_at": datetime.now(UTC).isoformat(), "source": "Harbour Wire"} | more
    articles = [{"article_id": id, "title": title} | common for id, title in zip(ids, titles, strict=True)]
    events = {"source": "newsroom", "type": "finance.article.published"}
    shop.send(key, [events | {"id": data["article_id"], "data": data} for data in articles])
    wait_until(lambda: all(title in feed(shop) for title in titles), 60, "reading the articles")


def feed(shop: Shop) -> str:
    return httpx.get(f"{shop.address}/finance/parts/feed/", timeout=30).text


def wait_for_the_middle_of_a_minute() -> None:
    first, last = BURST
    while not first <= time.time() % 60 <= last:
        time.sleep(0.5)
