"""Why an item is in the list, in words that the person in front of the page understands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domains.commerce.recommender.ranker import Ranked

VERBS = {"view": "viewed", "cart": "put in your cart", "purchase": "bought", "rating": "rated"}
STRENGTH = ("rating", "view", "cart", "purchase")  # of a verb: the last one that is true is said
ASKED = "asked"  # the item that similar ones are wanted for
SMALLEST = 0.03  # share of the score below which a channel is not worth a line


def strongest(kinds: set[str]) -> str:
    """The one kind of interaction to name, of those a person had with one item."""
    return max(kinds, key=lambda kind: STRENGTH.index(kind) if kind in STRENGTH else -1)


def reasons(
    ranked: Ranked, titles: Mapping[str, str], kinds: Mapping[str, str], links: Mapping[tuple[str, str], str]
) -> list[dict[str, Any]]:
    """One reason a channel, the strongest first: its share of the score (they sum to about 1), the person's items
    behind it with theirs, and a sentence. `titles` by item id; `kinds` by history item: what the person did with it;
    `links` by (history item, this item): how the knowledge graph relates the two.
    """
    found = []
    for channel, share in sorted(ranked.shares.items(), key=lambda pair: -pair[1]):
        if share < SMALLEST:
            continue
        causes = [(key, strength) for key, name, strength in ranked.because if name == channel]
        behind = [
            {"item_id": key, "title": titles.get(key, key), "kind": kinds.get(key, "view"), "strength": strength}
            for key, strength in causes
        ]
        link = links.get((causes[0][0], ranked.key), "") if channel == "graph" and causes else ""
        found.append({"channel": channel, "share": share, "text": sentence(channel, behind, link), "items": behind})
    return found


def newest_reason() -> dict[str, Any]:
    return {"channel": "newest", "share": 1.0, "text": "New here", "items": []}


def sentence(channel: str, behind: list[dict[str, Any]], link: str = "") -> str:
    if channel == "popular" or not behind:
        return {"popular": "Popular now", "text": "Like what you looked at"}.get(channel, "Goes with what you chose")
    title, kind = behind[0]["title"], behind[0]["kind"]
    if channel == "graph":
        related = f"{link[:1].upper()}{link[1:]}" if link else "Related"
        return related if kind == ASKED else f"{related}, because you {VERBS.get(kind, 'viewed')} “{title}”"
    if kind == ASKED:
        return f"Similar to “{title}”" if channel == "text" else f"Often chosen together with “{title}”"
    cause = f"because you {VERBS.get(kind, 'viewed')} “{title}”"
    if channel == "text":
        return f"Similar, {cause}"
    return f"Often chosen together, {cause}"
