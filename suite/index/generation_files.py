"""One generation of the embedded engine: the files of its folder, opened by this process.

`documents.sqlite3` holds what a generation knows of each document and is the truth among its files; `text/` is the
tantivy index of the tokens. A write is one transaction of that file, which is also the lock among writers: tantivy is
committed inside it, so a row that can be read has its tokens. Each row has a new sequence; readers, in any thread or
process, take over the rows after the last sequence they have. All files are disposable: rows rebuild them.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tantivy

from suite.index import graph
from suite.index.engine import (
    LEG_DEPTH,
    QUERY_TOKENS,
    Document,
    EngineUnavailable,
    GenerationMissing,
    Legs,
    PutReport,
    Query,
    newest_valid,
    numbers_of,
    terms_of,
)
from suite.index.mirror import Mirror, Row, Snapshot
from suite.index.text import document_tokens, query_tokens

BUSY_SECONDS = 20.0  # how long a writer waits for another
WRITER_BYTES = 30_000_000  # of memory that tantivy may use for one write
KEYS_AT_ONCE = 500
FEW = 500  # allowed documents that the text index is told one by one
MOST_DEAD = 0.5  # share of dead slots above which a mirror is read anew
TABLES = """
PRAGMA journal_mode=WAL;
CREATE TABLE stamp (dimensions INTEGER NOT NULL, fingerprint TEXT NOT NULL);
CREATE TABLE document (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,
    is_deleted INTEGER NOT NULL, terms TEXT NOT NULL, numbers TEXT NOT NULL, vector BLOB
);
CREATE INDEX document_live ON document (sequence) WHERE NOT is_deleted;
"""
ROWS = "SELECT sequence, key, is_deleted, terms, numbers, vector FROM document WHERE sequence > ? ORDER BY sequence"
GRAPH_COUNTS = "SELECT count(*), max(sequence), coalesce(sum(sequence > ?), 0) FROM document WHERE NOT is_deleted"
GRAPH_ROWS = "SELECT sequence, vector FROM document WHERE sequence > ? AND vector IS NOT NULL ORDER BY sequence"
INSERT = "INSERT INTO document (key, version, is_deleted, terms, numbers, vector) VALUES (?, ?, ?, ?, ?, ?)"


def text_schema() -> tantivy.Schema:
    """The tokens, and the sequence of the document's row to find it by."""
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("sequence", indexed=True, fast=True)
    builder.add_text_field("tokens", tokenizer_name="whitespace", index_option="freq")
    return builder.build()


def create_files(folder: Path, dimensions: int, fingerprint: str) -> None:
    """The files of an empty generation. Raises `OSError`."""
    (folder / "text").mkdir(parents=True)
    tantivy.Index(text_schema(), path=str(folder / "text"))
    connection = sqlite3.connect(folder / "documents.sqlite3")
    connection.executescript(TABLES)
    with connection:
        connection.execute("INSERT INTO stamp VALUES (?, ?)", (dimensions, fingerprint))
    connection.close()


