"""The articles that a new one is compared with: those of about its time, in memory, found by the words they share.

The rows of `Trace` are the truth. A process keeps the recent ones and reads what was committed since, under the lock
that `services` holds; so what was rolled back is never in here, and what another worker wrote always is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from domains.finance.models import Trace
from domains.finance.news.stories import WINDOW, Sketch, from_json, likeness

HELD = 20_000  # newest articles that are kept
COMPARED = 40  # candidates of an article, those that share most words first
FEW_WORDS = 2  # a title with fewer words of its own is looked for by its common ones, too
COLUMNS = ("article_id", "article__key", "published_at", "sketch", "vector", "release", "revision")


class Window:
    """Sketches by id, and which of them hold a word or a shingle."""

    def __init__(self) -> None:
        self.sketches: dict[int, Sketch] = {}
        self.holders: dict[int, set[int]] = defaultdict(set)
        self.since = float("inf")  # Unix seconds; older ones are not held
        self.revision = 0  # that was read up to

    def refresh(self, since: float, before: int) -> None:
        """Read what changed with revisions below `before`, which are committed. An empty window begins at `since`, or
        with the newest that it would keep: one old article does not bring all the years since."""
        if not self.sketches:
            oldest = Trace.objects.order_by("-published_at").values_list("published_at", flat=True)[HELD : HELD + 1]
            self.since = max([since, *(time.timestamp() for time in oldest)])
        rows = Trace.objects.filter(revision__gt=self.revision, revision__lt=before, published_at__gte=at(self.since))
        for *columns, revision in rows.order_by("revision").values_list(*COLUMNS):
            self.put(sketch_from(*columns))
            self.revision = max(self.revision, revision)
        if len(self.sketches) > HELD * 5 // 4:
            self._shrink()

    def _shrink(self) -> None:
        kept = sorted(self.sketches.values(), key=lambda sketch: sketch.published)[-HELD:]
        self.sketches, self.holders = {}, defaultdict(set)
        self.since = kept[0].published
        for sketch in kept:
            self.put(sketch)

    @classmethod
    def of(cls, sketches: Iterable[Sketch]) -> Window:
        window = cls()
        for sketch in sketches:
            window.put(sketch)
        return window

    @classmethod
    def between(cls, since: float, until: float) -> Window:
        """What was published in that time, read now: for late articles. Of too many the earliest, for among these is
        what a late one may be a copy of."""
        rows = Trace.objects.filter(published_at__gte=at(since), published_at__lte=at(until)).order_by("published_at")
        return cls.of(sketch_from(*columns) for *columns, _ in rows.values_list(*COLUMNS)[:HELD])

    def put(self, sketch: Sketch) -> None:
        old = self.sketches.get(sketch.number)
        if old is not None:
            for number in keys_of(old):
                self.holders[number].discard(old.number)
        self.sketches[sketch.number] = sketch
        for number in keys_of(sketch):
            self.holders[number].add(sketch.number)

    def alike(self, sketch: Sketch) -> Iterator[tuple[Sketch, float]]:
        """The articles that tell the same as this one, with their likeness."""
        shared: Counter[int] = Counter()
        looked_for = sketch.words | sketch.body
        if len(sketch.words) < FEW_WORDS:
            looked_for |= sketch.common
        for number in looked_for:
            shared.update(self.holders.get(number, ()))
        shared.pop(sketch.number, None)
        near = (number for number in shared if abs(self.sketches[number].published - sketch.published) <= WINDOW)
        for number in sorted(near, key=lambda number: (-shared[number], number))[:COMPARED]:
            like = likeness(sketch, self.sketches[number])
            if like:
                yield self.sketches[number], like


def keys_of(sketch: Sketch) -> frozenset[int]:
    return sketch.words | sketch.common | sketch.body


def sketch_from(number: int, key: str, published: datetime, stored: dict, vector: bytes, release: str) -> Sketch:
    return from_json(number, key, published.timestamp(), stored, bytes(vector), release)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(max(0.0, min(seconds, 4e9)), UTC)
