"""One suite that both engines pass, and a test that they agree with each other."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings

from suite.index import graph
from suite.index.elasticsearch import ElasticsearchEngine, sortable
from suite.index.embedded import EmbeddedEngine
from suite.index.engine import Document, Engine, EngineError, GenerationMissing, Legs, Query, Range, Term
from suite.index.fusion import Weights, fuse

DIMENSIONS = 16
needs_elasticsearch = pytest.mark.skipif(
    not settings.ELASTICSEARCH_URL, reason="SUITE_ELASTICSEARCH_URL is not set: docker compose up -d elasticsearch"
)
FINGERPRINT = "0123456789abcdef"


class Room:
    """An engine and the names that one test may use; everything is removed afterwards."""

    def __init__(self, engine: Engine, prefix: str) -> None:
        self.engine, self.prefix = engine, prefix

    def name(self, suffix: str) -> str:
        return f"{self.prefix}.{suffix}"

    def new(self, suffix: str = "one", dimensions: int = DIMENSIONS) -> str:
        generation = self.name(suffix)
        self.engine.create(generation, dimensions, FINGERPRINT)
        return generation

    def put(self, generation: str, *documents: Document) -> dict[str, str]:
        report = self.engine.put(generation, documents)
        self.engine.refresh(generation)
        return dict(report.refused)

    def remove(self, generation: str, **versions: int) -> None:
        self.engine.delete(generation, versions)
        self.engine.refresh(generation)

    def find(self, target: str, query: Query) -> Legs:
        return self.engine.search(target, query)


def elasticsearch_room() -> Iterator[Room]:
    prefix = f"test{settings.TEST_SUFFIX}.{secrets.token_hex(4)}".lower()
    engine = ElasticsearchEngine(settings.ELASTICSEARCH_URL, prefix=prefix, api_key=settings.ELASTICSEARCH_API_KEY)
    yield Room(engine, prefix)
    for generation in engine.generations():
        engine.drop(generation)


@pytest.fixture(params=["embedded", pytest.param("elasticsearch", marks=[pytest.mark.services, needs_elasticsearch])])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    if request.param == "embedded":
        yield Room(EmbeddedEngine(tmp_path), "test")
    else:
        yield from elasticsearch_room()


def unit(*values: float) -> np.ndarray:
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


def keys(leg: object) -> list[str]:
    return [key for key, _ in leg]  # type: ignore[attr-defined]


SHOES = Document(
    "shoe", "Running shoes", "Light and red", {"brand": "Fleet", "price": 80, "available": True}, 1, unit(1)
)
BOOTS = Document(
    "boot", "Winter boots", "Warm", {"brand": "Fleet", "price": 120.5, "available": False}, 1, unit(1, 0.5)
)
PAN = Document(
    "pan", "Frying pan", "For red sauce", {"brand": "Hearth", "category": ["Home", "Home > Kitchen"]}, 1, unit(0, 0, 1)
)


def test_words_find_by_stem_and_titles_count_more(room: Room) -> None:
    generation = room.new()
    room.put(generation, SHOES, BOOTS, PAN, Document("socks", "Socks", "To run in", version=1))
    found = room.find(generation, Query("RUN a shoe"))
    assert keys(found.text) == ["shoe", "socks"]
    assert found.text[0][1] > found.text[1][1] > 0
    assert found.vector == []


def test_vectors_find_by_cosine(room: Room) -> None:
    generation = room.new()
    room.put(generation, SHOES, BOOTS, PAN)
    found = room.find(generation, Query(vector=unit(1)))
    assert keys(found.vector)[:2] == ["shoe", "boot"]
    assert found.vector[0][1] == pytest.approx(1, abs=2e-3)
    assert found.vector[1][1] == pytest.approx(float(unit(1) @ unit(1, 0.5)), abs=2e-3)
    assert list(found.text) == []


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Term("brand", ("Fleet",)), {"shoe", "boot"}),
        (Term("brand", ("Hearth", "Nobody")), {"pan"}),
        (Term("category", ("Home > Kitchen",)), {"pan"}),
        (Term("available", ("true",)), {"shoe"}),
        (Term("price", ("80",)), {"shoe"}),
        (Range("price", 80, 100), {"shoe"}),
        (Range("price", gte=80.5), {"boot"}),
        (Range("price", lte=-1), set()),
        (Range("brand", 0, 1), set()),
        (Term("nothing", ("x",)), set()),
    ],
)
def test_filters_hold_for_both_legs(room: Room, condition: Term | Range, expected: set[str]) -> None:
    generation = room.new()
    room.put(generation, SHOES, BOOTS, PAN)
    found = room.find(generation, Query("red warm", unit(1), (condition,)))
    assert set(keys(found.text)) == set(keys(found.vector)) == expected


def test_filters_join_and_exclusion_leaves_out(room: Room) -> None:
    generation = room.new()
    room.put(generation, SHOES, BOOTS, PAN)
    both = Query("red warm", unit(1), (Term("brand", ("Fleet",)), Range("price", lte=100)))
    assert keys(room.find(generation, both).text) == ["shoe"]
    without = Query("red warm", unit(1), exclude=frozenset({"shoe", "never heard of"}))
    assert set(keys(room.find(generation, without).text)) == set(keys(room.find(generation, without).vector))
    assert "shoe" not in keys(room.find(generation, without).text)


def test_selective_filters_still_fill_both_legs(room: Room) -> None:
    """One document in forty passes, and the ones that pass match worst: a leg must look past all others."""
    generation = room.new()
    documents = [
        Document(
            f"d{i:04}",
            "tea" if i % 40 else "",
            "kettle" if i % 40 else "a kettle among many other words for the kitchen",
            {"rare": i % 40 == 0, "number": i},
            1,
            unit(1, i / 500),
        )
        for i in range(2_000)
    ]
    room.put(generation, *documents)
    rare = room.find(generation, Query("kettle", unit(1), (Term("rare", ("true",)),), k=20))
    assert len(rare.text) == len(rare.vector) == 50
    assert keys(rare.vector)[:3] == ["d0000", "d0040", "d0080"]
    window = room.find(generation, Query("kettle", unit(1), (Range("number", 1_000, 1_004),), k=20))
    assert set(keys(window.text)) == set(keys(window.vector)) == {f"d{i:04}" for i in range(1_000, 1_005)}


def test_an_older_version_never_overwrites_a_newer(room: Room) -> None:
    generation = room.new()
    room.put(generation, Document("a", "newer", "", version=5))
    refused = room.put(generation, Document("a", "older", "", version=4), Document("a", "same", "", version=5))
    assert refused == {}
    assert keys(room.find(generation, Query("newer")).text) == ["a"]
    assert keys(room.find(generation, Query("older same")).text) == []
    room.remove(generation, a=3)
    assert room.engine.count(generation) == 1
    room.put(generation, Document("a", "newest", "", version=6), Document("a", "stale", "", version=2))
    assert keys(room.find(generation, Query("newest")).text) == ["a"]
    assert room.engine.count(generation) == 1


def test_a_removal_is_remembered(room: Room) -> None:
    generation = room.new()
    room.put(generation, SHOES, PAN)
    room.remove(generation, shoe=7, unknown=3)
    assert room.engine.count(generation) == 1
    found = room.find(generation, Query("shoes red", unit(1)))
    assert keys(found.text) == keys(found.vector) == ["pan"]
    room.put(generation, Document("shoe", "late shoes", "", version=6), Document("unknown", "late", "", version=2))
    assert keys(room.find(generation, Query("late")).text) == []
    room.put(generation, Document("shoe", "back shoes", "", version=8))
    assert keys(room.find(generation, Query("back")).text) == ["shoe"]


def test_a_changed_document_is_found_by_what_it_is_now(room: Room) -> None:
    generation = room.new()
    room.put(generation, SHOES, PAN)
    room.put(generation, Document("shoe", "Teapot", "", {"brand": "Hearth"}, 2, unit(0, 0, 0, 1)))
    assert keys(room.find(generation, Query("running")).text) == []
    assert keys(room.find(generation, Query("teapot", filters=(Term("brand", ("Hearth",)),))).text) == ["shoe"]
    assert keys(room.find(generation, Query(vector=unit(0, 0, 0, 1))).vector)[0] == "shoe"
    assert room.find(generation, Query(vector=unit(1), filters=(Term("brand", ("Fleet",)),))).vector == []


def test_chinese_is_cut_into_words(room: Room) -> None:
    generation = room.new()
    room.put(
        generation,
        Document("profit", "公司净利润同比增长", "第三季度财报", version=1),
        Document("phone", "智能手机保护壳", "适用于多种型号", version=1),
    )
    assert keys(room.find(generation, Query("净利润")).text) == ["profit"]
    assert keys(room.find(generation, Query("手机")).text) == ["phone"]
    assert keys(room.find(generation, Query("手机壳 iPhone")).text)[0] == "phone"


@pytest.mark.parametrize("text", ["", "   ", "?!…", "\0", "\ud800", "🙂", '"+-&|!(){}[]^~*?:\\/', "a" * 10_000])
def test_odd_queries_are_answered(room: Room, text: str) -> None:
    generation = room.new()
    room.put(generation, SHOES)
    assert room.find(generation, Query(text)) == Legs([], []) or keys(room.find(generation, Query(text)).text) == []


def test_odd_documents_are_kept_or_refused_alone(room: Room) -> None:
    generation = room.new()
    names = {f"name {i}": f"value {i}" for i in range(1_500)}  # far more than a mapping may have fields
    odd = {"a.b": "x", "$": 3, "": "empty", "list": ["p", "q"], "nested": {"deep": 1}, "none": None, "l": "v" * 9_000}
    refused = room.put(
        generation,
        Document("many", "Plain", "", names, 1),
        Document("odd 键 'quoted' \"double\"", "Plain", "emoji 🙂 \0 \ud800", odd, 1),  # type: ignore[arg-type]
        Document("number", "Plain", "", {"size": 42}, 1),
        Document("string", "Plain", "", {"size": "large"}, 1),
        Document("", "Plain", "", {}, 1),
        Document("k" * 513, "Plain", "", {}, 1),
        Document("narrow", "Plain", "", {}, 1, np.ones(3, dtype=np.float32)),
        Document("infinite", "Plain", "", {}, 1, np.full(DIMENSIONS, np.inf, dtype=np.float32)),
        Document("zero", "Plain", "", {}, 1, np.zeros(DIMENSIONS, dtype=np.float32)),
    )
    assert set(refused) == {"", "k" * 513, "narrow", "infinite"}
    assert all(refused.values())
    assert room.engine.count(generation) == 5

    def having(condition: Term | Range) -> list[str]:
        return keys(room.find(generation, Query("plain", filters=(condition,))).text)

    assert having(Term("name 1499", ("value 1499",))) == ["many"]
    assert having(Term("a.b", ("x",))) == having(Range("$", 3, 3)) == having(Term("list", ("q",)))
    assert having(Range("size", 0)) == ["number"]
    assert having(Term("size", ("large",))) == ["string"]


def test_generations_are_stamped_and_stand_apart(room: Room) -> None:
    one, two = room.new("one"), room.new("two", dimensions=0)
    room.engine.create(one, DIMENSIONS, FINGERPRINT)  # again: no error, nothing lost
    room.put(one, SHOES)
    room.put(two, Document("pan", "Frying pan", "", version=1))
    assert room.engine.fingerprint(one) == FINGERPRINT
    assert {one, two} <= set(room.engine.generations())
    assert room.engine.exists(one)
    assert keys(room.find(two, Query("pan shoes")).text) == ["pan"]
    with pytest.raises(EngineError):
        room.engine.create(one, DIMENSIONS, "another release")
    room.engine.drop(one)
    room.engine.drop(one)
    assert not room.engine.exists(one)
    assert room.engine.exists(two)
    with pytest.raises(GenerationMissing):
        room.find(one, Query("pan"))
    for write in (lambda: room.put(one, SHOES), lambda: room.remove(one, shoe=2), lambda: room.engine.count(one)):
        with pytest.raises(GenerationMissing):
            write()
    assert not room.engine.exists(one)  # a write that came late did not bring it back


def test_an_alias_moves_without_one_failing_query(room: Room) -> None:
    alias = room.name("serving")
    generations = [room.new("a"), room.new("b")]
    for generation in generations:
        room.put(generation, Document(generation, "findable", "", version=1, vector=unit(1)))
    assert room.engine.resolve(alias) is None
    room.engine.switch(alias, generations[0])
    answers: list[str] = []
    failures: list[Exception] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                found = room.find(alias, Query("findable", unit(1)))
                answers.extend(keys(found.text))
                assert keys(found.text) == keys(found.vector)
            except Exception as error:  # the test is about there being none
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(20):
        room.engine.switch(alias, generations[(i + 1) % 2])
        assert room.engine.resolve(alias) == generations[(i + 1) % 2]
    room.engine.switch(alias, generations[1])
    room.engine.drop(generations[0])
    is_over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(answers) == set(generations)
    assert keys(room.find(alias, Query("findable")).text) == [generations[1]]
    with pytest.raises(GenerationMissing):
        room.engine.switch(alias, room.name("never-made"))


def test_many_threads_read_while_one_writes(room: Room) -> None:
    generation = room.new()
    failures: list[Exception] = []

    def ask() -> None:
        try:
            for _ in range(15):
                found = room.find(generation, Query("changing", unit(1), (Term("brand", ("Fleet",)),)))
                assert len(set(keys(found.text))) == len(found.text)
        except Exception as error:  # any is one too many
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for version in range(1, 6):
        room.put(
            generation,
            *(Document(f"d{i}", "changing", "", {"brand": "Fleet"}, version, unit(1, i)) for i in range(300)),
        )
    for thread in threads:
        thread.join()
    assert failures == []
    assert room.engine.count(generation) == 300


# Both engines beside each other -----------------------------------------------------------------------------
def catalogue(count: int) -> tuple[list[Document], list[Query]]:
    """Documents of random words with a long-tailed frequency and clustered vectors; queries of the same kind."""
    random = np.random.default_rng(7)
    words = np.array([f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"])
    chance = 1 / np.arange(1, len(words) + 1)
    chance /= chance.sum()
    centres = random.normal(size=(40, DIMENSIONS))

    def text(length: int) -> str:
        return " ".join(random.choice(words, size=length, p=chance))

    def vector() -> np.ndarray:
        drawn = centres[random.integers(len(centres))] + 0.6 * random.normal(size=DIMENSIONS)
        return (drawn / np.linalg.norm(drawn)).astype(np.float16).astype(np.float32)

    documents = [
        Document(f"d{i}", text(4), text(int(random.integers(5, 60))), {"colour": f"c{i % 7}"}, 1, vector())
        for i in range(count)
    ]
    filters = ((), (Term("colour", ("c1", "c2")),))
    return documents, [Query(text(3), vector(), filters[i % 2], k=10) for i in range(100)]


@pytest.mark.services
@needs_elasticsearch
def test_both_engines_agree(tmp_path: Path, record_property) -> None:
    documents, queries = catalogue(2_000)
    embedded = Room(EmbeddedEngine(tmp_path), "test")
    remotes = elasticsearch_room()
    remote = next(remotes)
    overlaps, differences = [], []
    for room in (embedded, remote):
        room.put(room.new(), *documents)
    for query in queries:
        ours, theirs = (room.find(room.name("one"), query) for room in (embedded, remote))
        fused = [{each.key for each in fuse(legs, Weights(), 10)} for legs in (ours, theirs)]
        overlaps.append(len(fused[0] & fused[1]) / 10)
        scores = dict(theirs.text)
        differences += [abs(score - scores[key]) / score for key, score in ours.text[:10] if key in scores]
    list(remotes)
    record_property("overlap", float(np.mean(overlaps)))
    print(
        f"overlap of both top 10: mean {np.mean(overlaps):.4f}, least {min(overlaps):.2f}; BM25 {max(differences):.1e}"
    )
    assert np.mean(overlaps) >= 0.9
    assert max(differences) < 1e-3


@pytest.mark.parametrize("numbers", [[-np.inf, -1e300, -2.5, -1e-300, 0.0, 5e-324, 1, 80, 80.5, 1e12, np.inf]])
def test_digits_sort_as_numbers(numbers: list[float]) -> None:
    assert sorted(map(sortable, numbers)) == list(map(sortable, numbers))
    assert sortable(-0.0) == sortable(0.0)


# Very many vectors, embedded --------------------------------------------------------------------------------
def test_the_graph_finds_what_exact_search_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "FROM_VECTORS", 1_000)
    monkeypatch.setattr(graph, "TAIL", 500)
    documents, queries = catalogue(3_000)
    room = Room(EmbeddedEngine(tmp_path), "test")
    generation = room.new()
    room.put(generation, *documents[:2_000])  # covered by the graph
    room.put(generation, *documents[2_000:2_300])  # searched exactly beside it
    room.put(generation, Document("d5", "changed", "", {}, 2, -documents[5].vector))  # type: ignore[operator]
    room.remove(generation, d6=2)
    found = graph.newest(tmp_path / "generations" / generation)
    assert found
    assert found[0] == 2_000
    vectors = {each.key: each.vector for each in documents[:2_300] if each.key != "d6"}
    vectors["d5"] = -vectors["d5"]  # type: ignore[operator]
    matrix = np.stack(list(vectors.values()))  # type: ignore[arg-type]
    recalls = []
    for query in queries:
        assert query.vector is not None
        exact = np.sort(matrix @ query.vector)[::-1][:10]
        plain = room.find(generation, Query(vector=query.vector, k=10)).vector
        assert len(plain) == 100
        assert "d6" not in keys(plain)
        recalls.append(np.mean([score >= exact[-1] - 2e-3 for _, score in plain[:10]]))
        filtered = room.find(generation, Query(vector=query.vector, filters=(Term("colour", ("c1",)),))).vector
        assert {int(key[1:]) % 7 for key in keys(filtered)} == {1}
    assert np.mean(recalls) > 0.98
    assert keys(room.find(generation, Query(vector=-documents[5].vector)).vector)[0] == "d5"  # type: ignore[operator]
    room.put(generation, *documents[2_300:])
    assert len(list((tmp_path / "generations" / generation).glob("*.usearch"))) == 1
    assert len(room.find(generation, Query(vector=queries[0].vector)).vector) == 100
