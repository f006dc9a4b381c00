"""Candidates: how fast a generation is built and searched, and what it costs in memory, as it grows.

The documents are made: words with a long-tailed frequency, clustered vectors, a few attributes. Rivals in the same run,
on the same documents and queries: SQLite's FTS5 for the words, a float32 matrix product for the vectors. Elasticsearch
is measured beside them where `SUITE_ELASTICSEARCH_URL` is set.
"""

from __future__ import annotations

import gc
import os
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from suite.index.embedded import EmbeddedEngine
from suite.index.engine import Document, Engine, Query, Range, Term
from suite.index.text import document_tokens, query_tokens

NAME = "candidates"
HELP = "build rate, p50/p95 of each leg and memory, by number of documents, beside FTS5 and a float32 matrix"
BATCH = 500
CENTRES = 300
SYLLABLES = [f"{a}{b}{c}{d}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst" for d in "aeiou"]
GENERATION = "benchmark.candidates"  # in the embedded engine


def run(documents: Sequence[int] | int = (10_000, 50_000, 100_000), queries: int = 200, dimensions: int = 384) -> dict:
    """{"embedded": {n: figures}, "elasticsearch": {...}, "ours", "rival" (ms), "ratio"}; the three last are the p50 of
    both legs at the largest n, and of both rivals together."""
    sizes = [documents] if isinstance(documents, int) else list(documents)
    figures: dict[str, Any] = {"unit": "ms", "embedded": {n: embedded(n, queries, dimensions) for n in sizes}}
    if settings.ELASTICSEARCH_URL:
        figures["elasticsearch"] = {n: elasticsearch(n, queries, dimensions) for n in sizes}
    largest = figures["embedded"][sizes[-1]]
    ours = largest["words and vector"]["p50"]
    rival = largest["rival: FTS5"]["p50"] + largest["rival: float32 matrix"]["p50"]
    return figures | {"ours": ours, "rival": rival, "ratio": round(rival / ours, 2)}


def embedded(count: int, queries: int, dimensions: int) -> dict[str, Any]:
    """Built in a process of its own, so that this one's memory shows what a reader needs."""
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rate = pool.submit(build_embedded, Path(folder), count, dimensions).result()
        before = resident()
        engine = EmbeddedEngine(Path(folder))
        started = time.perf_counter()
        engine.search(GENERATION, Query("warm", unit(np.ones(dimensions))))
        opening = time.perf_counter() - started
        gc.collect()
        memory = (resident() - before) * 100_000 / count
        return {
            "documents/s": round(rate),
            "first search (s)": round(opening, 3),
            "MB per 100,000": round(memory / 2**20),
            **legs(engine, GENERATION, count, queries, dimensions),
            **rivals(count, queries, dimensions),
        }


def build_embedded(folder: Path, count: int, dimensions: int) -> float:
    return build(EmbeddedEngine(folder), GENERATION, count, dimensions)


def elasticsearch(count: int, queries: int, dimensions: int) -> dict[str, Any]:
    from suite.index.elasticsearch import ElasticsearchEngine

    prefix = f"benchmark.{secrets.token_hex(4)}"
    engine = ElasticsearchEngine(settings.ELASTICSEARCH_URL, prefix=prefix, api_key=settings.ELASTICSEARCH_API_KEY)
    generation = f"{prefix}.candidates"
    try:
        rate = build(engine, generation, count, dimensions)
        return {"documents/s": round(rate), **legs(engine, generation, count, queries, dimensions)}
    finally:
        engine.drop(generation)


def build(engine: Engine, generation: str, count: int, dimensions: int) -> float:
    """Documents a second, with everything visible at the end."""
    engine.create(generation, dimensions, "benchmark")
    spent = 0.0
    for batch in made(count, dimensions):
        started = time.perf_counter()
        engine.put(generation, batch)
        spent += time.perf_counter() - started
    started = time.perf_counter()
    engine.refresh(generation)
    return count / (spent + time.perf_counter() - started)


