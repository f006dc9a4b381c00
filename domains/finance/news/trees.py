"""Stories as rows: each article's original, and one `Story` row for each original with its copies.

Everything here runs under the lock of `services.next_revision`, so two workers never place two copies apart.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domains.finance.models import Article, Score, Story, Trace
from domains.finance.news.stories import WINDOW, Sketch
from domains.finance.news.window import COLUMNS, Window, sketch_from
from suite.events.rows import update

DAY = 86_400.0
_recent = Window()


def forget() -> None:
    """Drop what this process remembers of recent articles; it is read again."""
    global _recent
    _recent = Window()


def relink(batch: Sequence[Sketch], revision: int) -> set[int]:
    """Find the originals of new and changed articles, and of all later ones for which that makes a difference.

    Articles are judged in the order in which they were published, each against earlier ones that are no copies
    themselves; so only what is later than a change can be changed by it. Returns the ids of all that were judged.
    `Trace` rows of the batch must be written already.
    """
    links = _Links(windows_for(batch, revision), {sketch.number for sketch in batch})
    for sketch in batch:
        links.want(sketch)
    links.want_copies_of([sketch.number for sketch in batch])
    links.others_of(batch)
    return links.judge()


class _Links:
    """Originals as far as they are known, and the articles that wait to be judged, the earliest first."""

    def __init__(self, windows: Sequence[Window], fresh: set[int]) -> None:
        self.windows = windows
        self.fresh = fresh  # what is known of their originals holds no more
        self.known: dict[int, tuple[int | None, float]] = {}  # (original, similarity) of an article
        self.waiting: list[tuple[tuple[float, str], int]] = []
        self.sketches: dict[int, Sketch] = {}
        self.judged: dict[int, tuple[int | None, float]] = {}
        self.others: dict[int, list[tuple[Sketch, float]]] = {}  # that an article is like, as far as they were sought

    def want(self, sketch: Sketch) -> None:
        if sketch.number not in self.sketches:
            self.sketches[sketch.number] = sketch
            heapq.heappush(self.waiting, (sketch.order, sketch.number))

    def want_copies_of(self, originals: Collection[int]) -> None:
        for sketch in stored_sketches(Article.objects.filter(original__in=originals).exclude(pk__in=self.fresh)):
            self.want(sketch)

    def judge(self) -> set[int]:
        while self.waiting:
            _, number = heapq.heappop(self.waiting)
            self.judge_one(self.sketches[number])
        rows = [(number, original, like or None) for number, (original, like) in self.judged.items()]
        update(Article, ("original_id", "similarity"), rows)
        return set(self.judged)

    def judge_one(self, sketch: Sketch) -> None:
        others = self.others_of([sketch])[0]
        earlier = [
            (like, -other.published, other)
            for other, like in others
            if other.order < sketch.order and self.known[other.number][0] is None
        ]
        like, _, original = max(earlier, key=lambda one: (*one[:2], _backwards(one[2].key)), default=(0.0, 0.0, None))
        was_copy = self.known[sketch.number][0] is not None
        self.known[sketch.number] = self.judged[sketch.number] = (original.number if original else None, like)
        if original is None and (was_copy or sketch.number in self.fresh):
            for other, like in others:  # those that came later may be copies of this one
                if other.order > sketch.order and self.known[other.number][1] <= like:
                    self.want(other)
        elif original is not None and not was_copy and sketch.number not in self.fresh:
            self.want_copies_of([sketch.number])

    def others_of(self, sketches: Sequence[Sketch]) -> list[list[tuple[Sketch, float]]]:
        """The articles that each is like, with what is known of their originals looked up."""
        for sketch in sketches:
            if sketch.number not in self.others:
                self.others[sketch.number] = list(alike(sketch, self.windows))
        found = [self.others[sketch.number] for sketch in sketches]
        self.look_up({other.number for others in found for other, _ in others} | {one.number for one in sketches})
        return found

    def look_up(self, numbers: set[int]) -> None:
        unknown = numbers - self.known.keys()
        if not unknown:
            return
        rows = Article.objects.filter(pk__in=unknown)
        for number, original, like in rows.values_list("id", "original", "similarity"):
            self.known[number] = (None, 0.0) if number in self.fresh else (original, like or 0.0)


def _backwards(text: str) -> tuple[int, ...]:
    """For comparing where the first one is to win."""
    return tuple(-ord(letter) for letter in text)


def windows_for(batch: Sequence[Sketch], revision: int) -> list[Window]:
    """The recent articles; those around each late one; and the batch itself, which comes first."""
    _recent.refresh(min(sketch.published for sketch in batch) - WINDOW, before=revision)
    late = {sketch.published // DAY for sketch in batch if sketch.published - WINDOW < _recent.since}
    days = [Window.between(day * DAY - WINDOW, (day + 1) * DAY + 4 * WINDOW) for day in sorted(late)]
    return [Window.of(batch), _recent, *days]


def alike(sketch: Sketch, windows: Sequence[Window]) -> Iterator[tuple[Sketch, float]]:
    """From every window, the articles of the batch as they are in the batch."""
    batch = windows[0].sketches
    seen: set[int] = set()
    for window in windows:
        for other, like in window.alike(sketch):
            if other.number not in seen and (window is windows[0] or other.number not in batch):
                seen.add(other.number)
                yield other, like


def stored_sketches(articles: Iterable) -> list[Sketch]:
    rows = Trace.objects.filter(article__in=articles).values_list(*COLUMNS)
    return [sketch_from(*columns) for *columns, _ in rows]


# Stories -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Leaf:
    """What of an article its story is made of."""

    id: int
    key: str
    original: int | None
    story: int | None
    published_at: datetime
    source: str
    title: str
    language: str

    @property
    def order(self) -> tuple[datetime, str]:
        return self.published_at, self.key


_LEAF = ("id", "key", "original", "story", "published_at", "source_name", "title", "language")


@dataclass(frozen=True, slots=True)
class Grown:
    """A story as it is now, its articles in order; `is_told_anew` where what is shown of it may have changed."""

    story: Story
    articles: tuple[Leaf, ...]
    is_told_anew: bool


def regrow(moved: Collection[int], revision: int) -> tuple[list[Grown], list[Story]]:
    """Bring the story rows in line with the originals of the articles in `moved`.

    Returns the stories that they are in or were in, and those that have no article left.
    """
    old = set(Article.objects.filter(pk__in=moved).values_list("story", "original__story").distinct())
    ids = {number for pair in old for number in pair if number}
    leaves = {leaf.id: leaf for leaf in _leaves(Article.objects.filter(story__in=ids))}
    leaves |= {leaf.id: leaf for leaf in _leaves(Article.objects.filter(pk__in=moved))}
    trees: dict[int, list[Leaf]] = defaultdict(list)
    for leaf in leaves.values():
        trees[leaf.original or leaf.id].append(leaf)
    stories = {story.pk: story for story in Story.everything.filter(pk__in=ids)}
    chosen = choose_stories(trees, stories)
    scores = Score.objects.filter(article__in=trees, entity=None, is_current=True)
    topics = {article: topic for article, *topic in scores.values_list("article", "topic", "topic_probability")}
    told: list[tuple[Story, list[Leaf], bool]] = []  # (story, its articles, is it told anew)
    for root, members in trees.items():
        members.sort(key=lambda leaf: leaf.order)
        story = chosen.get(root) or Story()
        before = _shown(story)
        fill(story, leaves[root], members, topics.get(root, ["", 0.0]), revision)
        told.append((story, members, root in moved or before != _shown(story)))
    new = [story for story, *_ in told if story.pk is None]
    changed = [story for story, *_ in told if story.pk is not None]
    Story.everything.bulk_create(new)
    grown = [Grown(story, tuple(members), is_told_anew) for story, members, is_told_anew in told]
    moves = [(leaf.id, one.story.pk) for one in grown for leaf in one.articles if leaf.story != one.story.pk]
    place = {leaf.id: one.story for one in grown for leaf in one.articles}
    empty = [story for pk, story in stories.items() if pk not in {one.story.pk for one in grown}]
    for story in empty:
        story.merged_into = place.get(story.lead_id or 0)
        story.lead, story.article_count, story.source_count, story.revision = None, 0, 0, revision
    update(Story, _FILLED, [(story.pk, *(getattr(story, name) for name in _FILLED)) for story in (*changed, *empty)])
    update(Article, ("story_id",), moves)
    return grown, empty


_FILLED = (
    "lead_id", "title", "language", "topic", "topic_probability", "first_published_at", "last_published_at",
    "article_count", "source_count", "merged_into_id", "revision",
)  # fmt: skip


def _shown(story: Story) -> tuple[object, ...]:
    return story.lead_id, story.title, story.topic, story.language, story.merged_into_id


def _leaves(articles: Iterable) -> Iterator[Leaf]:
    for row in articles.values_list(*_LEAF):  # type: ignore[attr-defined]
        yield Leaf(*row)


def choose_stories(trees: Mapping[int, Sequence[Leaf]], stories: Mapping[int, Story]) -> dict[int, Story]:
    """A row for each tree, by root: the one that the root leads; else the oldest one of its articles that no other tree
    has. A tree without one gets a new row."""
    led = {story.lead_id: story for story in stories.values()}
    chosen = {root: led[root] for root in trees if root in led}
    taken = {story.pk for story in chosen.values()}
    for root in sorted(trees):
        if root not in chosen:
            free = sorted({leaf.story for leaf in trees[root] if leaf.story and leaf.story in stories} - taken)
            if free:
                chosen[root] = stories[free[0]]
                taken.add(free[0])
    return chosen


def fill(story: Story, lead: Leaf, members: Sequence[Leaf], topic: Sequence[Any], revision: int) -> None:
    story.lead_id = lead.id
    story.title, story.language = lead.title, lead.language
    story.topic, story.topic_probability = topic
    story.first_published_at, story.last_published_at = lead.published_at, members[-1].published_at
    story.article_count = len(members)
    story.source_count = len({leaf.source for leaf in members})
    story.merged_into = None
    story.revision = revision
