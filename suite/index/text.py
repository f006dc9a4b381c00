"""Text to tokens, once, before either engine sees it: so both rank alike.

Both engines index the tokens as they are, split at spaces. English is stemmed, accents are folded, Chinese is cut into
words and the words inside them, other scripts that are written without spaces into pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata

import rjieba
from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

TOKEN_BYTES = 64  # longer ones are noise: encoded data, addresses
TITLE_WEIGHT = 2  # a word of the title counts as so many of the text (BM25F with one length norm)

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+")
UNSPACED = re.compile(  # kana, Thai, Lao, Burmese, Khmer
    r"[\u3041-\u30ff\u31f0-\u31ff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"
)

_analyzer = (
    TextAnalyzerBuilder(Tokenizer.simple())
    .filter(Filter.remove_long(TOKEN_BYTES))
    .filter(Filter.lowercase())
    .filter(Filter.ascii_fold())
    .filter(Filter.stemmer("english"))
    .build()
)


def tokens(text: str) -> list[str]:
    """The tokens of a text in order; any string is allowed, lone surrogates count as spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).encode("utf-8", "replace").decode()
        text = HAN.sub(_words, text)
        text = UNSPACED.sub(_pairs, text)
    return _analyzer.analyze(text)


def document_tokens(title: str, text: str) -> str:
    """What is indexed of a document: the tokens with a space between them."""
    return " ".join(tokens(title) * TITLE_WEIGHT + tokens(text))


def query_tokens(text: str, limit: int) -> list[str]:
    """The first `limit` distinct tokens of a query."""
    return list(dict.fromkeys(tokens(text)))[:limit]


def _words(match: re.Match[str]) -> str:
    return f" {' '.join(rjieba.cut_for_search(match.group()))} "


def _pairs(match: re.Match[str]) -> str:
    run = match.group()
    return f" {' '.join(run[i : i + 2] for i in range(max(1, len(run) - 1)))} "
