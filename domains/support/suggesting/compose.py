"""The draft of a reply, made of sentences that stand somewhere: the answer's own, and a greeting and a closing from
the answers that are frames. Each part names its source; nothing is invented. Variables stay variables, so that what is
known of a customer is never stored with a suggestion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from domains.support.models import Answer
from domains.support.suggesting.sentences import Sentence, sentences
from suite.index.text import HAN

WHOLE = 900  # characters up to which an answer is taken whole
CHINESE, OTHER = "zh", "en"


@dataclass(frozen=True, slots=True)
class Frame:
    """A greeting or a closing; `text` may hold variables."""

    text: str
    source: str


def frames() -> dict[str, Frame]:
    """{answer id: frame} of `greeting.<language>` and `closing.<language>`."""
    rows = Answer.objects.filter(is_removed=False, key__regex=r"^(greeting|closing)\.")
    return {row.key: Frame(row.text, row.source or row.key) for row in rows}


def compose(
    text: str, best: Sentence, source: str, framed: Mapping[str, Frame], *, is_first: bool, has_name: bool
) -> list[dict[str, str]]:
    """[{"text", "source"}], to be joined as they are; `frame` names a greeting or a closing. Frames are for the first
    reply; a greeting needs its name."""
    language = CHINESE if HAN.search(text) else OTHER
    parts = [{"text": kept(text, best), "source": source}]
    greeting, closing = framed.get(f"greeting.{language}"), framed.get(f"closing.{language}")
    if is_first and greeting and (has_name or "{{" not in greeting.text):
        parts.insert(0, {"text": f"{greeting.text}\n\n", "source": greeting.source, "frame": "greeting"})
    if is_first and closing:
        parts.append({"text": f"\n\n{closing.text}", "source": closing.source, "frame": "closing"})
    return parts


def kept(text: str, best: Sentence) -> str:
    """A short text whole; of a long one the paragraph of the sentence that answers, or where that is long, too, the
    sentence and what follows it within the limit."""
    if len(text) <= WHOLE:
        return text.strip()
    start = text.rfind("\n\n", 0, best.start) + 1
    end = text.find("\n\n", best.end)
    paragraph = text[start : end if end >= 0 else len(text)].strip()
    if len(paragraph) <= WHOLE:
        return paragraph
    last = best.end
    for sentence in sentences(text):
        if sentence.start > best.end and sentence.end - best.start <= WHOLE:
            last = sentence.end
    return text[best.start : last]
