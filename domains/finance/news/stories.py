"""Which articles tell one story. Pure: articles come in as sketches, however they are stored.

An article's original is the earlier article that it is most like, of those that are no copies themselves; a story is an
original with its copies. So which articles are one story follows from the articles alone and not from the order in
which they came in, a headline that lies between two pieces of news joins one of them and never makes them one, and no
chain of copies leads from one piece of news to another.

Like enough is decided by shingles of the body (Broder, On the Resemblance and Containment of Documents, 1997), by the
words of the titles, common ones counting less, by the release's vectors, and by what speaks against it: other
entities, a figure that the original did not have, the other direction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from domains.finance.news.words import ACTS, COMMON_WORDS, DOWN, OPPOSITES, STOP, UP
from suite.index.text import HAN, tokens

WINDOW = 48 * 3_600  # seconds between an article and its original, at most
TOGETHER = 3_600  # seconds in which another outlet may give a figure that the first one left out
SHINGLE = 4  # words
BODY_SHINGLES = 32  # the smallest hashes stand for all of them
BODY_READ = 4_000  # characters
SAME_TITLE = 0.8
SAME_FIGURES = 0.15  # what it adds that two titles about one entity hold the same figures
FRESH, STALE = 12 * 3_600, 0.1  # what is further apart than so many seconds must be so much more alike
LEAST_TITLE = 0.1  # some word in common beside names, whatever the vectors say
SYNONYM = 0.9  # cosine of titles that differ in one word
LEAST_BODY = 16  # shingles of a body that says enough to tell
VERBATIM = 0.6  # of the body: the same text, whatever the title says
COMMON = 0.3  # weight of a word that many titles have

OUTLET = re.compile(
    r"\s+(?:[-–—|]|::)\s+[^-–—|]{2,40}\Z|\A(?:UPDATE \d+|EXCLUSIVE|BREAKING|RPT|WRAPUP \d+)\s*[-–—:]\s*", re.I
)
NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])(?:[$€£¥]|Rs\.?\s?|US\$)?(\d{1,3}(?:,\d{2,3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s?"
    r"(%|percent\b|per cent\b|pct\b|bps?\b|basis points?\b|trillion\b|tn\b|billion\b|bn\b|b\b|million\b|mln\b|mn\b|m\b"
    r"|thousand\b|k\b|crore\b|cr\b|lakh\b|万亿|亿|万|个百分点|个基点)?",
    re.I,
)
UNITS = {
    "%": (1.0, "%"), "percent": (1.0, "%"), "per cent": (1.0, "%"), "pct": (1.0, "%"), "个百分点": (1.0, "%"),
    "bp": (0.01, "%"), "bps": (0.01, "%"), "basis point": (0.01, "%"), "basis points": (0.01, "%"),
    "个基点": (0.01, "%"),
    "trillion": (1e12, ""), "tn": (1e12, ""), "billion": (1e9, ""), "bn": (1e9, ""), "b": (1e9, ""),
    "million": (1e6, ""), "mln": (1e6, ""), "mn": (1e6, ""), "m": (1e6, ""), "thousand": (1e3, ""), "k": (1e3, ""),
    "crore": (1e7, ""), "cr": (1e7, ""), "lakh": (1e5, ""), "万亿": (1e12, ""), "亿": (1e8, ""), "万": (1e4, ""),
}  # fmt: skip
YEARS = range(1950, 2101)
NO_VECTOR = np.zeros(0, dtype=np.float16)


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is compared of an article; words are hashes."""

    number: int  # the article's id
    key: str  # breaks ties
    published: float  # Unix seconds
    words: frozenset[int]  # of the title, without those that many titles have
    common: frozenset[int]  # those
    body: frozenset[int]  # the BODY_SHINGLES smallest
    figures: frozenset[str]  # of the title
    told: frozenset[str]  # of title and body
    direction: int  # 1 up, -1 down, 0 neither or both
    acts: frozenset[str]  # words of OPPOSITES in the title
    entities: frozenset[int]  # named in the title
    is_han: bool
    vector: np.ndarray  # unit, float16; empty where unknown
    release: str  # whose vector it is

    @property
    def order(self) -> tuple[float, str]:
        return self.published, self.key


def sketch_of(
    number: int,
    key: str,
    published: float,
    title: str,
    body: str,
    entities: Mapping[int, str],
    *,
    vector: np.ndarray = NO_VECTOR,
    release: str = "",
) -> Sketch:
    """`entities` are those that the title is about, with the name as it is written: its own words say nothing more."""
    bare = OUTLET.sub("", title) or title
    names = {word for name in entities.values() for word in tokens(name)}
    title_words = [word for word in tokens(NUMBER.sub(" ", bare)) if word not in STOP and word not in names]
    body_words = tokens(body[:BODY_READ])
    shingles = {" ".join(body_words[i : i + SHINGLE]) for i in range(len(body_words) - SHINGLE + 1)}
    found = set(title_words)
    return Sketch(
        number,
        key,
        published,
        words=hashes(found - COMMON_WORDS),
        common=hashes(found & COMMON_WORDS),
        body=frozenset(sorted(hashes(shingles))[:BODY_SHINGLES]),
        figures=figures_of(bare),
        told=figures_of(f"{bare}\n{body[:BODY_READ]}"),
        direction=bool(found & UP) - bool(found & DOWN),
        acts=frozenset(found & ACTS),
        entities=frozenset(entities),
        is_han=HAN.search(title) is not None,
        vector=vector,
        release=release,
    )


