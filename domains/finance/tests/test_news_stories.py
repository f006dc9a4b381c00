"""Articles become stories, scores, mentions and buckets, and late, repeated or changed ones end in the same rows."""

from __future__ import annotations

import random
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from domains.finance.models import Alias, Article, Bucket, Entity, Mention, Score, Story
from domains.finance.news import buckets, services, window
from domains.finance.news.selectors import changed_since
from domains.finance.tests.articles import START, article, take
from domains.finance.tests.conftest import fake_encoder
from suite.encoder.fake import FakeEncoder
from suite.events.envelope import Envelope
from suite.events.handling import handle_all
from suite.events.ingestion import ingest
from suite.events.models import Event, PendingEvent
from suite.events.services import replay_events
from suite.index.models import DocumentChange
from suite.live.models import Topic

pytestmark = pytest.mark.django_db
RECALL = "Halden Motors recalls 120000 vans over brake fault"


def stored_buckets() -> dict[buckets.Key, tuple[float, ...]]:
    return {
        (row.entity_id, row.topic, row.seconds, int(row.start.timestamp())): (
            row.stories, row.articles, row.negative, row.neutral, row.positive
        )
        for row in Bucket.objects.filter(stories__gt=0)
    }  # fmt: skip


def lead(story: Story) -> str:
    """The id of the article that told it first."""
    assert story.lead is not None
    return story.lead.key


def picture() -> tuple:
    """All that must not depend on the order in which articles came in, without ids of rows."""
    stories = {
        lead(story): (
            story.title, story.topic, story.first_published_at, story.article_count, story.source_count,
            tuple(sorted(story.articles.values_list("key", flat=True))),
        )
        for story in Story.objects.select_related("lead")
    }  # fmt: skip
    return stories, stored_buckets()


