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


def update(model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Set `columns` of rows: each of `rows` is an id and its new values. They are locked in the order of their ids.
    `bulk_update` builds one large expression for it and takes far longer."""
    assignments = ", ".join(f"{column} = %s" for column in columns)
    adapt = connection.ops.adapt_datetimefield_value
    values = [
        [*(adapt(value) if isinstance(value, datetime) else value for value in row[1:]), row[0]]
        for row in sorted(rows, key=lambda row: row[0])
    ]
    if values:
        with connection.cursor() as cursor:
            cursor.executemany(f"UPDATE {model._meta.db_table} SET {assignments} WHERE id = %s", values)  # noqa: S608


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


def upsert_newest(
    model: type[models.Model], columns: Sequence[str], key: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Write rows of which the newest by (`changed_at`, `changed_by`), the last two columns, stays: of several rows with
    the same key, and of a row and the one that is stored. So events in any order end in the same rows.

    `key` names the columns that are unique together, the first ones of `columns`. JSON as its text.
    """
    newest: dict[tuple[Any, ...], Sequence[Any]] = {}
    for row in rows:
        name = tuple(row[: len(key)])
        if name not in newest or tuple(row[-2:]) > tuple(newest[name][-2:]):
            newest[name] = row
    ordered = [newest[name] for name in sorted(newest)]  # two transactions lock rows in the same order
    at_once = PARAMETERS // len(columns)
    for start in range(0, len(ordered), at_once):
        _upsert_part(model._meta.db_table, columns, key, ordered[start : start + at_once])


def _upsert_part(table: str, columns: Sequence[str], key: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    collation = '"C"' if connection.vendor == "postgresql" else "BINARY"  # both compare code points, as Python does
    places = f"({', '.join(['%s'] * len(columns))})"
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns[len(key) :])
    adapt = cache(connection.ops.adapt_datetimefield_value)
    values = [adapt(value) if isinstance(value, datetime) else value for row in rows for value in row]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([places] * len(rows))} "  # noqa: S608
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {updates} "
            f"WHERE excluded.changed_at > {table}.changed_at OR (excluded.changed_at = {table}.changed_at "
            f"AND excluded.changed_by COLLATE {collation} > {table}.changed_by COLLATE {collation})",
            values,
        )
