"""What the tests of finance share: an encoder without a model, and entities."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from domains.finance.models import Alias, Entity
from domains.finance.news import trees
from suite.encoder.fake import FakeEncoder
from suite.encoder.heads import HeadSpec, fit_head
from suite.marking import prefix_of

LEANINGS = {
    "negative": ("falls", "loss", "probe", "fined", "recalls", "cuts", "strike", "亏损", "调查"),
    "neutral": ("names", "to hold", "opens", "meets", "unchanged", "moves", "维持", "任命"),
    "positive": ("rises", "profit", "wins", "beats", "record", "approval", "raises", "获批", "增长"),
}
TOPICS = {
    "earnings": ("profit", "loss", "sales", "results", "亏损"),
    "legal": ("probe", "fined", "court", "调查"),
    "people": ("names", "strike", "chief", "任命"),
}


@cache
def fake_encoder(salt: str = "") -> FakeEncoder:
    """A fake whose heads know a few words."""
    bare = FakeEncoder(dimensions=128, salt=salt)
    heads = {}
    for name, words in (("sentiment", LEANINGS), ("topic", TOPICS)):
        examples = [
            (f"Acme {word} {extra}", label) for label, some in words.items() for word in some for extra in "xyz"
        ]
        spec = HeadSpec(name, "classification", tuple(sorted(words)), "macro_f1", prefix_of("classification"))
        heads[name] = fit_head(bare, spec, examples, examples)[0]
    return FakeEncoder(dimensions=128, heads=heads, salt=salt)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEncoder]:
    """The fake as the active release's encoder."""
    trees.forget()
    found = fake_encoder()
    monkeypatch.setattr("domains.finance.handlers.active_encoder", lambda: found)
    yield found
    trees.forget()


@pytest.fixture
def companies(db: None) -> dict[str, Entity]:
    """A few companies, by symbol."""
    names = {"HLDN": "Halden Motors", "NWB": "Northwind Bank", "CRVN": "Corvane Pharma", "YLB": "云岭银行"}
    found = {symbol: Entity.objects.create(symbol=symbol, name=name) for symbol, name in names.items()}
    Alias.objects.bulk_create(Alias(entity=entity, text=entity.name) for entity in found.values())
    return found
