"""How a name in a text is marked for heads that judge the name and not the whole text. Plain text, no torch."""

from __future__ import annotations


def mark_entity(text: str, entity: str) -> str:
    """The text with one of the names in it marked, for heads that judge a name and not the whole text.

    The name stands before the text, too: after Sun, Huang & Qiu, Utilizing BERT for Aspect-Based Sentiment Analysis via
    Constructing Auxiliary Sentence, 2019. Without an entity the text is left as it is.
    """
    return f"{entity} | {text.replace(entity, f'[ {entity} ]')}" if entity else text


def without_mark(text: str) -> str:
    """The text that `mark_entity` was given."""
    entity, separator, marked = text.partition(" | ")
    mark = f"[ {entity} ]"
    return marked.replace(mark, entity) if separator and mark in marked else text
