"""Suggestions for a bare text, from the API and the command line: the same ranking, nothing stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from domains.support.documents import question_text
from domains.support.models import Answer
from domains.support.privacy import mask
from domains.support.selectors import reasons
from domains.support.suggesting.features import ANSWER
from domains.support.suggesting.ranker import Ranked
from domains.support.suggesting.sentences import best_by_words, sentences
from domains.support.suggesting.suggest import active_fingerprint, active_ranker, suggest
from suite.index.selectors import query_vector

Encode = Callable[[str, str], tuple[np.ndarray | None, str]]  # text, fingerprint -> its vector, or why there is none


def suggest_text(text: str, k: int = 5, encode: Encode = query_vector) -> dict[str, Any]:
    """`{"items", "outcome", "best_confidence", "threshold", "release", "degraded"}`, best first.

    By default the vector comes through a row that a worker fills, so that a web process loads no encoder.
    """
    question = question_text([mask(text)])
    fingerprint = active_fingerprint()
    vector, reason = encode(question, fingerprint)
    answered = suggest(question, vector, active_ranker(fingerprint), k)
    return {
        "items": [row_of(question, row, place) for place, row in enumerate(answered.ranked, start=1)],
        "outcome": "offered" if answered.ranked else "nothing_good",
        "best_confidence": round(answered.best_confidence, 6),
        "threshold": answered.threshold,
        "release": answered.release,
        "degraded": list(dict.fromkeys([*([reason] if reason else []), *answered.degraded])),
    }


def row_of(question: str, row: Ranked, position: int) -> dict[str, Any]:
    candidate = row.candidate
    places = sentences(candidate.text)
    texts = [candidate.text[place.start : place.end] for place in places]
    best = places[best_by_words(question, texts)] if places else None
    is_answer = candidate.pool == ANSWER
    source = Answer.objects.filter(key=candidate.key).values_list("source", flat=True).first() if is_answer else ""
    return {
        "position": position,
        "pool": candidate.pool,
        "answer_id": candidate.key if is_answer else "",
        "title": candidate.title if is_answer else "An earlier reply",
        "text": candidate.text,
        "source": source or "",
        "sentence": [best.start, best.end] if best else [0, 0],
        "confidence": round(row.confidence, 6),
        "why": reasons(row.features),
    }
