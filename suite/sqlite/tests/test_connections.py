from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections

from suite.sqlite import base
from suite.sqlite.base import DatabaseWrapper

pytestmark = pytest.mark.django_db  # pytest-django lets nobody open a connection without it


@pytest.fixture
def wrapper(tmp_path: Path, monkeypatch: Any) -> DatabaseWrapper:
    monkeypatch.setattr(base, "_idle", {})
    return open_wrapper(tmp_path / "a.sqlite3")


def open_wrapper(path: Path) -> DatabaseWrapper:
    settings = connections["default"].settings_dict | {"ENGINE": "suite.sqlite", "NAME": str(path)}
    settings |= {"OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"}}
    return DatabaseWrapper(settings, "trial")


def raw(wrapper: DatabaseWrapper) -> sqlite3.Connection:
    wrapper.ensure_connection()
    assert wrapper.connection is not None
    return wrapper.connection


def test_a_closed_connection_is_used_again_and_the_log_is_not_written_back(wrapper: DatabaseWrapper) -> None:
    first = raw(wrapper)
    first.execute("CREATE TABLE t (x)")
    wrapper.close()
    log = Path(f"{wrapper.settings_dict['NAME']}-wal")
    assert log.stat().st_size > 0  # closing the last connection for good would empty it
    assert raw(wrapper) is first


def test_two_at_a_time_are_two_connections(wrapper: DatabaseWrapper) -> None:
    second = open_wrapper(Path(str(wrapper.settings_dict["NAME"])))
    assert raw(wrapper) is not raw(second)


def test_a_database_made_anew_gets_a_new_connection(wrapper: DatabaseWrapper) -> None:
    raw(wrapper).execute("CREATE TABLE t (x)")
    wrapper.close()
    for path in Path(str(wrapper.settings_dict["NAME"])).parent.glob("a.sqlite3*"):
        path.unlink()
    assert raw(wrapper).execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_connection_in_a_transaction_is_not_kept(wrapper: DatabaseWrapper) -> None:
    raw(wrapper).execute("CREATE TABLE t (x)")
    wrapper.set_autocommit(False)
    with wrapper.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")
    wrapper.close()
    assert raw(wrapper).execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_connection_with_an_error_is_not_kept(wrapper: DatabaseWrapper) -> None:
    first = raw(wrapper)
    with pytest.raises(OperationalError), wrapper.cursor() as cursor:
        cursor.execute("SELECT * FROM nothing")
    wrapper.close()
    assert raw(wrapper) is not first


def test_foreign_keys_are_checked_again_after_somebody_switched_them_off(wrapper: DatabaseWrapper) -> None:
    raw(wrapper).execute("PRAGMA foreign_keys = OFF")
    wrapper.close()
    assert raw(wrapper).execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_many_threads_share_few_connections(wrapper: DatabaseWrapper, monkeypatch: Any) -> None:
    monkeypatch.setattr(base, "MAX_IDLE", 2)
    raw(wrapper).execute("CREATE TABLE t (x)")
    path = Path(str(wrapper.settings_dict["NAME"]))

    def body() -> None:
        for _ in range(20):
            own = open_wrapper(path)
            with own.cursor() as cursor:
                cursor.execute("INSERT INTO t VALUES (1)")
            own.close()

    threads = [threading.Thread(target=body) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raw(wrapper).execute("SELECT count(*) FROM t").fetchone() == (120,)
    assert all(len(kept) <= 8 for kept in base._idle.values())
