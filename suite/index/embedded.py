"""The embedded engine: tantivy for words, a matrix in memory for vectors, one folder a generation.

A folder is made, replaced and removed by renaming it whole, and an alias is a file that holds a name; what is inside a
folder is `generation_files`.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from suite.index.engine import (
    Document,
    EngineError,
    EngineUnavailable,
    GenerationMissing,
    Legs,
    PutReport,
    Query,
)
from suite.index.generation_files import OpenGeneration, create_files

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")


class EmbeddedEngine:
    """`suite.index.engine.Engine` on the files of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: dict[str, OpenGeneration] = {}
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._opened, self._lock = {}, threading.Lock()

    def create(self, generation: str, dimensions: int, fingerprint: str) -> None:
        path = self._path(generation)
        unfinished = path.with_name(f".{generation}.{secrets.token_hex(4)}")
        try:
            create_files(unfinished, dimensions, fingerprint)
            unfinished.rename(path)
        except OSError as error:
            if not path.exists():
                raise EngineUnavailable(f"{path} cannot be made ({error.strerror})") from error
            opened = self._open(generation)
            if (opened.dimensions, opened.fingerprint) != (dimensions, fingerprint):
                raise EngineError(f"{generation} exists with another stamp") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def put(self, generation: str, documents: Sequence[Document]) -> PutReport:
        return self._open(generation).put(documents)

    def delete(self, generation: str, versions: Mapping[str, int]) -> None:
        self._open(generation).delete(versions)

    def search(self, target: str, query: Query) -> Legs:
        for _ in range(3):  # an alias may move, and its old generation go, between these lines
            name = target if self._path(target).exists() else self.resolve(target)
            if name is None:
                break
            with suppress(GenerationMissing):
                return self._open(name).search(query)
        raise GenerationMissing(f"{target} is neither a generation nor an alias")

    def refresh(self, generation: str) -> None:
        self._open(generation).extend_graph()  # each search takes over what was written before it began

    def count(self, generation: str) -> int:
        return self._open(generation).count()

    def exists(self, generation: str) -> bool:
        try:
            self._open(generation)
        except GenerationMissing:
            return False
        return True

    def fingerprint(self, generation: str) -> str:
        return self._open(generation).fingerprint

    def generations(self) -> list[str]:
        folder = self.folder / "generations"
        return sorted(path.name for path in folder.glob("[!.]*")) if folder.exists() else []

    def drop(self, generation: str) -> None:
        path = self._path(generation)
        removed = path.with_name(f".{generation}.{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            path.rename(removed)
            shutil.rmtree(removed, ignore_errors=True)
        with self._lock:
            self._opened.pop(generation, None)

    def switch(self, alias: str, generation: str) -> None:
        if not self._path(generation).exists():
            raise GenerationMissing(f"{generation} is not there")
        path = self._alias_path(alias)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{alias}.{secrets.token_hex(4)}")
        unfinished.write_text(generation)
        unfinished.replace(path)

    def resolve(self, alias: str) -> str | None:
        try:
            return self._alias_path(alias).read_text()
        except FileNotFoundError:
            return None

    def _path(self, generation: str) -> Path:
        return self.folder / "generations" / checked(generation)

    def _alias_path(self, alias: str) -> Path:
        return self.folder / "aliases" / checked(alias)

    def _open(self, generation: str) -> OpenGeneration:
        """The generation as this process has it open, opened anew where its files were replaced."""
        path = self._path(generation)
        with self._lock:
            opened = self._opened.get(generation)
            if opened is None or not opened.is_current():
                self._opened = {name: other for name, other in self._opened.items() if other.is_current()}
                self._opened[generation] = opened = OpenGeneration(path)
            return opened


def checked(name: str) -> str:
    """A name that is safe as a file's; raises `EngineError` otherwise."""
    if not NAME.fullmatch(name):
        raise EngineError(f"{name!r} is not a name of a generation or alias: lower-case letters, digits, '.', '_', '-'")
    return name
