"""How texts are marked for heads. Plain text, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

CLASSIFY = "classify: "


def prefix_of(kind: str) -> str:
    """What stands before each text of a head or task of this kind: the body tells texts that are classified from those
    that are compared, so it need not unlearn the one for the other. After Su et al., One Embedder, Any Task:
    Instruction-Finetuned Text Embeddings, 2023."""
    return CLASSIFY if kind == "classification" else ""


def mark_entity(text: str, entity: str) -> str:
    """The text with one of the names in it marked, for heads that judge a name and not the whole text.

    The name stands before the text, too: after Sun, Huang & Qiu, Utilizing BERT for Aspect-Based Sentiment Analysis via
    Constructing Auxiliary Sentence, 2019. Without an entity the text is left as it is.
    """
    return f"{entity} | {text.replace(entity, f'[ {entity} ]')}" if entity else text


def folded(text: str) -> str:
    """The same for texts that differ in mark, case and white space only."""
    return " ".join(without_mark(text).casefold().split())


def name_in(text: str) -> str:
    """The name that `mark_entity` marked in the text; "" where none is."""
    entity, separator, marked = text.partition(" | ")
    return entity if separator and f"[ {entity} ]" in marked else ""


def without_mark(text: str) -> str:
    """The text that `mark_entity` was given."""
    name = name_in(text)
    return text.removeprefix(f"{name} | ").replace(f"[ {name} ]", name) if name else text


def beside(text: str, other: str, between: str, is_first: bool) -> str:
    """The text in which a name is marked, and another one before it, or after it where it `is_first`."""
    name = name_in(text)
    marked = text.removeprefix(f"{name} | ")
    return f"{name} | {between.join((marked, other) if is_first else (other, marked))}"


def texts_in(value: Any) -> Iterator[str]:
    """Every text of examples, however deep."""
    if isinstance(value, str):
        yield value
    else:
        for part in value:
            yield from texts_in(part)
