"""Trouble that is the database's and no event's: a lock held too long, a deadlock, a server that went away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

log = logging.getLogger(__name__)
UNAVAILABLE = (OperationalError, InterfaceError)
WAITS = (0.1, 0.5, 2.0)  # seconds before the second, third and last try

T = TypeVar("T")


def patiently(work: Callable[[], T]) -> T:
    """What `work` returns; it is run again after a while where the database could not take it.

    `work` must be one transaction, or one that may be begun anew. Inside another transaction there is one try only.
    Raises what `work` raised the last time.
    """
    for wait in WAITS:
        try:
            return work()
        except UNAVAILABLE as error:
            if connection.in_atomic_block:
                raise
            log.warning("the database could not take a write (%s), trying again", type(error).__name__)
            connection.close_if_unusable_or_obsolete()
            time.sleep(wait)
    return work()


def is_reachable() -> bool:
    """Whether the database answers at all, on a new connection where the old one broke."""
    try:
        connection.close_if_unusable_or_obsolete()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except UNAVAILABLE:
        return False
    return True
