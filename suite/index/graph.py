"""Near neighbours among very many vectors: a usearch graph in a file beside the rows.

`vectors-<sequence>.usearch` knows the vectors of all rows up to that sequence, each by its row's sequence. Rows after
it are searched exactly, so no write waits for the graph: whoever has written a lot extends it afterwards, in a new
file. Readers map the newest file into memory. Like all files of a generation it is disposable.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from usearch.index import Index, MetricKind, ScalarKind

FROM_VECTORS = 200_000  # below, exact search is fast enough and needs nothing
TAIL = 20_000  # rows after the graph that are worth extending it
ROWS_AT_ONCE = 5_000
FILE = re.compile(r"vectors-(\d+)\.usearch")


class Graph:
    """The graph of one file; `covered` is the last sequence it knows."""

    def __init__(self, path: Path, covered: int) -> None:
        self.path, self.covered = path, covered
        index = Index.restore(path, view=True)
        if index is None:
            raise OSError(f"{path.name} is not a graph")
        self.index: Index = index
        self.lock = threading.Lock()  # one search at a time: usearch's working memory is per thread of its own

    def search(self, vector: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(sequences, cosines) of about the `count` nearest, best first; among them rows that are gone by now."""
        with self.lock:
            matches = self.index.search(np.asarray(vector, dtype=np.float16), count, threads=1)
        return np.asarray(matches.keys, dtype=np.int64), 1 - np.asarray(matches.distances, dtype=np.float32)


def newest(folder: Path) -> tuple[int, Path] | None:
    """(last sequence, file) of the newest graph."""
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := FILE.fullmatch(path.name))]
    return max(found, default=None)


def follow(folder: Path, held: Graph | None) -> Graph | None:
    """The newest graph, opened anew only where it is not the one that is held."""
    found = newest(folder)
    if found is None or (held and held.covered == found[0]):
        return held if found else None
    try:
        return Graph(found[1], found[0])
    except (OSError, RuntimeError):  # just replaced by a newer one; exact search goes on meanwhile
        return None


def extend(
    folder: Path, dimensions: int, rows: Callable[[int], Iterable[tuple[int, bytes]]], last: int, live: int
) -> None:
    """Write a graph up to sequence `last` in a new file: the newest one and what came after it, or, where most of that
    one is gone (there are `live` vectors), all anew. `rows(sequence)` gives (sequence, float16 vector) after it."""
    found = newest(folder)
    covered, index = (found[0], Index.restore(found[1])) if found else (0, None)
    if index is None or len(index) > 2 * live:
        covered, index = 0, Index(ndim=dimensions, metric=MetricKind.IP, dtype=ScalarKind.F16)
    waiting = iter(rows(covered))
    while some := list(islice(waiting, ROWS_AT_ONCE)):
        sequences, vectors = zip(*some, strict=True)
        matrix = np.frombuffer(b"".join(vectors), dtype=np.float16).reshape(len(some), dimensions)
        index.add(np.array(sequences, dtype=np.uint64), matrix, threads=1)
    unfinished = folder / f".{last}.usearch"
    index.save(unfinished)
    unfinished.replace(folder / f"vectors-{last}.usearch")
    for path in folder.iterdir():
        match = FILE.fullmatch(path.name)
        if match and int(match[1]) < last:
            with suppress(FileNotFoundError):
                path.unlink()
