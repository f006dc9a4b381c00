"""Support: how long ranking takes over many answers, beyond encoding, in the embedded index of a database of its own.

The answers are made of sentences with long-tailed words; vectors are made, too, so that the encoder is out of the way.
What is timed is what a worker and the API do for a question whose vector is there: both legs of each pool, the past,
features, confidence, merging. Rivals in the same run: the words alone, the vectors alone, without any ranking.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

NAME = "support-ranking"
HELP = "p50/p95 of ranking over 20,000 answers beyond encoding, beside each leg alone"
ROOT = Path(__file__).resolve().parent.parent
CHILD = "from benchmarks.support_ranking import measure; import json; print(json.dumps(measure({answers}, {queries})))"
DIMENSIONS = 384
FINGERPRINT = "b" * 16
CENTRES = 400
DECISIONS = 400  # questions that agents decided on


def run(answers: int = 20_000, queries: int = 300) -> dict[str, Any]:
    """{"ranking": {"p50", "p95"}, "words", "vectors", "ours", "rival", "unit"}, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SUITE_STATE": folder, "DJANGO_SETTINGS_MODULE": "suite.settings"}
        for name in ("SUITE_DATABASE_URL", "SUITE_ELASTICSEARCH_URL", "SUITE_BROKER_URL", "SUITE_REDIS_URL"):
            environment.pop(name, None)
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "-v", "0"],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
        )
        code = f"import django; django.setup(); {CHILD.format(answers=answers, queries=queries)}"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    ours, rival = figures["ranking"]["p95"], figures["words"]["p95"] + figures["vectors"]["p95"]
    return figures | {"unit": "ms", "ours": ours, "rival": rival, "ratio": round(rival / ours, 2)}


def measure(answers: int, queries: int) -> dict[str, Any]:
    from domains.support.documents import ANSWERS
    from domains.support.suggesting.suggest import active_ranker, suggest
    from suite.index import selectors as index
    from suite.index.engine import Query
    from suite.index.fusion import Weights

    dice = random.Random(1)
    vectors = made_vectors(answers, 1)
    fill(answers, vectors, dice)
    ranker = active_ranker(FINGERPRINT)
    asked = [(sentence(dice, 12), near(vectors[dice.randrange(answers)], number)) for number in range(queries)]
    timed: dict[str, list[float]] = {"ranking": [], "words": [], "vectors": []}
    assert suggest(*asked[0], ranker).best_confidence > 0, "nothing was ranked"
    for text, vector in asked:
        timed["ranking"].append(seconds(lambda text=text, vector=vector: suggest(text, vector, ranker)))
        for name, weights in (("words", Weights(vector=0)), ("vectors", Weights(text=0))):
            query = Query(text=text, vector=vector, k=30)
            timed[name].append(
                seconds(
                    lambda query=query, weights=weights: index.search(
                        ANSWERS, query, weights=weights, release=FINGERPRINT
                    )
                )
            )
    return {name: quantiles(times) for name, times in timed.items()} | {"answers": answers, "queries": queries}


def fill(answers: int, vectors: np.ndarray, dice: random.Random) -> None:
    """Answers, decided questions and a ranker, indexed under one release."""
    from domains.support.learning.prior import Case, calibrated
    from domains.support.models import Answer, Ranker
    from domains.support.suggesting.features import FEATURES
    from domains.support.suggesting.ranker import RelevanceHead
    from suite.events.services import timezone
    from suite.index import services
    from suite.index.collections import collections

    now = timezone.now()
    rows = [
        Answer(
            key=f"a{n}", title=sentence(dice, 6), text=" ".join(sentence(dice, 14) for _ in range(4)), changed_at=now
        )
        for n in range(answers)
    ]
    Answer.objects.bulk_create(rows, batch_size=1_000)
    decide(now, dice)
    noise = np.random.default_rng(2)
    cases = [Case(noise.normal(size=(30, len(FEATURES))), noise.random(30) < 0.1) for _ in range(50)]
    head = RelevanceHead(noise.normal(size=2 * DIMENSIONS + 1).astype(np.float32), 0.0)
    Ranker.objects.create(fingerprint=FINGERPRINT, head=head.pack(), weights=calibrated(cases)[0].as_json())
    waiting = iter(np.vstack([vectors, made_vectors(DECISIONS, 3)]))
    for name in sorted(collections()):
        if name.startswith("support."):
            services.activate(services.create_generation(name, FINGERPRINT, DIMENSIONS))
            services.touch_forgotten(name)
    services.synchronise(lambda fingerprint: lambda texts: np.stack([next(waiting) for _ in texts]))


def decide(now: Any, dice: random.Random) -> None:
    from domains.support.models import Answer, Conversation, Feedback, Message, Suggestion, SuggestionRun
    from suite.events.models import Event

    keys = list(Answer.objects.values_list("pk", flat=True)[:200])
    for number in range(DECISIONS):
        event = Event.objects.create(
            source="benchmark",
            event_id=str(number),
            type="support.message.received",
            time=now,
            data={},
            received_at=now,
        )
        conversation = Conversation.objects.create(
            key=str(number), opened_at=now, last_message_at=now, changed_at=now, revision=1
        )
        message = Message.objects.create(
            conversation=conversation, key="m", author="customer", text="", masked_text="", sent_at=now, event=event,
            changed_at=now,
        )  # fmt: skip
        run = SuggestionRun.objects.create(
            message=message, release=FINGERPRINT, outcome="offered", question=sentence(dice, 10), created_at=now
        )
        suggestion = Suggestion.objects.create(
            uid=str(number), run=run, conversation=conversation, message=message, pool="answer", position=1,
            answer_id=dice.choice(keys), confidence=0.5, text="", release=FINGERPRINT, state="accepted", offered_at=now,
        )  # fmt: skip
        Feedback.objects.create(
            event=event, suggestion=suggestion, kind="accepted", position=1, release=FINGERPRINT, at=now
        )


SYLLABLES = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]


def sentence(dice: random.Random, words: int) -> str:
    """Words whose frequency falls as in a language."""
    picked = (int(dice.paretovariate(0.7)) % len(SYLLABLES) ** 2 for _ in range(words))
    text = " ".join(SYLLABLES[n // len(SYLLABLES)] + SYLLABLES[n % len(SYLLABLES)] for n in picked)
    return f"{text.capitalize()}."


def made_vectors(count: int, seed: int) -> np.ndarray:
    """Clustered unit vectors, float32 (count, d)."""
    noise = np.random.default_rng(seed)
    centres = noise.normal(size=(CENTRES, DIMENSIONS))
    made = centres[noise.integers(0, CENTRES, count)] + 0.7 * noise.normal(size=(count, DIMENSIONS))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def near(vector: np.ndarray, seed: int) -> np.ndarray:
    moved = vector + 0.03 * np.random.default_rng(seed).normal(size=DIMENSIONS)
    return (moved / np.linalg.norm(moved)).astype(np.float32)


def seconds(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def quantiles(times: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(times, q)) * 1_000, 2) for q in (50, 95)}
