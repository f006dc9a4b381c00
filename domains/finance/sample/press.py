"""The sample's press: invented companies, invented outlets, and what they write about them, drawn from phrases.

A piece of news is told by several outlets in words of their own; which way it leans, for whom, is written beside each
phrase, so the same material fits the heads of a first release and fills the dashboard.
"""

from __future__ import annotations

import csv
import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
COMPANY_KIND = "company"
PLACES = ("Porto", "Leeds", "Aarhus", "Gdansk", "Turin", "Osaka", "Quito", "Perth", "Tampere", "Lyon")


@dataclass(frozen=True, slots=True)
class Phrase:
    """One piece of news in several wordings. `leans` gives a leaning by slot: {a}, {b}, or "" for the text itself."""

    topic: str
    language: str
    leans: dict[str, str]
    say: tuple[str, ...]

    @property
    def companies(self) -> int:
        return ("{a}" in self.say[0]) + ("{b}" in self.say[0])


@dataclass(frozen=True, slots=True)
class Company:
    symbol: str
    name: str
    language: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A phrase about somebody: its wordings, and the names in them with their leaning."""

    phrase: Phrase
    titles: tuple[str, ...]
    names: dict[str, str]  # name as written: leaning


@cache
def phrases() -> tuple[Phrase, ...]:
    lines = (FOLDER / "news.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(_phrase(json.loads(line)) for line in lines)


def _phrase(line: dict[str, Any]) -> Phrase:
    lean = line["lean"]
    leans = lean if isinstance(lean, dict) else {"": lean} | ({"a": lean} if "{a}" in line["say"][0] else {})
    if isinstance(lean, str) and "{b}" in line["say"][0]:
        leans["b"] = lean
    return Phrase(line["topic"], line.get("language", "en"), leans, tuple(line["say"]))


@cache
def entity_lines() -> tuple[dict[str, Any], ...]:
    lines = (FOLDER / "entities.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


@cache
def companies() -> tuple[Company, ...]:
    return tuple(
        Company(line["symbol"], line["name"], "en" if line["name"].isascii() else "zh")
        for line in entity_lines()
        if line["kind"] == COMPANY_KIND
    )


@cache
def outlets() -> dict[str, tuple[str, ...]]:
    """Names of outlets by language."""
    found: dict[str, tuple[str, ...]] = {}
    with (FOLDER / "sources.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["language"]] = (*found.get(row["language"], ()), row["name"])
    return found


def write(phrase: Phrase, dice: random.Random, about: tuple[str, ...]) -> Piece:
    """The phrase with its figures drawn, about these companies (names)."""
    slots = {
        "percent": f"{dice.randint(11, 490) / 10:g}%",
        "money": money(dice, phrase.language),
        "count": str(dice.randint(6, 95) * 100),
        "place": dice.choice(PLACES),
    } | dict(zip("ab", about, strict=False))
    titles = tuple(capitalised(wording.format(**slots)) for wording in phrase.say)
    names = {slots[slot]: lean for slot, lean in phrase.leans.items() if slot}
    return Piece(phrase, titles, names)


def money(dice: random.Random, language: str) -> str:
    amount = dice.randint(11, 980)
    return f"{amount / 10:g}亿元" if language == "zh" else f"${amount} million"


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
