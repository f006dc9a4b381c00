"""Stories as rows: each article's original, the trees that follow from it, and one `Story` row for each tree.

Everything here runs under the lock of `services.next_revision`, so two workers never place two copies apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domains.finance.models import Article, Score, Story, Trace
from domains.finance.news.stories import WINDOW, Sketch
from domains.finance.news.window import COLUMNS, Window, sketch_from

DAY = 86_400.0
_recent = Window()


def forget() -> None:
    """Drop what this process remembers of recent articles; it is read again."""
    global _recent
    _recent = Window()


@dataclass(frozen=True, slots=True)
class Link:
    """An article's original, and how like it is; `order` is the original's, for ties."""

    original: int | None = None
    like: float = 0.0
    order: tuple[float, str] = (0.0, "")

    def is_weaker_than(self, like: float, order: tuple[float, str]) -> bool:
        return self.original is None or (like, *_reversed(order)) > (self.like, *_reversed(self.order))


def _reversed(order: tuple[float, str]) -> tuple[float, tuple[int, ...]]:
    """For comparing where the earlier one is to win."""
    return -order[0], tuple(-ord(letter) for letter in order[1])


def relink(batch: Sequence[Sketch]) -> set[int]:
    """Find the originals of new and changed articles, and of those that came later and may now have a better one.

    Returns the ids of all whose place may have changed. `Trace` rows of the batch must be written already.
    """
    windows = windows_for(batch)
    copies = Article.objects.filter(original__in=[sketch.number for sketch in batch])
    judged = {sketch.number: sketch for sketch in (*stored_sketches(copies.values("id")), *batch)}
    links: dict[int, Link] = {}
    later: dict[int, list[tuple[float, Sketch]]] = defaultdict(list)  # by the later article
    fresh = {sketch.number for sketch in batch}
    for number, sketch in judged.items():
        link = Link()
        for other, like in alike(sketch, windows):
            if other.order < sketch.order:
                if link.is_weaker_than(like, other.order):
                    link = Link(other.number, like, other.order)
            elif number in fresh and other.number not in judged:
                later[other.number].append((like, sketch))
        links[number] = link
    rows = Article.objects.filter(pk__in=later).values_list("id", "original", "similarity", *_ORIGINAL)
    for number, original, similarity, published, key in rows:
        link = Link(original, similarity or 0.0, (published.timestamp(), key)) if original else Link()
        for like, sketch in later[number]:
            if link.is_weaker_than(like, sketch.order):
                link = links[number] = Link(sketch.number, like, sketch.order)
    Article.objects.bulk_update(
        [
            Article(pk=number, original_id=link.original, similarity=link.like if link.original else None)
            for number, link in sorted(links.items())
        ],
        ["original", "similarity"],
    )
    return set(links)


_ORIGINAL = ("original__published_at", "original__key")


def windows_for(batch: Sequence[Sketch]) -> list[Window]:
    """The recent articles; those around each late one; and the batch itself, which comes first."""
    _recent.refresh(min(sketch.published for sketch in batch) - WINDOW)
    late = {sketch.published // DAY for sketch in batch if sketch.published - WINDOW < _recent.since}
    days = [Window.between(day * DAY - WINDOW, (day + 1) * DAY + WINDOW) for day in sorted(late)]
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


# Trees -------------------------------------------------------------------------------------------------------
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
        trees[root_of(leaf.id, leaves)].append(leaf)
    stories = {story.pk: story for story in Story.everything.filter(pk__in=ids)}
    chosen = choose_stories(trees, stories)
    scores = Score.objects.filter(article__in=trees, entity=None, is_current=True)
    topics = {article: topic for article, *topic in scores.values_list("article", "topic", "topic_probability")}
    grown, changed, moves = [], [], []
    for root, members in trees.items():
        members.sort(key=lambda leaf: leaf.order)
        story, lead = chosen.get(root) or Story(), leaves[root]
        is_new = story.pk is None
        before = (story.lead_id, story.title, story.topic, story.language, story.merged_into_id)
        fill(story, lead, members, topics.get(root, ["", 0.0]), revision)
        now = (story.lead_id, story.title, story.topic, story.language, story.merged_into_id)
        if is_new:
            story.save()
        else:
            changed.append(story)
        grown.append(Grown(story, tuple(members), is_new or before != now or root in moved))
        moves += [Article(pk=leaf.id, story_id=story.pk) for leaf in members if leaf.story != story.pk]
    place = {leaf.id: one.story for one in grown for leaf in one.articles}
    empty = [story for pk, story in stories.items() if pk not in {one.story.pk for one in grown}]
    for story in empty:
        story.merged_into = place.get(story.lead_id or 0)
        story.lead, story.article_count, story.source_count, story.revision = None, 0, 0, revision
    Story.everything.bulk_update(sorted(changed + empty, key=lambda story: story.pk), _FILLED)
    Article.objects.bulk_update(sorted(moves, key=lambda article: article.pk), ["story"])
    return grown, empty


_FILLED = (
    "lead", "title", "language", "topic", "topic_probability", "first_published_at", "last_published_at",
    "article_count", "source_count", "merged_into", "revision",
)  # fmt: skip


def _leaves(articles: Iterable) -> Iterator[Leaf]:
    for row in articles.values_list(*_LEAF):  # type: ignore[attr-defined]
        yield Leaf(*row)


def root_of(number: int, leaves: Mapping[int, Leaf]) -> int:
    """An original was published before its copies, so the way up ends."""
    while (original := leaves[number].original) is not None:
        number = original
    return number


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
