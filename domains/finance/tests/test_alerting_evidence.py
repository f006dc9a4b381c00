"""An alert on real stories: it keeps which ones it counted, under which release, and shows the deciding sentences."""

from __future__ import annotations

from typing import Any

import pytest

from domains.finance.alerting import selectors
from domains.finance.alerting.evaluation import DELAY, evaluate_rules
from domains.finance.alerting.explain import explain
from domains.finance.alerting.series import DAY, HOUR, MINUTE, PARTS, moment
from domains.finance.models import Alert, AlertRule, Article, Entity, Mention, Score, Story, WatchList
from domains.finance.news.buckets import Counted, move
from domains.finance.tests.streams import MIDNIGHT

pytestmark = pytest.mark.django_db
NOW = MIDNIGHT + 8 * DAY + 10 * HOUR


def story(minute: int, entities: dict[int, float], topic: str = "earnings", start: int = NOW) -> Story:
    """One story `minute` minutes after `start`, told by one outlet, that leans so negatively for these entities."""
    at = moment(start + minute * MINUTE)
    number = Article.objects.count()
    told = Story.objects.create(title=f"Story {number}", topic=topic, first_published_at=at, last_published_at=at)
    article = Article.objects.create(
        key=f"a{number}", title=told.title, source_name="Daily", published_at=at, received_at=at, changed_at=at,
        changed_by="test", story=told, url="https://example.org/",
    )  # fmt: skip
    for entity_id, negative in ({0: 0.5} | entities).items():
        leaning = (negative, (1 - negative) / 2, (1 - negative) / 2)
        Score.objects.create(
            article=article, entity_id=entity_id or None, release="r1", p_negative=leaning[0], p_neutral=leaning[1],
            p_positive=leaning[2], sentence=f"Sentence {number} for {entity_id}.", scored_at=at,
        )  # fmt: skip
        Mention.objects.create(
            story=told, entity_id=entity_id, topic=topic, published_at=at, negative=leaning[0], neutral=leaning[1],
            positive=leaning[2], article=article,
        )  # fmt: skip
        move([], [Counted(entity_id, topic, at, 1, *leaning)], 1)
    return told


@pytest.fixture
def acme() -> Entity:
    return Entity.objects.create(symbol="ACME", name="Acme")


def bad_news(**fields: Any) -> AlertRule:
    given: dict[str, Any] = {"metric": "negative_share", "threshold": 0.6, "window_seconds": 1_800, "min_stories": 3}
    return AlertRule.objects.create(**({"name": "Bad news", "scope": "each_entity"} | given | fields))


def fired(rule: AlertRule, minutes: int = 10) -> Alert:
    evaluate_rules(NOW + minutes * MINUTE + DELAY)
    return Alert.objects.get(rule=rule)


def test_an_alert_keeps_the_stories_that_it_counted(acme: Entity) -> None:
    rule = bad_news()
    evaluate_rules(NOW + DELAY)
    story(-40, {acme.pk: 1.0})  # before the window
    counted = [story(minute, {acme.pk: negative}) for minute, negative in ((1, 0.75), (2, 0.5), (4, 0.875))]
    other = Entity.objects.create(symbol="BOLT", name="Bolt")
    story(3, {other.pk: 1.0})
    alert = fired(rule, 5)
    assert sorted(alert.story_ids) == sorted(one.pk for one in counted)
    assert alert.release == "r1"
    assert alert.figures["stories"] == 3
    assert alert.figures["negative"] == pytest.approx(2.125)
    assert alert.why == "71% negative of 3 stories in 30 minutes (threshold 60%)"
    found = selectors.counted_stories(alert)
    assert [(row["negative"], row["sentence"]) for row in found] == [
        (0.875, f"Sentence 3 for {acme.pk}."),
        (0.75, f"Sentence 1 for {acme.pk}."),
        (0.5, f"Sentence 2 for {acme.pk}."),
    ]
    assert {(row["source"], row["outlets"], row["topic"]) for row in found} == {("Daily", 1, "earnings")}
    assert selectors.evidence(alert)["week_before"]["stories"] == 0
    assert explain(alert).is_same


def test_the_same_hours_a_week_before(acme: Entity) -> None:
    rule = bad_news()
    for minute in (-20, 3, 20):
        story(minute, {acme.pk: 0.25}, start=NOW - 7 * DAY)
    evaluate_rules(NOW + DELAY)
    for minute in (1, 2, 3):
        story(minute, {acme.pk: 1.0})
    before = selectors.evidence(fired(rule))["week_before"]
    assert (before["stories"], before["negative"]) == (2, 0.5)
    assert before["to"] == NOW + 4 * MINUTE - 7 * DAY


def test_a_rule_can_look_at_one_topic(acme: Entity) -> None:
    rule = bad_news(topic="fraud")
    evaluate_rules(NOW + DELAY)
    for minute in (1, 2, 3):
        story(minute, {acme.pk: 1.0}, topic="earnings")
        story(minute, {acme.pk: 0.9}, topic="fraud")
    alert = fired(rule)
    assert (alert.topic, alert.figures["stories"]) == ("fraud", 3)
    assert set(Story.objects.filter(pk__in=alert.story_ids).values_list("topic", flat=True)) == {"fraud"}


def test_a_story_that_was_taken_away_is_named_by_the_explanation(acme: Entity) -> None:
    rule = bad_news()
    evaluate_rules(NOW + DELAY)
    stories = [story(minute, {acme.pk: 1.0}) for minute in (1, 2, 3, 4)]
    alert = fired(rule)
    mention = Mention.objects.get(story=stories[0], entity_id=acme.pk)
    counted = Counted(acme.pk, "earnings", mention.published_at, 1, mention.negative, mention.neutral, mention.positive)
    mention.delete()
    move([counted], [], 2)
    found = explain(alert)
    assert found.is_same  # what was decided stands
    assert list(found.missing) == [stories[0].pk]
    assert (found.alert.figures["stories"], found.now["stories"]) == (3, 2)


def test_a_watch_list_is_each_of_its_entities(acme: Entity) -> None:
    bolt = Entity.objects.create(symbol="BOLT", name="Bolt")
    listed = WatchList.objects.create(name="mine")
    listed.entities.add(acme)
    rule = bad_news(scope="watch_list", watch_list=listed)
    evaluate_rules(NOW + DELAY)
    for minute in (1, 2, 3):
        story(minute, {acme.pk: 1.0, bolt.pk: 1.0})
    assert fired(rule).entity == acme
    listed.entities.clear()
    evaluate_rules(NOW + 11 * MINUTE + DELAY)
    alert = Alert.objects.get()
    assert (alert.state, alert.resolution) == ("resolved", "the rule does not look at it any more")


def test_probabilities_keep_their_grain(acme: Entity) -> None:
    """What the buckets hold are whole parts, so no sum of them is rounded."""
    story(0, {acme.pk: 3 / PARTS})
    series = selectors.series_with_band(acme.pk, "", NOW - HOUR, NOW + HOUR, HOUR).series
    assert series.cells[0, 1].tolist() == [0, 3]


def test_the_band_of_a_series_has_a_point_a_step(acme: Entity) -> None:
    for hour in range(100):
        story(0, {acme.pk: 0.5}, start=NOW - hour * HOUR)
    found = selectors.series_with_band(acme.pk, "", NOW - 12 * HOUR, NOW, 2 * HOUR)
    assert found.series.stories[0].tolist() == [2] * 6
    assert len(found.expected) == len(found.low) == len(found.high) == 6
    assert (found.low <= found.expected).all()
    assert (found.expected <= found.high).all()
