"""Answers to a question, as the API gives them: `manage.py suggest --text TEXT`."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import Any

from django.core.management.base import CommandError, CommandParser

from domains.support.bare import suggest_text
from domains.support.documents import ANSWERS
from domains.support.events import MAX_TEXT
from domains.support.learning.rankers import ensure_ranker
from suite.index.selectors import active_generation
from suite.management.plain import PlainCommand
from suite.releases.runtime import encoder_for

MOST = 20


class Command(PlainCommand):
    help = (
        "Find answers to a question, each with its confidence and the sentence that answers.\n\n"
        "Examples:\n"
        '  manage.py suggest --text "Where is my order?"\n'
        '  manage.py suggest --text "我要退货" -k 3 --json'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--text", required=True, help="the question, in any language")
        parser.add_argument("-k", type=int, default=5, metavar="N", help=f"how many (default 5, at most {MOST})")
        parser.add_argument("--json", action="store_true", help="print one JSON object, as the API answers")

    def handle(self, *args: Any, **options: Any) -> None:
        text, k = options["text"], options["k"]
        if not 1 <= k <= MOST:
            raise CommandError(f"-k must be from 1 to {MOST}")
        if not text.strip() or len(text) > MAX_TEXT:
            raise CommandError(f"--text must hold 1 to {MAX_TEXT:,} characters")
        generation = active_generation(ANSWERS)
        if generation is None:
            raise CommandError("No release serves yet: `manage.py release` makes the first one")
        encoder = encoder_for(generation.fingerprint)
        ensure_ranker(generation.fingerprint, encoder)
        answer = suggest_text(text, k, lambda question, fingerprint: (encoder.embed([question])[0], ""))
        if options["json"]:
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
        else:
            self.print_table(answer)

    def print_table(self, answer: dict[str, Any]) -> None:
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        for item in answer["items"]:
            name = item["answer_id"] or "earlier reply"
            head = textwrap.shorten(f"{item['title']}  [{name}]", width - 12, placeholder=" ...")
            self.stdout.write(f"{item['position']:>3}  {item['confidence']:>4.0%}  {head}")
            start, end = item["sentence"]
            self.stdout.write(f"           {textwrap.shorten(item['text'][start:end], width - 12, placeholder=' ...')}")
            self.stdout.write(f"           why: {', '.join(item['why'])}")
        if not answer["items"]:
            best, least = answer["best_confidence"], answer["threshold"]
            self.stdout.write(
                f"Nothing good: the best candidate has {best:.0%}, the least that is offered is {least:.0%}"
            )
        missing = f"; could not be had: {', '.join(answer['degraded'])}" if answer["degraded"] else ""
        self.stdout.write(f"{len(answer['items'])} answers, release {answer['release'][:8] or 'none'}{missing}")