def test_an_article_is_read_counted_and_told(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    take(article(RECALL, 3, source="Morning Ledger", body="Halden Motors said so. Northwind Bank lends it money."))
    story = Story.objects.get()
    assert (story.title, story.article_count, story.topic) == (RECALL, 1, Score.objects.get(entity=None).topic)
    said = {score.entity.symbol if score.entity else "": score for score in Score.objects.select_related("entity")}
    assert said.keys() == {"", "HLDN", "NWB"}
    assert said["NWB"].sentence == "Northwind Bank lends it money."
    for score in said.values():
        assert score.p_negative + score.p_neutral + score.p_positive == 1
    entity = companies["HLDN"].pk
    minute = Bucket.objects.get(entity_id=entity, topic="", seconds=60)
    assert (minute.start, minute.stories, minute.negative) == (START + timedelta(minutes=3), 1, said["HLDN"].p_negative)
    assert stored_buckets() == buckets.counted_anew()
    [scored] = Event.objects.filter(type="finance.sentiment.scored")
    assert scored.data["story_id"] == story.pk
    assert {one["entity"] for one in scored.data["entities"]} == {"HLDN", "NWB"}
    assert DocumentChange.objects.filter(collection="finance.stories", key=str(story.pk)).exists()


def test_pages_hear_of_what_is_new(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    take(article("Northwind Bank posts surprise quarterly loss"))
    assert not Topic.objects.exists()  # it is of last month
    take(article(RECALL, published_at=timezone.now().isoformat()))
    assert set(Topic.objects.values_list("name", flat=True)) == {"finance.stories", "finance.entity:HLDN"}


def test_copies_count_once(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    take(*[article(RECALL, minute, source=f"Outlet {minute}") for minute in range(20)])
    story = Story.objects.get()
    assert (story.article_count, story.source_count) == (20, 20)
    assert Bucket.objects.get(entity_id=companies["HLDN"].pk, topic="", seconds=86_400).stories == 1
    assert stored_buckets() == buckets.counted_anew()


def test_a_follow_up_with_a_new_figure_is_another_story(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    take(article(RECALL), article("Halden Motors recalls another 45000 vans over brake fault", 90))
    assert Story.objects.count() == 2


def test_a_late_earlier_article_moves_the_story_to_its_own_time(
    encoder: FakeEncoder, companies: dict[str, Entity]
) -> None:
    take(article(RECALL, 30, key="second"))
    story = Story.objects.get()
    take(article(f"{RECALL} - Morning Ledger", 10, key="first"))
    moved = Story.objects.get()
    assert (moved.pk, lead(moved), moved.first_published_at) == (story.pk, "first", START + timedelta(minutes=10))
    entity = companies["HLDN"].pk
    minutes = {row.start: row.stories for row in Bucket.objects.filter(entity_id=entity, topic="", seconds=60)}
    assert minutes == {START + timedelta(minutes=10): 1, START + timedelta(minutes=30): 0}
    assert stored_buckets() == buckets.counted_anew()


def wire() -> list[dict]:
    """Three pieces of news, told by several outlets, with a follow-up, in order."""
    titles = [
        (0, RECALL), (2, f"{RECALL} - Morning Ledger"), (9, "Brake defect forces Halden Motors to recall 120000 vans"),
        (95, "Halden Motors recalls another 45000 vans over brake fault"),
        (1, "Northwind Bank posts surprise quarterly loss"), (4, "Northwind Bank posts surprise quarterly loss"),
        (30, "Surprise quarterly loss at Northwind Bank"),
        (33, "云岭银行季度意外亏损"), (40, "云岭银行意外录得季度亏损"),
        (2_000, "Northwind Bank posts surprise quarterly loss"), (55, "Corvane Pharma names new chief"),
    ]  # fmt: skip
    return [
        article(title, minute, id=f"w{number}", key=f"k{number:02}", source=f"Outlet {number % 4}")
        for number, (minute, title) in enumerate(titles)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_arrival_does_not_matter(encoder: FakeEncoder, companies: dict[str, Entity], seed: int) -> None:
    events = wire()
    dice = random.Random(seed)
    if seed:
        dice.shuffle(events)
    for start in range(0, len(events), size := dice.choice([1, 2, 5])):
        take(*events[start : start + size])
    take(*dice.sample(events, 4))  # again
    stories, counted = picture()
    assert counted == buckets.counted_anew()
    groups = sorted(sorted(story[-1]) for story in stories.values())
    assert groups == [["k00", "k01", "k02"], ["k03"], ["k04", "k05", "k06", "k09"], ["k07", "k08"], ["k10"]]
    assert stories["k00"][3:5] == (3, 3)


@pytest.mark.django_db(transaction=True)
def test_workers_side_by_side_agree(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    """Each article is handled by itself, by whichever of three workers comes first; some of them fail half way."""
    events = wire() + [article(RECALL, 3 + minute, key=f"copy {minute}") for minute in range(20)]
    random.Random(1).shuffle(events)
    ingest(events)
    failing = iter([False, True, False, False, True] * 100)
    told = services.record_events

    def tell(envelopes: list[Envelope]) -> None:
        if next(failing):
            raise OSError("the disk is full")  # after everything else was written
        told(envelopes)

    def work() -> None:
        handle_all(lambda left: None)
        connection.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "record_events", tell)
        patch.setattr("django.conf.settings.BATCH_EVENTS", 1)
        patch.setattr("django.conf.settings.RETRY_SECONDS", 0.05)
        patch.setattr("django.conf.settings.MAX_ATTEMPTS", 50)
        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    stories, counted = picture()
    assert counted == buckets.counted_anew()
    assert sorted(len(story[-1]) for story in stories.values()) == [1, 1, 2, 4, 23]
    scored = Event.objects.filter(type="finance.sentiment.scored")
    assert scored.count() == len(events) == Article.objects.count()


def test_reading_again_changes_nothing(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    take(*wire())
    before, ids = picture(), set(Score.objects.values_list("pk", flat=True))
    scored = Event.objects.filter(type="finance.sentiment.scored").count()
    replay_events(types=["finance.article.published"])
    take()
    assert picture() == before
    assert set(Score.objects.values_list("pk", flat=True)) == ids
    assert Event.objects.filter(type="finance.sentiment.scored").count() == scored


def test_another_release_replaces_what_counts(
    encoder: FakeEncoder, companies: dict[str, Entity], monkeypatch: pytest.MonkeyPatch
) -> None:
    take(*wire())
    old = encoder.fingerprint
    monkeypatch.setattr("domains.finance.handlers.active_encoder", lambda: fake_encoder("other"))
    replay_events(types=["finance.article.published"])
    take()
    assert not Score.objects.filter(release=old, is_current=True).exists()
    assert Score.objects.filter(release=old).exists()  # what an old alert counted can still be shown
    assert stored_buckets() == buckets.counted_anew()


def test_a_changed_article_leaves_its_story(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    take(article(RECALL, 0, key="one"), article(RECALL, 5, key="two"), article(RECALL, 8, key="three"))
    change = article("Corvane Pharma names new chief", 0, key="one") | {
        "time": (START + timedelta(hours=1)).isoformat()
    }
    take(change)
    assert {lead(story): story.article_count for story in Story.objects.all()} == {"one": 1, "two": 2}
    take(article(RECALL, 0, key="one", id="older") | {"time": (START - timedelta(hours=1)).isoformat()})
    assert Article.objects.get(key="one").title == "Corvane Pharma names new chief"
    assert stored_buckets() == buckets.counted_anew()


def test_one_old_article_does_not_bring_all_the_years_since(encoder: FakeEncoder, monkeypatch: Any) -> None:
    things = ["Vans", "Pots", "Lamps", "Boots", "Tents", "Ropes", "Maps"]
    take(*(article(f"{thing} are cheaper this week", 60 * place) for place, thing in enumerate(things)))
    monkeypatch.setattr(window, "HELD", 4)
    held = window.Window()
    held.refresh(0.0, before=2**40)
    assert len(held.sketches) == 5  # not seven, of which three are thrown away again
    assert held.since == Article.objects.order_by("published_at")[2].published_at.timestamp()


def test_a_late_article_finds_its_original_among_many(encoder: FakeEncoder, monkeypatch: Any) -> None:
    things = ["Vans", "Pots", "Lamps", "Boots", "Tents", "Ropes", "Maps"]
    take(*(article(f"{thing} are cheaper this week", 60 * place) for place, thing in enumerate(things)))
    monkeypatch.setattr(window, "HELD", 3)
    late = window.Window.between(START.timestamp(), (START + timedelta(days=1)).timestamp())
    assert {Article.objects.get(pk=number).title.split()[0] for number in late.sketches} == {"Vans", "Pots", "Lamps"}


def test_two_stories_that_become_one_leave_a_way_to_it(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    """Neither is like the other, both are like the one that comes late and was first."""
    take(
        article("Halden Motors recalls vans", 60, key="short"),
        article("Brake fault: Halden Motors recalls 120000 vans", 150, key="long"),
    )
    first, second = Story.objects.order_by("first_published_at")
    take(article("Halden Motors recalls 120000 vans over brake fault", 0, key="late"))
    [story] = Story.objects.all()
    assert (lead(story), story.article_count) == ("late", 3)
    gone = Story.everything.exclude(pk=story.pk).get()
    assert {story, gone} == {first, second}
    assert gone.merged_into == story
    assert Bucket.objects.get(entity_id=companies["HLDN"].pk, topic="", seconds=60, stories=1).start == START
    assert stored_buckets() == buckets.counted_anew()


def test_no_chain_of_copies_leads_from_one_day_to_the_next(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    take(*[article(RECALL, 1_500 * day, key=f"day {day}") for day in range(5)])  # 25 hours apart
    starts = sorted(lead(story) for story in Story.objects.all())
    assert starts == ["day 0", "day 2", "day 4"]
    take(article("Corvane Pharma names new chief", 0, key="day 0") | {"time": "2026-04-01T00:00:00Z"})
    assert sorted(lead(story) for story in Story.objects.all()) == ["day 0", "day 1", "day 3"]
    assert stored_buckets() == buckets.counted_anew()


def test_who_asks_what_changed_hears_of_late_articles(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    take(article(RECALL, 600))
    seen = changed_since(0)
    assert changed_since(seen.revision).first is None
    take(article("Northwind Bank posts surprise quarterly loss", 5))
    late = changed_since(seen.revision)
    assert (late.first, late.last) == (START + timedelta(minutes=5), START + timedelta(minutes=5))
    assert late.entity_ids == {0, companies["NWB"].pk}


def test_an_article_that_names_everybody_is_cut_off(encoder: FakeEncoder, companies: dict[str, Entity]) -> None:
    many = Entity.objects.bulk_create(Entity(symbol=f"E{n}", name=f"Entity {n}") for n in range(3_000))
    Alias.objects.bulk_create(Alias(entity=entity, text=f"Firm{entity.symbol}") for entity in many)
    body = " ".join(f"FirmE{n}" for n in range(3_000))
    take(article("A list of everybody", body=body))
    row = Article.objects.get()
    assert row.note == "names 3,000 entities; the first 50 are judged"
    assert row.scores.exclude(entity=None).count() == 50
    assert Mention.objects.exclude(entity_id=0).count() == 50


def test_articles_wait_for_the_heads(companies: dict[str, Entity], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domains.finance.handlers.active_encoder", lambda: FakeEncoder())
    take(article(RECALL))
    [mark] = PendingEvent.objects.all()
    assert mark.attempts == 0
    assert "has no head 'sentiment'" in mark.last_error
    assert Article.objects.get().story is None


def test_a_time_a_little_ahead_is_taken_as_now(encoder: FakeEncoder) -> None:
    ahead = (timezone.now() + timedelta(minutes=5)).isoformat()
    take(article("Halden Motors opens factory", published_at=ahead))
    row = Article.objects.get()
    assert row.published_at == row.received_at
