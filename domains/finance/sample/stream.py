"""The sample as events: four weeks of news with a daily and a weekly season and two bursts, and what comes next.

A sample that was loaded before is the four weeks before it first came in, so it ends in the same rows whenever a load
that was killed goes on.
"""

from __future__ import annotations

import heapq
import itertools
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from domains.finance.news import directory
from domains.finance.sample.press import Company, Phrase, companies, entity_lines, outlets, phrases, write
from domains.finance.sample.rules import write_rules
from suite.events.models import Event
from suite.formats import LoadOptions, Record

SOURCE = "sample"
SEED = 23
DAYS = 28
WEEKDAY, WEEKEND = 110.0, 30.0  # stories a day
HOURS = (1, 1, 1, 1, 1, 2, 4, 7, 9, 9, 8, 7, 7, 8, 9, 8, 7, 6, 4, 3, 2, 2, 1, 1)  # of the day, UTC: weights
BURSTS = ((9.0, "VNTR", 16), (1.1, "ORRN", 20))  # days ago, whom it hits, stories in 50 minutes
BURST_MINUTES = 50
LATER = 45.0  # minutes until another outlet has it, on average

LIVE_PAUSE = 150.0  # seconds between two stories, on average
LIVE_LATER = 60.0  # seconds
LIVE_BURST_AFTER, LIVE_BURST_EVERY = 45.0, 1_500.0  # seconds
LIVE_BURST_STORIES, LIVE_BURST_SECONDS = 14, 180.0


@dataclass(frozen=True, slots=True)
class Report:
    """One article."""

    title: str
    body: str
    outlet: str
    language: str


def read_sample(folder: Path, options: LoadOptions) -> Iterator[Record]:
    """Entities and outlets as rows, articles as events, always with the same ids."""
    for path in sorted(folder.glob("*.jsonl")):
        options.on_bytes(path.stat().st_size)
    if not options.is_dry:
        directory.write_entities(entity_lines())
        directory.ensure_watch_list("Banks and insurers", ("NWB", "MRDN", "STNB", "YLB", "MYI"))
        for language, names in outlets().items():
            directory.ensure_sources(names, language)
        write_rules()
    first = Event.objects.filter(source=SOURCE, type="finance.article.published")
    now = first.order_by("id").values_list("received_at", flat=True).first() or datetime.now(UTC)
    for number, (time, report) in enumerate(history(now)):
        yield event(f"sample {number}", time, report)


def history(now: datetime) -> Iterator[tuple[datetime, Report]]:
    """(when, article) of the last four weeks, in order."""
    dice = random.Random(SEED)
    newsroom = Newsroom(dice)
    told: list[tuple[datetime, int, Report]] = []
    numbers = itertools.count()
    for time, about, is_bad in sorted(stories(now, dice), key=lambda story: story[0]):
        for delay, report in newsroom.tell(about, is_bad=is_bad):
            if time + timedelta(minutes=delay * LATER) <= now:
                told.append((time + timedelta(minutes=delay * LATER), next(numbers), report))
    for when, _, report in sorted(told, key=lambda one: one[:2]):
        yield when, report


def stories(now: datetime, dice: random.Random) -> Iterator[tuple[datetime, Company, bool]]:
    """(when, about whom, is it bad news in a burst)."""
    known = {company.symbol: company for company in companies()}
    weights = [1 / (rank + 2) for rank in range(len(known))]
    start = (now - timedelta(days=DAYS)).replace(minute=0, second=0, microsecond=0)
    for hour in range(DAYS * 24 + 1):
        begin = start + timedelta(hours=hour)
        daily = WEEKEND if begin.weekday() >= 5 else WEEKDAY
        expected = daily * HOURS[begin.hour] / sum(HOURS) * dice.gammavariate(8, 1 / 8)  # over-dispersed
        for _ in range(poisson(expected, dice)):
            when = begin + timedelta(seconds=dice.uniform(0, 3_600))
            if when <= now:
                yield when, dice.choices(list(known.values()), weights)[0], False
    for days, symbol, count in BURSTS:
        begin = now - timedelta(days=days)
        for _ in range(count):
            yield begin + timedelta(minutes=dice.uniform(0, BURST_MINUTES)), known[symbol], True


