"""Rules: one evaluation of 20 rules for 1,000 entities, from rows to rows, and a back-test over 30 days of minutes.

The rival of the evaluation is the same arithmetic in plain Python on the same rows, one rule and group after the other,
as an evaluator would be written without arrays; it knows no baselines and writes nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import timedelta
from typing import Any

import numpy as np
from django.db import connection

from benchmarks.ingest import scratch_database
from domains.finance.alerting import history
from domains.finance.alerting.backtest import back_test
from domains.finance.alerting.evaluation import DELAY, evaluate_rules
from domains.finance.alerting.series import DAY, HOUR, MINUTE, moment
from domains.finance.models import AlertRule, Bucket, Entity

NAME = "rules"
HELP = "seconds to evaluate 20 rules for 1,000 entities, and to back-test 30 days of minutes (entities=1000 rules=20)"
MIDNIGHT = 1_767_571_200  # a midnight UTC
DAYS = 42
ROWS = 20_000
METRICS = (
    {"metric": "surge", "threshold": 4.0, "clear_threshold": 2.0},
    {"metric": "volume", "threshold": 20.0, "clear_threshold": 10.0},
    {"metric": "negative_share", "threshold": 0.6, "clear_threshold": 0.5, "min_stories": 5},
    {"metric": "mean_sentiment", "threshold": -0.4, "clear_threshold": -0.2, "comparison": "below", "min_stories": 5},
)
WINDOWS = (900, 1_800, 3_600, 21_600, 86_400)


def run(entities: int = 1_000, rules: int = 20, minutes: int = 5) -> dict[str, Any]:
    """{"ours", "rival" (seconds for one minute), "ratio", "first" (with baselines to fit), "back-test ...", ...}"""
    with scratch_database():
        end = made(entities)
        made_rules = [
            AlertRule.objects.create(name=f"rule {i}", window_seconds=WINDOWS[i // 4 % 5], **METRICS[i % 4])
            for i in range(rules)
        ]
        evaluate_rules(end + DELAY)  # the rules begin
        first = timed(lambda: evaluate_rules(end + MINUTE + DELAY))
        cpu = time.process_time()
        seconds = [timed(lambda at=end + i * MINUTE: evaluate_rules(at + DELAY)) for i in range(2, minutes + 2)]
        cpu = (time.process_time() - cpu) / minutes
        rival = timed(lambda: plain(made_rules, end + minutes * MINUTE))
        one = AlertRule(name="one", scope="entity", entity_id=1, **METRICS[0])
        begin = end - 30 * DAY
        tests = [timed(lambda: back_test(history.rule_spec(one), history.scope_of(one), begin, end)) for _ in range(3)]
        rows = Bucket.objects.filter(entity_id=1, seconds=MINUTE, start__gte=moment(begin)).count()
        ours = float(np.median(seconds))
        return {
            "unit": "s",
            "ours": round(ours, 3),
            "rival": round(rival, 3),
            "ratio": round(rival / ours, 2),
            "slowest": round(max(seconds), 3),
            "CPU seconds of ours": round(cpu, 3),
            "first": round(first, 3),
            "back-test of 30 days": round(min(tests), 3),
            "its minute buckets": rows,
            "minute buckets of the last day": Bucket.objects.filter(seconds=60, start__gte=moment(end - DAY)).count(),
            "database": connection.vendor,
        }


def timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def made(entities: int) -> int:
    """Entities with long-tailed rates: hours for six weeks, minutes for the last two days; of the first one minutes for
    30 days, with a story in every other one. Returns where the stream ends, in Unix seconds."""
    random = np.random.default_rng(0)
    end = MIDNIGHT + DAYS * DAY - 2 * HOUR
    Entity.objects.bulk_create(Entity(pk=i + 1, symbol=f"E{i}", name=f"Entity {i}") for i in range(entities))
    rate = np.exp(random.normal(np.log(0.5), 1.2, entities))  # stories an hour
    hours = random.poisson(np.repeat(rate[:, None], (end - MIDNIGHT) // HOUR, axis=1))
    store(hours, HOUR, MIDNIGHT)
    store(random.poisson(np.repeat(rate[:, None] / 60, 2 * 1_440, axis=1)), MINUTE, end - 2 * DAY)
    store(random.integers(0, 2, (1, 28 * 1_440)), MINUTE, end - 30 * DAY)
    return end


def store(counts: np.ndarray, seconds: int, start: int) -> None:
    """Buckets of entities 1, 2, ... and of everything."""
    everything = counts.sum(axis=0)[None]
    table = np.concatenate([everything, counts])
    group, step = np.nonzero(table)
    begin = moment(start)
    for first in range(0, len(group), ROWS):
        Bucket.objects.bulk_create(
            Bucket(
                entity_id=int(g),
                seconds=seconds,
                start=begin + timedelta(seconds=int(s) * seconds),
                stories=int(table[g, s]),
                articles=int(table[g, s]),
                negative=float(table[g, s]) / 4,
                neutral=float(table[g, s]) / 4,
                positive=float(table[g, s]) / 2,
                revision=0,
            )
            for g, s in zip(group[first : first + ROWS], step[first : first + ROWS], strict=True)
        )


def plain(rules: list[AlertRule], at: int) -> int:
    """How many groups are beyond their rules' thresholds at `at`, without arrays and without the surges' tails."""
    beyond = 0
    for rule in rules:
        begin = moment(at - rule.window_seconds)
        window = Bucket.objects.filter(seconds=MINUTE, topic="", entity_id__gt=0)
        window = window.filter(start__gte=begin, start__lt=moment(at))
        groups: dict[int, list[Bucket]] = defaultdict(list)
        for bucket in window:
            groups[bucket.entity_id].append(bucket)
        for buckets in groups.values():
            stories = sum(bucket.stories for bucket in buckets)
            negative, positive = sum(b.negative for b in buckets), sum(b.positive for b in buckets)
            value = {
                "volume": stories,
                "surge": stories,
                "negative_share": negative / stories,
                "mean_sentiment": (positive - negative) / stories,
            }[rule.metric]
            is_beyond = value >= rule.threshold if rule.comparison == "above" else value <= rule.threshold
            beyond += is_beyond and stories >= rule.min_stories
    return beyond
