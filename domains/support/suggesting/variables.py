"""Variables in answers: `{{customer.name}}`. They are filled in when an agent takes an answer; what is not known is
named, so that it is asked for and never sent as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NAME = "customer.name"
SHORTEST_VALUE = 3  # characters of one that is looked for in a text: "en" is a word of many
VARIABLE = re.compile(r"\{\{\s*([A-Za-z][\w.-]{0,59})\s*\}\}")


def names(text: str) -> list[str]:
    """The variables of a text in order, each once."""
    return list(dict.fromkeys(VARIABLE.findall(text)))


def fill(text: str, known: Mapping[str, str]) -> tuple[str, list[str]]:
    """(the text with what is known, the names of what is not). A value that itself looks like a variable is text."""
    missing = [name for name in names(text) if not known.get(name)]
    return VARIABLE.sub(lambda match: known.get(match.group(1)) or match.group(), text), missing


def unfilled(text: str, known: Mapping[str, str]) -> str:
    """The text with its variables back where what is known stands as a word: `fill` the other way round."""
    fillable = {name: value for name, value in known.items() if VARIABLE.fullmatch(f"{{{{{name}}}}}")}
    values = [(value, name) for name, value in fillable.items() if len(value) >= SHORTEST_VALUE]
    values += [(word, name) for value, name in values if name == NAME for word in value.split() if len(word) > 2]
    for value, name in sorted(values, key=lambda pair: -len(pair[0])):
        text = re.sub(rf"(?<![\w{{.]){re.escape(value)}(?!\w)", f"{{{{{name}}}}}", text)
    return text


def known_facts(customer: Mapping[str, Any], conversation: str = "", agent: str = "") -> dict[str, str]:
    """{variable: value} of what a conversation knows: `customer.<fact>`, `conversation.id`, `agent.name`."""
    found = {f"customer.{name}": str(value) for name, value in customer.items()}
    return found | {"conversation.id": conversation, "agent.name": agent}
