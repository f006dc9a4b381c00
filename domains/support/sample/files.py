"""The sample's files: a household shop's answers, and its customers' questions with the right answer, or with none."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@cache
def sample_answers() -> tuple[dict[str, Any], ...]:
    """Records of `support.answers`."""
    return read(FOLDER / "answers.jsonl")


@cache
def sample_questions() -> tuple[dict[str, Any], ...]:
    """Records of `support.questions`, each with its intent; `__none__` where no answer is right."""
    return read(FOLDER / "questions.jsonl")


def read(path: Path) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
