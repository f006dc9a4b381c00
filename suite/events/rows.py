"""Many new rows in one statement, without a model instance's bookkeeping for each value: what every event goes through.

PostgreSQL gets them by COPY, SQLite by one INSERT. Values are checked before they come here; defaults of a model's
fields do not apply, so every column is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from django.db import connection, models

PARAMETERS = 20_000  # of one statement, below SQLite's limit


def insert(model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows whose values are in the order of `columns`; JSON as its text, times as aware `datetime`.

    Raises `django.db.DatabaseError` of the usual kinds.
    """
    table, names = model._meta.db_table, ", ".join(columns)
    if connection.vendor == "postgresql":
        with (
            connection.cursor() as cursor,
            connection.wrap_database_errors,
            cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)
        return
    adapt = cache(connection.ops.adapt_datetimefield_value)  # a batch has few different times
    places = f"({', '.join(['%s'] * len(columns))})"
    at_once = PARAMETERS // len(columns)
    with connection.cursor() as cursor:
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            values = [adapt(value) if isinstance(value, datetime) else value for row in part for value in row]
            cursor.execute(f"INSERT INTO {table} ({names}) VALUES {', '.join([places] * len(part))}", values)  # noqa: S608


def next_ids(model: type[models.Model], count: int) -> list[int]:
    """`count` ids for new rows, rising. On SQLite the caller's transaction must be the writing one already."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [table, count]
            )
            return sorted(row[0] for row in cursor.fetchall())
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        found = cursor.fetchone()
    first = (found[0] if found else 0) + 1
    return list(range(first, first + count))
