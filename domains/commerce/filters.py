"""Filters on attributes, as people write them: `brand:Acme`, `size:42`, `price:10..50`, `category:Games > Chess`.

Parsed into the index's own `Term` and `Range`, and checked against rows with the same reading of attributes, so an item
passes here exactly where the index finds it. One field several times means any of the values; fields must all hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from suite.index.engine import Filter, Range, Term, number_text, numbers_of, terms_of

MAX_FILTERS = 20
NUMBER = r"[+-]?\d{1,15}(?:\.\d{1,15})?"
RANGE = re.compile(rf"({NUMBER})?\.\.({NUMBER})?\Z", re.ASCII)
ONLY_AVAILABLE = Term("available", ("true",))


class BadFilter(ValueError):
    """A filter that cannot be read; the message says what one looks like."""


def parse_filters(texts: Sequence[str]) -> tuple[Filter, ...]:
    """Raises `BadFilter`. Without a word on availability, only what is available passes."""
    if len(texts) > MAX_FILTERS:
        raise BadFilter(f"there are {len(texts)} filters, the limit is {MAX_FILTERS}")
    terms: dict[str, list[str]] = {}
    ranges: list[Filter] = []
    for text in texts:
        name, colon, value = text.partition(":")
        name, value = name.strip(), value.strip()
        if not name or not colon or not value or "\x00" in text:
            raise BadFilter("must look like 'brand:Acme' or 'price:10..50'")
        found = RANGE.match(value)
        if found and value != "..":
            low, high = (float(end) if end else None for end in found.groups())
            ranges.append(Range(name, low, high))
        else:
            terms.setdefault(name, []).append(value)
            if re.fullmatch(NUMBER, value, re.ASCII) and number_text(float(value)) != value:
                terms[name].append(number_text(float(value)))  # as an attribute that is a number stands there
    given = tuple(Term(name, tuple(values)) for name, values in terms.items())
    default = () if "available" in terms else (ONLY_AVAILABLE,)
    return default + given + tuple(ranges)


def passes(attributes: Mapping[str, Any], filters: Sequence[Filter]) -> bool:
    """Whether an item with these attributes (`documents.attributes_of`) passes all filters."""
    terms, numbers = set(terms_of(attributes)), dict(numbers_of(attributes))
    return all(_passes(condition, terms, numbers) for condition in filters)


def _passes(condition: Filter, terms: set[tuple[str, str]], numbers: Mapping[str, float]) -> bool:
    if isinstance(condition, Term):
        return any((condition.field, value) in terms for value in condition.values)
    number = numbers.get(condition.field)
    return (
        number is not None
        and (condition.gte is None or number >= condition.gte)
        and (condition.lte is None or number <= condition.lte)
    )