def legs(engine: Engine, generation: str, count: int, queries: int, dimensions: int) -> dict[str, Any]:
    """{what is asked: {"p50", "p95"}} in milliseconds."""
    asked = list(made_queries(queries, dimensions))
    few = Term("brand", ("b7",))
    many = (Term("available", ("true",)), Range("price", 100, 400))
    seen = frozenset(f"shop:{i}" for i in range(min(count, 1_000)))
    kinds: dict[str, Callable[[str, np.ndarray], Query]] = {
        "words": lambda text, vector: Query(text),
        "vector": lambda text, vector: Query(vector=vector),
        "words and vector": lambda text, vector: Query(text, vector),
        "of one brand in 200": lambda text, vector: Query(text, vector, (few,)),
        "available, by price": lambda text, vector: Query(text, vector, many),
        "1,000 excluded": lambda text, vector: Query(text, vector, exclude=seen),
    }
    return {
        kind: timed([partial(engine.search, generation, query(*each)) for each in asked])
        for kind, query in kinds.items()
    }


def rivals(count: int, queries: int, dimensions: int) -> dict[str, Any]:
    connection = sqlite3.connect(":memory:")
    connection.execute('CREATE VIRTUAL TABLE words USING fts5(tokens, tokenize="unicode61")')
    matrix = np.zeros((count, dimensions), dtype=np.float32)
    start = 0
    for batch in made(count, dimensions):
        rows = [(document_tokens(each.title, each.text),) for each in batch]
        connection.executemany("INSERT INTO words (tokens) VALUES (?)", rows)
        for i, each in enumerate(batch, start=start):
            matrix[i] = each.vector
        start += len(batch)
    asked = list(made_queries(queries, dimensions))
    sql = "SELECT rowid, bm25(words) FROM words WHERE words MATCH ? ORDER BY rank LIMIT 100"

    def by_words(text: str) -> Any:
        return connection.execute(sql, (" OR ".join(query_tokens(text, 64)),)).fetchall()

    def by_vector(vector: np.ndarray) -> Any:
        similarity = matrix @ vector
        best = np.argpartition(-similarity, 100)[:100]
        return best[np.argsort(-similarity[best])]

    return {
        "rival: FTS5": timed([partial(by_words, text) for text, _ in asked]),
        "rival: float32 matrix": timed([partial(by_vector, vector) for _, vector in asked]),
    }


def timed(calls: Sequence[Callable[[], Any]]) -> dict[str, float]:
    calls[0]()
    seconds = []
    for call in calls:
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return {f"p{share}": round(float(np.percentile(seconds, share)) * 1_000, 2) for share in (50, 95)}


def made(count: int, dimensions: int) -> Iterator[list[Document]]:
    """The documents in batches, the same in every call."""
    random, chance, centres = world(dimensions)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        words = random.choice(SYLLABLES, size=(size, 30), p=chance)
        vectors = centres[random.integers(CENTRES, size=size)] + 0.8 * random.normal(size=(size, dimensions))
        yield [
            Document(
                f"shop:{start + i}",
                " ".join(words[i, :5]),
                " ".join(words[i, 5:]),
                {
                    "brand": f"b{i % 200}",
                    "category": [f"c{i % 10}", f"c{i % 10} > d{i % 50}"],
                    "price": float(random.integers(1_000)),
                    "available": bool(i % 10),
                },
                version=1,
                vector=unit(vectors[i]),
            )
            for i in range(size)
        ]


def made_queries(count: int, dimensions: int) -> Iterator[tuple[str, np.ndarray]]:
    random, chance, centres = world(dimensions)
    for _ in range(count):
        vector = centres[random.integers(CENTRES)] + 0.8 * random.normal(size=dimensions)
        yield " ".join(random.choice(SYLLABLES, size=3, p=chance)), unit(vector)


def world(dimensions: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """A generator, the chance of each word, the centres of the vectors' clusters."""
    random = np.random.default_rng(0)
    chance = 1 / np.arange(1, len(SYLLABLES) + 1)
    return random, chance / chance.sum(), random.normal(size=(CENTRES, dimensions))


def unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def resident() -> int:
    """Bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
