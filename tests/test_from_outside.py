"""What a shop developer sees over HTTP alone: a running process, its API, nothing else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.project import ROOT, Installation, wait_until

SHOP = "outside"
GARDEN = [
    "Rake with twelve steel tines",
    "Galvanised watering can",
    "Seeds of wild meadow flowers",
    "Compost bin of larch",
]
CHESS = ["Oak chess board", "Chess clock of walnut", "Weighted chess pieces of boxwood", "A primer of chess openings"]
SOON = 240  # seconds; it only bounds a hang: on an idle machine it takes about two


class Shop:
    """One shop on a running Suite."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.key = installation.key()

    def send(self, *events: tuple[str, dict[str, Any]]) -> None:
        answer = self.installation.post(
            self.key,
            [
                {
                    "id": uuid.uuid4().hex,
                    "source": "shop",
                    "type": f"commerce.{kind}",
                    "data": {"catalogue": SHOP} | data,
                }
                for kind, data in events
            ],
        )
        assert answer.status_code == 202, answer.text
        assert {result["status"] for result in answer.json()["results"]} == {"accepted"}, answer.text

    def add(self, *titles: str) -> None:
        self.send(*(("item.changed", {"item_id": title.lower(), "title": title}) for title in titles))

    def view(self, user: str, *titles: str, kind: str = "view") -> None:
        self.send(
            *(("interaction.recorded", {"user_id": user, "item_id": title.lower(), "kind": kind}) for title in titles)
        )

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        answer = httpx.get(
            f"{self.installation.address}/api/commerce/{path}",
            params={"catalogue": SHOP, **query},
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def recommended(self, user: str, k: int = 3) -> list[dict[str, Any]]:
        return self.get(f"users/{user}/recommendations", k=k)["items"]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    running = Installation(ROOT, tmp_path_factory.mktemp("outside") / "state")
    running.up("--no-sample").wait_for("Suite is ready")
    yield running
    running.end()


@pytest.fixture(scope="module")
def shop(installation: Installation) -> Shop:
    shop = Shop(installation)
    shop.add(*GARDEN[:3], *CHESS[:3])
    wait_until(lambda: bool(shop.get("search", q="chess")["items"]), 60, "the first items to be searchable")
    return shop


def by_text(shop: Shop, user: str, title: str, k: int) -> bool:
    """Whether the item is in the user's first k, and its text is a reason."""
    found = [item for item in shop.recommended(user, k) if item["title"] == title]
    return bool(found) and any(reason["channel"] == "text" for reason in found[0]["reasons"])


@pytest.mark.encoder
def test_a_new_item_is_recommended_for_its_text_within_seconds(shop: Shop) -> None:
    shop.view("ada", *CHESS[:2])
    shop.view("eve", *GARDEN[:2])
    assert CHESS[3] not in [item["title"] for item in shop.recommended("ada", 10)]
    shop.add(CHESS[3], GARDEN[3])
    wait_until(lambda: by_text(shop, "ada", CHESS[3], 3), SOON, "the new book among what the player gets")
    wait_until(lambda: by_text(shop, "eve", GARDEN[3], 10), SOON, "the new bin among what the gardener gets")
    # Others' clicks are counted sooner or later. One click comes after a book that is much like what the player saw,
    # and before a bin that is a little like a rake; of the new items, which nobody saw, text alone decides.
    counted = f"Catalogue.objects.get(slug={SHOP!r}).statistics_at is not None"
    wait_until(lambda: shop.installation.query(counted), SOON, "statistics of the clicks")
    assert by_text(shop, "ada", CHESS[3], 3)
    for user, fitting, other in (("ada", CHESS[3], GARDEN[3]), ("eve", GARDEN[3], CHESS[3])):
        titles = [item["title"] for item in shop.recommended(user, 10)]
        assert titles.index(fitting) < titles.index(other), f"{user} is recommended what fits"


def test_the_very_next_answer_knows_of_the_click(shop: Shop) -> None:
    """No waiting anywhere: rows are written before the POST is answered."""
    for number in range(5):
        user = f"reader-{number}"
        assert shop.get(f"users/{user}/recommendations", k=3)["served_by"] != "blend"
        shop.view(user, CHESS[0])
        answer = shop.get(f"users/{user}/recommendations", k=3)
        assert answer["served_by"] == "blend"
        assert answer["history"] == 1
        assert CHESS[0] not in [item["title"] for item in answer["items"]], "what was seen is left out"
        assert all(
            behind["title"] == CHESS[0]
            for item in answer["items"]
            for reason in item["reasons"]
            for behind in reason["items"]
        )
        best = answer["items"][0]["title"]
        shop.view(user, best, kind="dismiss")
        assert best not in [item["title"] for item in shop.recommended(user, 10)], "what was dismissed is, too"


def test_a_link_that_came_in_relates_items_within_seconds(shop: Shop) -> None:
    shop.view("ben", CHESS[1])
    for title in (CHESS[1], GARDEN[0]):
        shop.send(("link.recorded", {"head": title.lower(), "relation": "maker", "tail": "Ferrox"}))

    def is_said() -> bool:
        texts = [reason["text"] for item in shop.recommended("ben", 10) for reason in item["reasons"]]
        return any("Same maker: Ferrox" in text for text in texts)

    wait_until(is_said, SOON, "a reason that names the maker")


def test_the_live_sample_plays_into_a_running_server(installation: Installation) -> None:
    assert installation.query("Catalogue.objects.get_or_create(slug='shop', title='Shop')[1]")
    counts = json.loads(
        installation.manage(
            "play", "commerce.shop", "--url", installation.address, "--speed", "50", "--seconds", "2", "--json"
        )
    )
    assert counts["accepted"] > 5
    assert counts.keys() == {"seconds", "accepted"}
    stored = "Event.objects.filter(source='sample', type='commerce.interaction.recorded').count()"
    assert installation.query(stored) == counts["accepted"]
    assert installation.query("ApiKey.objects.filter(name__startswith='play').count()") == 0
