"""The evidence of an alert: the stories that were counted with the sentences that decided, the rule's figures at that
minute beside those of the same hours a week before, and everything that happened since, by whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domains.finance.alerting import selectors
from domains.finance.alerting.rules import MEAN_SENTIMENT, NEGATIVE_SHARE, SURGE
from domains.finance.alerting.series import MINUTE, Group
from domains.finance.models import Alert, Mention, Silence, Story
from domains.finance.pages.alerts import AlertCard, alert_cards, expected_words
from domains.finance.pages.feed import StoryRow, story_rows
from domains.finance.pages.lean import Lean, lean_of

MOST_STORIES = 40
MOST_TOLD = 9.0  # -log10 of the smallest chance that is told as a number
EVENTS = {
    "pending": "beyond the level, waiting",
    "firing": "fired",
    "resolved": "resolved",
    "inactive": "back before it fired",
    "acknowledged": "acknowledged",
    "unacknowledged": "acknowledgement taken back",
    "silenced": "silenced",
    "unsilenced": "silence ended",
    "notified": "told",
    "late": "late stories came in",
}


@dataclass(frozen=True, slots=True)
class Counted:
    """A story that the alert counted: the sentence that decided, and how it leans."""

    row: StoryRow
    sentence: str
    lean: Lean


@dataclass(frozen=True, slots=True)
class Fact:
    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    at: datetime
    kind: str  # the transition's name; a class of the timeline
    words: str
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class Evidence:
    card: AlertCard
    alert: Alert
    facts: list[Fact]
    counted: list[Counted]
    counted_total: int
    timeline: list[Happening]
    before: list[Alert]  # other alerts of the same rule and group, the newest first
    suppressed: list[Silence]
    seen: list[tuple[int, float | None]]  # the minutes that decided


def evidence_of(alert: Alert) -> Evidence:
    [card] = alert_cards([alert])
    counted = counted_stories(alert)
    same = Alert.objects.filter(rule_name=alert.rule_name, group_key=alert.group_key).exclude(pk=alert.pk)
    silences = Silence.objects.filter(starts_at__lte=alert.resolved_at or alert.fired_at, until__gte=alert.fired_at)
    return Evidence(
        card,
        alert,
        facts_of(alert),
        counted,
        len(alert.story_ids),
        timeline(alert),
        list(same.order_by("-fired_at")[:5]),
        [silence for silence in silences if silence.matches(alert)],
        [(int(row[0]), row[1]) for row in alert.seen],
    )


def counted_stories(alert: Alert) -> list[Counted]:
    """The stories that the alert counted, those first that spoke loudest for it."""
    entity_id = Group.from_key(alert.group_key).entity_id
    mentions = list(Mention.objects.filter(story__in=alert.story_ids, entity_id=entity_id))
    sentences = selectors.sentences_of([mention.article_id for mention in mentions], entity_id)
    stories = Story.objects.filter(pk__in=[mention.story_id for mention in mentions]).select_related("lead")
    rows = {row.id: row for row in story_rows(list(stories))}
    counted = [
        Counted(rows[mention.story_id], sentences.get(mention.article_id, ""), lean_of(mention))
        for mention in mentions
        if mention.story_id in rows
    ]
    is_of_bad = not (alert.spec["metric"] == MEAN_SENTIMENT and alert.spec["comparison"] == "above")
    counted.sort(key=lambda one: -one.lean.negative if is_of_bad else -one.lean.positive)
    return counted[:MOST_STORIES]


def facts_of(alert: Alert) -> list[Fact]:
    """The rule's figures at the minute that fired, and the same hours a week before."""
    figures, spec = alert.figures, alert.spec
    facts = [Fact("Stories counted", str(figures["stories"]), f"in {spec['window'] // MINUTE} min")]
    if "expected" in figures:
        facts.append(
            Fact("Expected", expected_words(figures["expected"]), f"mostly {figures['low']} to {figures['high']}")
        )
    value = figures["value"]
    if spec["metric"] == SURGE and value is not None:
        facts.append(
            Fact("Chance of so many", chance_words(value), f"surge {value:.1f}, threshold {spec['threshold']:g}")
        )
    elif spec["metric"] == NEGATIVE_SHARE and value is not None:
        facts.append(Fact("Negative share", f"{value:.0%}", f"threshold {spec['threshold']:.0%}"))
    elif spec["metric"] == MEAN_SENTIMENT and value is not None:
        facts.append(Fact("Mean sentiment", f"{value:+.2f}".replace("-", "−"), f"threshold {spec['threshold']:+.2f}"))
    negative = figures.get("negative", 0.0)
    if spec["metric"] != NEGATIVE_SHARE and figures["stories"]:
        facts.append(Fact("Of them negative", f"{negative:.1f}", f"{negative / figures['stories']:.0%}"))
    before = selectors.week_before(alert)
    facts.append(Fact("A week before", str(before["stories"]), f"{before['negative']:.1f} negative, same hours"))
    return facts


def chance_words(surprise: float) -> str:
    """A surprise of 3.3 as `1 in 2,000`."""
    if surprise > MOST_TOLD:
        return "under 1 in a billion"
    odds = 10**surprise
    return f"1 in {round(odds, 1 - len(str(int(odds)))):,.0f}"


def timeline(alert: Alert) -> list[Happening]:
    """What happened, oldest first: the figures' doing and people's."""
    return [
        Happening(
            datetime.fromisoformat(line["at"]),
            "person" if line["by"] else line["after"],
            EVENTS.get(line["after"], line["after"].replace("_", " ")),
            line["by"],
            line["note"],
        )
        for line in selectors.timeline(alert)
    ]
