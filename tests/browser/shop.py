"""A running Suite with the sample items in it, taken in over its API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from domains.commerce import sample
from tests.project import ROOT, Installation, Process, wait_until

ITEMS = Path(sample.__file__ or "").parent / "items.jsonl"


class Shop:
    """`address` stays the same when the server is stopped and started again."""

    def __init__(self, state: Path) -> None:
        self.installation = Installation(ROOT, state, {"SUITE_DEMO": "1"})
        self.server: Process | None = None
        self.port = "0"

    @property
    def address(self) -> str:
        return self.installation.address

    def start(self) -> None:
        self.server = self.installation.up("--no-sample", "--port", self.port)
        self.port = self.address.rsplit(":", 1)[1]

    def stop(self) -> None:
        if self.server is not None:
            self.server.kill()

    def send(self, key: str, events: list[dict[str, Any]]) -> None:
        """Events through the API; fails where one is not accepted."""
        response = httpx.post(
            f"{self.address}/api/events",
            content=json.dumps(events),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"},
            timeout=60,
        )
        assert response.status_code == 202, response.text
        assert {result["status"] for result in response.json()["results"]} == {"accepted"}, response.text


def sample_items() -> list[dict[str, Any]]:
    """The sample items of the first catalogue."""
    items = [json.loads(line) for line in ITEMS.read_text().splitlines() if line.strip()]
    return [item for item in items if item.get("catalogue", "shop") == "shop"]


def item_events(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"id": f"item {item['item_id']}", "source": "sample", "type": "commerce.item.changed", "data": item}
        for item in items
    ]


def stock(shop: Shop) -> None:
    """Take every sample item in, and wait until a search by words and meaning finds the first and the last."""
    items = sample_items()
    shop.send(shop.installation.key(), item_events(items))
    wait_until(lambda: all(is_found(shop, item) for item in (items[0], items[-1])), 400, "indexing of the items")


def is_found(shop: Shop, item: dict[str, Any]) -> bool:
    """Whether a search by words and meaning finds the item."""
    page = httpx.get(f"{shop.address}/commerce/", params={"q": item["title"]}, timeout=30).text
    return "matched by words and meaning" in page and f"/items/{item['item_id']}/" in page.split('id="for-you"')[0]
