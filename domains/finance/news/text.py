"""What is done to an article's text before it is read: markup off, sentences, language. Pure."""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from operator import itemgetter

MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<!--|<![a-zA-Z\[]|&(?:[a-zA-Z]{2,8}|#\d{1,7}|#x[0-9a-fA-F]{1,6});")
SPACES = re.compile(r"[^\S\n]+")
BREAKS = re.compile(r"\s*\n\s*")
UNSEEN = {"script", "style", "template", "noscript", "head", "svg", "iframe", "object"}  # whose text is not for readers
BLOCKS = {"p", "div", "br", "li", "ul", "ol", "h1", "h2", "h3", "h4", "tr", "table", "blockquote", "section", "article"}
MAX_SENTENCE = 500  # characters of a sentence that is judged; a longer one is cut around the name

ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Inc|Corp|Co|Ltd|Cos|Bros|No|vs|v|Rs|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
    r"|U\.S|U\.K|e\.g|i\.e|approx|est)\.$"
)
END = re.compile(r"[.!?][\"”’')\]]*(?=\s)|[。！？；!?]+[”’」』）]*|\n")

LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*\Z")  # BCP 47 in shape
HAN, KANA, HANGUL = re.compile(r"[\u4e00-\u9fff]"), re.compile(r"[\u3041-\u30ff]"), re.compile(r"[\uac00-\ud7a3]")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.unseen: list[str] = []  # open elements whose text is not for readers

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in UNSEEN:
            self.unseen.append(tag)
        elif tag in BLOCKS:
            self.parts.append("\n")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.unseen:
            del self.unseen[self.unseen.index(tag) :]
        elif tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.parts.append(data)


def plain_text(text: str) -> str:
    """The text without markup, scripts and control characters, white space made one; text that only looks a little
    like markup ("a < b", "AT&T") stays."""
    if MARKUP.search(text):
        reader = _Reader()
        reader.feed(text)
        reader.close()
        text = "".join(reader.parts)
        if MARKUP.search(text):  # it was escaped twice, as feeds do
            text = re.sub(r"<[^<>]*>", " ", html.unescape(text))
    text = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text.replace("\r\n", "\n"))
    return BREAKS.sub("\n", SPACES.sub(" ", text)).strip()


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each sentence; a full stop after an abbreviation or inside a number ends none."""
    start = 0
    for match in END.finditer(text):
        end = match.end()
        if match.group()[0] == "." and ABBREVIATION.search(text, start, match.start() + 1):
            continue
        if text[start:end].strip():
            yield start, end
        start = end
    if text[start:].strip():
        yield start, len(text)


def sentence_at(text: str, spans: Sequence[tuple[int, int]], start: int, end: int) -> str:
    """The sentence around the characters [start, end), at most MAX_SENTENCE long; `spans` are the text's sentences."""
    first, last = spans[bisect_right(spans, start, key=itemgetter(0)) - 1]
    if last - first > MAX_SENTENCE:
        first = max(first, min(start - MAX_SENTENCE // 2, last - MAX_SENTENCE))
        last = min(last, first + MAX_SENTENCE)
    return text[first : max(last, end)].strip()


def language_of(text: str) -> str:
    """The language that a text's script tells: zh, ja or ko; empty where it tells none."""
    if KANA.search(text):
        return "ja"
    if len(HANGUL.findall(text)) > len(HAN.findall(text)):
        return "ko"
    return "zh" if 4 * len(HAN.findall(text)) >= len(text.replace(" ", "")) > 0 else ""