def hashes(words: Iterable[str]) -> frozenset[int]:
    return frozenset(crc32(word.encode("utf-8", "replace")) for word in words)


def figures_of(text: str) -> frozenset[str]:
    """The numbers of a text by value: "Rs 10.4 crore" and "104 million" are one; years and 1 to 4 alone say nothing."""
    found = set()
    for match in NUMBER.finditer(text):
        factor, kind = UNITS.get((match[2] or "").lower(), (1.0, ""))
        value = float(match[1].replace(",", "")) * factor
        is_plain = not match[2] and value == int(value)
        if not (is_plain and (int(value) in YEARS or value < 5)):
            found.add(f"{value:.6g}{kind}")
    return frozenset(found)


# How alike ---------------------------------------------------------------------------------------------------
def likeness(one: Sketch, other: Sketch) -> float:
    """How surely the later of two articles tells what the earlier one told: 0 where it does not, else up to 1."""
    earlier, later = sorted((one, other), key=lambda sketch: sketch.order)
    if later.published - earlier.published > WINDOW:
        return 0.0
    if are_others(earlier, later):
        return 0.0
    is_text = min(len(earlier.body), len(later.body)) >= LEAST_BODY
    verbatim = resemblance(earlier.body, later.body) if is_text else 0.0
    if verbatim >= VERBATIM and not has_other_figures(earlier, later):
        return 0.5 + 0.5 * verbatim
    if has_news(earlier, later):
        return 0.0
    titles = title_resemblance(earlier, later)
    if titles >= SAME_TITLE:
        return titles
    meaning = cosine(earlier, later)
    shares_entity = bool(earlier.entities & later.entities)
    if not shares_entity and is_substituted(earlier, later) and (meaning or 0.0) < SYNONYM:
        return 0.0
    if meaning is None:
        evidence, needed = titles, (0.30 if shares_entity else 0.55)
    else:
        evidence, needed = 0.4 * titles + 0.6 * meaning, (0.47 if shares_entity else 0.65)
    evidence += 0.3 * verbatim  # parts of the text are the same
    has_figures = bool(earlier.figures) and earlier.figures == later.figures
    if has_figures and shares_entity:
        evidence += SAME_FIGURES
    if later.published - earlier.published > FRESH:
        needed += STALE
    is_worded_alike = titles >= LEAST_TITLE or (has_figures and shares_entity)
    return min(evidence, 1.0) if evidence >= needed and is_worded_alike else 0.0


def has_news(earlier: Sketch, later: Sketch) -> bool:
    """Whether something of the later article speaks against its being the same piece of news."""
    if earlier.direction * later.direction < 0 or are_opposite(earlier.acts, later.acts):
        return True
    new = later.figures - earlier.told
    if not new:
        return False
    is_first_figure = not earlier.figures and later.published - earlier.published <= TOGETHER
    return not is_first_figure


def are_others(earlier: Sketch, later: Sketch) -> bool:
    """About others: each title names somebody whom the other does not."""
    return bool(earlier.entities - later.entities and later.entities - earlier.entities)


def are_opposite(one: frozenset[str], other: frozenset[str]) -> bool:
    """One says that something begins and not that it ends, the other that it ends and not that it begins."""
    new, gone = one - other, other - one
    return any((a in new and b in gone) or (b in new and a in gone) for a, b in OPPOSITES)


def has_other_figures(earlier: Sketch, later: Sketch) -> bool:
    return bool(later.figures - earlier.told and earlier.figures)


def resemblance(one: frozenset[int], other: frozenset[int]) -> float:
    """Of two sets by their smallest hashes: exact for sets of up to BODY_SHINGLES."""
    if not one or not other:
        return 0.0
    smallest = sorted(one | other)[:BODY_SHINGLES]
    both = one & other
    return sum(number in both for number in smallest) / len(smallest)


def title_resemblance(one: Sketch, other: Sketch) -> float:
    """Weighted Jaccard of the titles' words."""
    both = len(one.words & other.words) + COMMON * len(one.common & other.common)
    either = len(one.words | other.words) + COMMON * len(one.common | other.common)
    return both / either if either else 0.0


def is_substituted(one: Sketch, other: Sketch) -> bool:
    """The same title with one word in the place of another: how a template tells of two different things."""
    words, others = one.words | one.common, other.words | other.common
    return len(words - others) == len(others - words) == 1 and len(words & others) >= 2


def cosine(one: Sketch, other: Sketch) -> float | None:
    """None where the vectors are not of one release, or tell nothing: to a body that was trained on English all Chinese
    titles are alike."""
    if one.is_han or other.is_han:
        return None
    if one.release != other.release or not one.release or len(one.vector) != len(other.vector):
        return None
    return float(one.vector.astype(np.float32) @ other.vector.astype(np.float32))


# What is stored ----------------------------------------------------------------------------------------------
SETS = ("words", "common", "body", "figures", "told", "acts", "entities")


def as_json(sketch: Sketch) -> dict[str, Any]:
    """All but the article's id, key, time and vector, which are columns."""
    sets = {name: sorted(getattr(sketch, name)) for name in SETS}
    return sets | {"direction": sketch.direction, "is_han": sketch.is_han}


def from_json(
    number: int, key: str, published: float, stored: Mapping[str, Any], vector: bytes, release: str
) -> Sketch:
    sets = {name: frozenset(stored[name]) for name in SETS}
    return Sketch(
        number,
        key,
        published,
        direction=stored["direction"],
        is_han=stored["is_han"],
        vector=np.frombuffer(vector, dtype=np.float16),
        release=release,
        **sets,
    )
