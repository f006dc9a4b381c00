"""Sentences of a text as places in it, and the one that answers a question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from suite.index.text import tokens

END = re.compile(  # a full stop that ends a sentence, with what closes it; or Chinese ones; or a line's end
    r"(?<=[.!?…])[\"'”’)\]]*(?=\s+[\"'“‘(\[]?[A-Z0-9\u00c0-\u00de{])|(?<=[。！？；])[”’」』）]*|\n+"
)
ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|no|nr|mr|mrs|ms|dr|st|approx|incl|max|min)|\b[A-Z])\.$", re.IGNORECASE
)
MOST = 40  # sentences of a text that are looked at


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text[start:end]` without white space around it."""

    start: int
    end: int


def sentences(text: str) -> list[Sentence]:
    """The sentences in order."""
    found: list[Sentence] = []
    start = 0
    for match in END.finditer(text):
        if not ABBREVIATION.search(text[start : match.start()]) or match.group().startswith("\n"):
            found += stripped(text, start, match.end())
            start = match.end()
    return (found + stripped(text, start, len(text)))[:MOST]


def stripped(text: str, start: int, end: int) -> list[Sentence]:
    part = text[start:end]
    left = start + len(part) - len(part.lstrip())
    right = end - len(part) + len(part.rstrip())
    return [Sentence(left, right)] if left < right else []


def best_by_vectors(question: np.ndarray, vectors: np.ndarray) -> int:
    """The position of the sentence whose unit vector, of (n, d), is nearest to the question's, (d,)."""
    return int((vectors @ question).argmax())


def best_by_words(question: str, texts: Sequence[str]) -> int:
    """The position of the sentence that holds most of the question's words; the first one of equals. For where no
    vectors can be had."""
    asked = set(tokens(question))
    return max(range(len(texts)), key=lambda row: (len(asked & set(tokens(texts[row]))), -row))
