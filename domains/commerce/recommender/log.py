"""The interactions that statistics are built from, as flat arrays: one sequence after the other, each in time order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

KINDS = ("view", "cart", "purchase", "rating", "dismiss")


@dataclass(frozen=True)
class InteractionLog:
    """Interactions sorted by (user, timestamp, line): a stable order, so equal timestamps keep the file's order.

    `users`, `items` int32 codes, `timestamps` float64 Unix seconds, `kinds` int8 codes of `KINDS`, `values` float32
    (NaN where there is none), all of one length. `user_keys` and `item_keys` turn codes into the shop's own ids. A
    user is whoever did it: someone with an account, or a session without one.
    """

    users: np.ndarray
    items: np.ndarray
    timestamps: np.ndarray
    kinds: np.ndarray
    values: np.ndarray
    user_keys: Sequence[str]
    item_keys: Sequence[str]

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[str, str, float, str, float | None]]) -> InteractionLog:
        """Rows of (user, item, timestamp, kind, value) in the order in which they arrived. Raises on unknown kinds."""
        user_codes: dict[str, int] = {}
        item_codes: dict[str, int] = {}
        kind_codes = {kind: code for code, kind in enumerate(KINDS)}
        columns: list[tuple[int, int, float, int, float]] = [
            (
                user_codes.setdefault(user, len(user_codes)),
                item_codes.setdefault(item, len(item_codes)),
                timestamp,
                kind_codes[kind],
                np.nan if value is None else value,
            )
            for user, item, timestamp, kind, value in rows
        ]
        users, items, timestamps, kinds, values = zip(*columns, strict=True) if columns else ((),) * 5
        log = cls(
            np.array(users, np.int32),
            np.array(items, np.int32),
            np.array(timestamps, np.float64),
            np.array(kinds, np.int8),
            np.array(values, np.float32),
            list(user_codes),
            list(item_codes),
        )
        return log.select(np.lexsort((log.timestamps, log.users)))

    def select(self, rows: np.ndarray) -> InteractionLog:
        """The rows named by a mask or by positions; codes keep their meaning."""
        return InteractionLog(
            self.users[rows],
            self.items[rows],
            self.timestamps[rows],
            self.kinds[rows],
            self.values[rows],
            self.user_keys,
            self.item_keys,
        )

    def starts(self) -> np.ndarray:
        """Where each user's sequence starts, with the length at the end: int64 (users with rows + 1,)."""
        if not len(self):
            return np.zeros(1, np.int64)
        return np.concatenate(([0], np.flatnonzero(np.diff(self.users)) + 1, [len(self)]))

    def positions_from_end(self) -> np.ndarray:
        """How many later interactions the same user has: 0 for the last one. int64 (n,)."""
        starts = self.starts()
        ends = np.repeat(starts[1:], np.diff(starts))
        return ends - 1 - np.arange(len(self))
