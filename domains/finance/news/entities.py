"""Whom a text names: an alias table matched token by token, the longest name first.

A token is a word, a cash tag ($FB), or one character of a script that is written without spaces, so names in Chinese
need no word boundaries and names in English have them. All names are one dictionary by first token: a text is read
once, however many names there are.

A name may be rejected. Phrases that hold it but mean something else ("apple pie") are matched as names of nobody; words
in its sentence speak against it ("tourist" against Visa); and a name that is also a common word counts only where the
article holds a context word, a cash tag, or another name of the same entity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from domains.finance.news.text import sentence_at, sentences

TOKEN = re.compile(
    r"\$[A-Za-z][A-Za-z0-9.\-]{0,11}(?<![.\-])"  # a cash tag
    r"|[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]"  # scripts without spaces between words
    r"|(?:[^\W_\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]|(?<=\w)[&'’.](?=\w))+"
)
POSSESSIVE = re.compile(r"['’]s?\Z")
MAX_NAMED = 50  # entities of an article that are judged


@dataclass(frozen=True, slots=True)
class Name:
    """One way to write an entity's name."""

    entity_id: int
    text: str
    is_case_sensitive: bool = False
    needs_context: bool = False
    context_words: tuple[str, ...] = ()
    reject_words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """An entity in an article: its first mention that counts, as it is written, and the sentence around it."""

    entity_id: int
    text: str
    sentence: str
    is_in_title: bool


@dataclass(frozen=True, slots=True)
class Token:
    text: str  # as written
    folded: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Mention:
    name: Name
    text: str
    part: int  # 0 the title, 1 the body
    start: int
    end: int
    is_tag: bool


@dataclass(slots=True)
class EntityTable:
    """Names compiled for reading. `companies` are the entities that are one company each, and no sector or place."""

    longest: dict[str, list[tuple[tuple[str, ...], list[Name]]]] = field(default_factory=dict)  # by first token
    tags: dict[str, int] = field(default_factory=dict)
    companies: frozenset[int] = frozenset()

    @classmethod
    def of(cls, names: Iterable[Name], symbols: Mapping[int, str], companies: Iterable[int] = ()) -> EntityTable:
        """`symbols` gives each entity's symbol: it is found as a cash tag."""
        phrases: dict[tuple[str, ...], list[Name]] = {}
        for name in names:
            key = folded(name.text)
            if not key:
                continue
            phrases.setdefault(key, []).append(name)
            for words in name.reject_words:
                phrase = folded(words)
                if len(phrase) > len(key) and contains(phrase, key):
                    phrases.setdefault(phrase, [])  # a longer name, of nobody
        tags = {f"${symbol.casefold()}": entity_id for entity_id, symbol in symbols.items()}
        table = cls(tags=tags, companies=frozenset(companies))
        for key, found in phrases.items():
            table.longest.setdefault(key[0], []).append((key, found))
        for options in table.longest.values():
            options.sort(key=lambda option: -len(option[0]))
        return table

    def read(self, title: str, body: str = "") -> list[Named]:
        """The entities that an article names, those of the title first, then in the order of the text."""
        parts = (title, body)
        spans = [list(sentences(part)) for part in parts]
        tokens = [tokenise(part) for part in parts]
        mentions = [mention for part in (0, 1) for mention in self._mentions(part, parts[part], tokens[part])]
        words = {token.folded for part in tokens for token in part}
        sure = {m.name.entity_id for m in mentions if m.is_tag or not m.name.needs_context}
        found: dict[int, Named] = {}
        for mention in mentions:
            name = mention.name
            if name.entity_id in found:
                continue
            sentence = sentence_at(parts[mention.part], spans[mention.part], mention.start, mention.end)
            if not mention.is_tag:
                if name.needs_context and name.entity_id not in sure and not has_context(name, words, parts):
                    continue
                if is_rejected(name, sentence):
                    continue
            found[name.entity_id] = Named(name.entity_id, mention.text, sentence, mention.part == 0)
        return list(found.values())

    def subjects(self, named: Iterable[Named]) -> dict[int, str]:
        """Whom the title is about, with the name as it is written: its companies, or where it has none all it names."""
        titled = {one.entity_id: one.text for one in named if one.is_in_title}
        companies = {number: text for number, text in titled.items() if number in self.companies}
        return companies or titled

    def _mentions(self, part: int, text: str, tokens: Sequence[Token]) -> Iterator[_Mention]:
        position = 0
        while position < len(tokens):
            token = tokens[position]
            if token.text.startswith("$"):
                entity_id = self.tags.get(token.folded)
                if entity_id is not None:
                    yield _Mention(Name(entity_id, token.text), token.text, part, token.start, token.end, True)
                position += 1
                continue
            length = 1
            for key, names in self.longest.get(token.folded, ()):
                if any(tokens[position + i].folded != word for i, word in enumerate(key) if position + i < len(tokens)):
                    continue
                if position + len(key) > len(tokens) or not is_together(text, tokens[position : position + len(key)]):
                    continue
                start, end = token.start, tokens[position + len(key) - 1].end
                written = POSSESSIVE.sub("", text[start:end])
                fitting = [name for name in names if not name.is_case_sensitive or has_case(name.text, written)]
                if names and not fitting:
                    continue  # a shorter name may still fit
                for name in fitting:
                    yield _Mention(name, written, part, start, start + len(written), False)
                length = len(key)
                break
            position += length


def tokenise(text: str) -> list[Token]:
    return [
        Token(
            match.group(),
            POSSESSIVE.sub("", match.group()).replace("’", "'").casefold(),
            match.start(),
            match.end(),
        )
        for match in TOKEN.finditer(text)
    ]


def folded(text: str) -> tuple[str, ...]:
    return tuple(token.folded for token in tokenise(text))


def contains(phrase: Sequence[str], part: Sequence[str]) -> bool:
    return any(tuple(phrase[i : i + len(part)]) == tuple(part) for i in range(len(phrase) - len(part) + 1))


def is_together(text: str, tokens: Sequence[Token]) -> bool:
    """Whether nothing that ends a name stands between the tokens: "Prime, Focus" is not "Prime Focus"."""
    between = (text[left.end : right.start] for left, right in pairwise(tokens))
    return not any(set(gap) & set(",;:!?\n，。；：！？、|") or len(gap) > 3 for gap in between)


def has_case(name: str, written: str) -> bool:
    """Written as the name is, or all in capitals as some headlines are; a short name only as it is."""
    return written == name or (len(name) > 4 and written == name.upper())


def has_context(name: Name, words: set[str], parts: Sequence[str]) -> bool:
    """A context word stands somewhere in the article; words of unspaced scripts are looked for as they are."""
    return any(
        word.casefold() in words or (not word.isascii() and any(word in part for part in parts))
        for word in name.context_words
    )


def is_rejected(name: Name, sentence: str) -> bool:
    """A word of the sentence speaks against the name."""
    against = [word for word in name.reject_words if not contains(folded(word), folded(name.text))]
    if not against:
        return False
    tokens = folded(sentence)
    return any(contains(tokens, folded(word)) for word in against)