def poisson(mean: float, dice: random.Random) -> int:
    """Arrivals in one unit of time."""
    count, time = 0, dice.expovariate(mean) if mean else 2.0
    while time < 1:
        count, time = count + 1, time + dice.expovariate(mean)
    return count


class Newsroom:
    """What the outlets write. Nobody hears the same phrase about the same company twice within a while."""

    RECENT = 30  # phrases

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.recent: dict[str, list[Phrase]] = {}

    def tell(self, about: Company, *, is_bad: bool = False) -> Iterator[tuple[float, Report]]:
        """(delay, as a multiple of the usual one; article): the first outlet at once, others later."""
        phrase = self.choose(about, is_bad=is_bad)
        names = [about.name]
        if phrase.companies > 1:
            names.append(self.dice.choice([other.name for other in companies() if other.language == "en"]))
        piece = write(phrase, self.dice, tuple(names))
        writers = list(outlets()[phrase.language])
        self.dice.shuffle(writers)
        others = min(len(writers) - 1, int(self.dice.expovariate(0.9 if is_bad else 1.3)))
        delay = 0.0
        for number, outlet in enumerate(writers[: others + 1]):
            title = piece.titles[number % len(piece.titles)]
            yield delay, Report(title, body_of(title, phrase.language), outlet, phrase.language)
            delay += self.dice.expovariate(1.0)

    def choose(self, about: Company, *, is_bad: bool) -> Phrase:
        fitting = [
            phrase
            for phrase in phrases()
            if phrase.language == about.language
            and (not is_bad or phrase.leans.get("a") == "negative")
            and (phrase.companies < 2 or about.language == "en")
        ]
        told = self.recent.setdefault(about.symbol, [])
        told_of_nobody = self.recent.setdefault("", [])
        fresh = [phrase for phrase in fitting if phrase not in told and phrase not in told_of_nobody] or fitting
        phrase = self.dice.choice(fresh)
        lately = told if phrase.companies else told_of_nobody
        lately.append(phrase)
        del lately[: len(lately) - self.RECENT]
        return phrase


def body_of(title: str, language: str) -> str:
    """An invented report's only sentence: so little, that the title decides."""
    return f"{title}，本报讯。" if language == "zh" else f"{title}, this paper has learned."


def live() -> Iterator[tuple[float, dict[str, Any]]]:
    """(pause in seconds, event): what the outlets write from now on, and now and then a burst of bad news."""
    dice = random.Random()
    run = uuid.uuid4().hex
    newsroom = Newsroom(dice)
    numbers = itertools.count()
    known: Sequence[Company] = [company for company in companies() if company.language == "en"]
    waiting: list[tuple[float, int, Report]] = []  # by the second that it is written in

    def plan(at: float, about: Company, *, is_bad: bool) -> None:
        for delay, report in newsroom.tell(about, is_bad=is_bad):
            heapq.heappush(waiting, (at + delay * LIVE_LATER, next(numbers), report))

    next_story, next_burst, now = 0.0, LIVE_BURST_AFTER, 0.0
    while True:
        if next_story <= min(next_burst, waiting[0][0] if waiting else next_burst):
            plan(next_story, dice.choice(companies()), is_bad=False)
            next_story += dice.expovariate(1 / LIVE_PAUSE)
        elif next_burst <= (waiting[0][0] if waiting else next_burst):
            about = dice.choice(known)
            for _ in range(LIVE_BURST_STORIES):
                plan(next_burst + dice.uniform(0, LIVE_BURST_SECONDS), about, is_bad=True)
            next_burst += LIVE_BURST_EVERY
        else:
            at, number, report = heapq.heappop(waiting)
            pause, now = at - now, at
            yield pause, event(f"{run} {number}", datetime.now(UTC) + timedelta(seconds=pause), report, is_timed=False)


def event(name: str, published: datetime, report: Report, *, is_timed: bool = True) -> dict[str, Any]:
    """The event has a time of its own where it `is_timed`."""
    data = {
        "article_id": name,
        "title": report.title,
        "body": report.body,
        "source": report.outlet,
        "language": report.language,
        "published_at": published.isoformat(),
    }
    found = {"id": name, "source": SOURCE, "type": "finance.article.published", "data": data}
    return found | ({"time": published.isoformat()} if is_timed else {})


LIVE: dict[str, Callable[[], Iterator[tuple[float, dict[str, Any]]]]] = {"finance.press": live}
