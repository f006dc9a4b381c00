"""SQLite whose connections stay open between requests (Django finds this module by `ENGINE = "suite.sqlite"`).

A request has a thread, and so a connection, of its own. Opening one costs more than a small query; and closing the
last one writes the whole write-ahead log back into the database, which costs more than ingesting a hundred events.
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from pathlib import Path
from typing import Any

from django.db.backends.sqlite3 import base

MAX_IDLE = 32
Place = tuple[int, str, int, int]  # process, path, device and inode: a file made anew is another one

_idle: dict[Place, deque[sqlite3.Connection]] = {}


class DatabaseWrapper(base.DatabaseWrapper):
    place: Place | None = None  # of the open connection; None where it is not to be kept

    def get_new_connection(self, conn_params: dict[str, Any]) -> sqlite3.Connection:
        self.place = place_of(conn_params["database"])
        kept = _idle.get(self.place) if self.place else None
        try:
            connection = kept.pop() if kept else None
        except IndexError:  # another thread was faster
            connection = None
        if connection is not None:
            connection.execute("PRAGMA foreign_keys = ON")
            return connection
        connection = super().get_new_connection(conn_params)
        self.place = place_of(conn_params["database"])  # the file may have been made just now
        return connection

    def _close(self) -> None:
        connection, self_place = self.connection, self.place
        if connection is None or self_place is None or self_place[0] != os.getpid():
            super()._close()  # type: ignore[misc]
            return
        kept = _idle.setdefault(self_place, deque())
        if self.closed_in_transaction or connection.in_transaction or self.errors_occurred or len(kept) >= MAX_IDLE:
            super()._close()  # type: ignore[misc]
        else:
            kept.append(connection)


def place_of(path: str) -> Place | None:
    """What a kept connection is valid for; None for a database that is no file, or not yet one."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return os.getpid(), path, status.st_dev, status.st_ino