class OpenGeneration:
    """One generation's files, opened by this process, and their mirror."""

    def __init__(self, path: Path) -> None:
        self.file = path / "documents.sqlite3"
        self.schema = text_schema()
        try:
            self.inode = self.file.stat().st_ino
            self.reader = self._connect()
            self.dimensions, self.fingerprint = self.reader.execute("SELECT * FROM stamp").fetchone()
            self.index = tantivy.Index(self.schema, path=str(path / "text"))
        except (OSError, sqlite3.Error, ValueError, TypeError) as error:
            raise GenerationMissing(f"{path.name} cannot be opened ({type(error).__name__})") from error
        self.searcher = self.index.searcher()
        self.mirror = Mirror(self.dimensions)
        self.graph: graph.Graph | None = None
        self.lock = threading.Lock()  # of the reader's connection and what follows it: searcher and mirror

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.file.resolve().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def is_current(self) -> bool:
        try:
            return self.file.stat().st_ino == self.inode
        except OSError:
            return False

    def count(self) -> int:
        with self.lock:
            return int(self.reader.execute("SELECT count(*) FROM document WHERE NOT is_deleted").fetchone()[0])

    # Writes -------------------------------------------------------------------------------------------------
    def put(self, documents: Sequence[Document]) -> PutReport:
        newest, refused = newest_valid(documents, self.dimensions)
        if newest:
            with self._writing() as (connection, text):
                stored = self._stored(connection, list(newest))
                for document in newest.values():
                    old_sequence, old_version = stored.get(document.key, (None, -1))
                    if document.version > old_version:
                        sequence = self._replace(connection, text, old_sequence, row_of(document))
                        tokens = document_tokens(document.title, document.text)
                        text.add_document(tantivy.Document(sequence=sequence, tokens=tokens))
        return PutReport(refused)

    def delete(self, versions: Mapping[str, int]) -> None:
        with self._writing() as (connection, text):
            stored = self._stored(connection, list(versions))
            for key, version in versions.items():
                old_sequence, old_version = stored.get(key, (None, -1))
                if version > old_version:
                    self._replace(connection, text, old_sequence, (key, version, True, "[]", "[]", None))

    @contextmanager
    def _writing(self) -> Iterator[tuple[sqlite3.Connection, tantivy.IndexWriter]]:
        """One transaction over both files; the text index is committed first."""
        connection = self._connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            text = self._text_writer()
            try:
                yield connection, text
                text.commit()
                connection.execute("COMMIT")
            finally:
                text.wait_merging_threads()
        except (OSError, sqlite3.Error, ValueError) as error:
            raise EngineUnavailable(f"{self.file.parent.name} cannot be written ({error})") from error
        finally:
            connection.close()  # rolls back what was not committed

    def _text_writer(self) -> tantivy.IndexWriter:
        """tantivy's only writer; another one can hold its lock for a moment longer than the transaction."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return self.index.writer(WRITER_BYTES, 1)
            except ValueError as error:
                if "LockBusy" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def extend_graph(self) -> None:
        """Bring the graph of the vectors nearer to the last row, where there are enough of both."""
        folder = self.file.parent
        found = graph.newest(folder)
        covered = found[0] if found else 0
        connection = self._connect()
        try:
            connection.execute("BEGIN")  # one moment for all that is read
            live, last, after = connection.execute(GRAPH_COUNTS, (covered,)).fetchone()
            if live < graph.FROM_VECTORS or after < graph.TAIL:
                return
            graph.extend(folder, self.dimensions, lambda after: connection.execute(GRAPH_ROWS, (after,)), last, live)
        except (OSError, sqlite3.Error) as error:
            raise EngineUnavailable(f"{folder.name} cannot be written ({error})") from error
        finally:
            connection.close()

    def _stored(self, connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, tuple[int, int]]:
        """{key: (sequence, version)} of the rows that are there."""
        stored = {}
        for start in range(0, len(keys), KEYS_AT_ONCE):
            some = keys[start : start + KEYS_AT_ONCE]
            marks = ", ".join("?" * len(some))
            found = connection.execute(f"SELECT key, sequence, version FROM document WHERE key IN ({marks})", some)  # noqa: S608
            stored.update({key: (sequence, version) for key, sequence, version in found})
        return stored

    def _replace(
        self,
        connection: sqlite3.Connection,
        text: tantivy.IndexWriter,
        old_sequence: int | None,
        row: tuple[object, ...],
    ) -> int:
        """Put a row in place of the old one; returns its sequence, which is free in the text index, too."""
        if old_sequence is not None:
            connection.execute("DELETE FROM document WHERE sequence = ?", (old_sequence,))
            text.delete_documents_by_term("sequence", old_sequence)
        sequence = connection.execute(INSERT, row).lastrowid
        assert sequence is not None
        text.delete_documents_by_term("sequence", sequence)  # of a write that was killed between the two commits
        return sequence

    # Reads --------------------------------------------------------------------------------------------------
    def search(self, query: Query) -> Legs:
        depth = max(query.k, LEG_DEPTH)
        wanted = query_tokens(query.text, QUERY_TOKENS)
        if not wanted and query.vector is None:
            return Legs()
        with self.lock:
            self._follow()
            searcher, snapshot, near = self.searcher, self.mirror.snapshot(query), self.graph
        by_text = self._by_text(searcher, snapshot, wanted, depth) if wanted else []
        by_vector = snapshot.nearest(query.vector, depth, near) if query.vector is not None and self.dimensions else []
        return Legs(by_text, by_vector)

    def _follow(self) -> None:
        """Take over what was written since the last search; the caller holds the lock."""
        try:
            last = self.reader.execute("SELECT max(sequence) FROM document").fetchone()[0] or 0
            if last > self.mirror.last_sequence:
                if self.mirror.dead > MOST_DEAD * self.mirror.size:
                    self.mirror = Mirror(self.dimensions)
                rows = self.reader.execute(ROWS, (self.mirror.last_sequence,))
                self.mirror.append(stored_row(row) for row in rows)
                self.index.reload()
                self.searcher = self.index.searcher()
            if self.mirror.count >= graph.FROM_VECTORS:
                self.graph = graph.follow(self.file.parent, self.graph)
        except (OSError, sqlite3.Error, ValueError) as error:
            raise EngineUnavailable(f"{self.file.parent.name} cannot be read ({error})") from error

    def _text_query(self, wanted: Sequence[str]) -> tantivy.Query:
        terms = [tantivy.Query.term_query(self.schema, "tokens", token, "freq") for token in wanted]
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])

    def _by_text(
        self, searcher: tantivy.Searcher, snapshot: Snapshot, wanted: Sequence[str], depth: int
    ) -> list[tuple[str, float]]:
        """The best allowed documents by BM25: as many hits are asked for as the filters are expected to need."""
        allowed = int(np.count_nonzero(snapshot.allowed))
        if not allowed:
            return []
        text_query = self._text_query(wanted)
        limit = int(depth * 1.5 * len(snapshot.allowed) / allowed)
        if allowed <= FEW:  # name the few instead of looking past all others
            few = tantivy.Query.term_set_query(self.schema, "sequence", snapshot.allowed_sequences())
            must = [(tantivy.Occur.Must, text_query), (tantivy.Occur.Must, tantivy.Query.const_score_query(few, 0.0))]
            text_query, limit = tantivy.Query.boolean_query(must), depth
        while True:
            hits = searcher.search(text_query, limit, count=False).hits
            sequences = searcher.fast_field_values("sequence", [address for _, address in hits])
            keys = snapshot.keys_of(np.array(sequences, dtype=np.int64))
            found = [(key, score) for key, (score, _) in zip(keys, hits, strict=True) if key is not None]
            if len(found) >= depth or len(hits) < limit:
                return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:depth]
            limit *= 8


def row_of(document: Document) -> tuple[object, ...]:
    """The columns of `INSERT`; the vector as float16."""
    vector = document.vector
    stored = None if vector is None or not np.any(vector) else np.asarray(vector, dtype=np.float16).tobytes()
    return (
        document.key,
        document.version,
        False,
        json.dumps(terms_of(document.attributes), ensure_ascii=True),
        json.dumps(numbers_of(document.attributes)),
        stored,
    )


def stored_row(columns: tuple[int, str, int, str, str, bytes | None]) -> Row:
    sequence, key, is_deleted, terms, numbers, vector = columns
    return Row(
        sequence,
        key,
        bool(is_deleted),
        [(name, value) for name, value in json.loads(terms)],
        [(name, value) for name, value in json.loads(numbers)],
        vector,
    )
