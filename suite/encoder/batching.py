"""Batches of texts of about one length, and the threads that work on them side by side."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import torch

PROMPT, YIELDING = 0, 5  # niceness of the threads for a lone request, which goes before, and of those for bulk work
AHEAD = 2  # batches that one caller keeps waiting for each thread; others come in between


def batches(lengths: Sequence[int], budget: int) -> Iterator[np.ndarray]:
    """Positions of texts in batches, longest first, each of at most `budget` padded tokens (or one text alone)."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


class Lanes:
    """Threads that take one batch each, with one core each. The parts of one batch that is spread over cores wait for
    each other again and again, and for long where another process has one of the cores; these never do."""

    def __init__(self, count: int, niceness: int) -> None:
        threads = torch.get_num_threads()
        self.count = count
        self.executor = ThreadPoolExecutor(count, "encoder", be_a_lane, (niceness,))
        meet = threading.Barrier(count)  # so that all are there at once, and none is started later
        for future in [self.executor.submit(meet.wait) for _ in range(count)]:
            future.result()
        torch.set_num_threads(threads)  # what later threads start with; the lanes have set it to 1

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """`function` of every item, in their order."""
        waiting: deque[Future[Any]] = deque()
        for item in items:
            if len(waiting) == AHEAD * self.count:
                yield waiting.popleft().result()
            waiting.append(self.executor.submit(function, item))
        while waiting:
            yield waiting.popleft().result()


@cache
def lanes(count: int, niceness: int) -> Lanes:
    """The lanes of this process: encoders share them."""
    return Lanes(count, niceness)


def be_a_lane(niceness: int) -> None:
    torch.get_num_threads()  # a thread's first look sets it to the process's number, whatever was set before
    torch.set_num_threads(1)
    thread = threading.get_native_id()
    with suppress(AttributeError, OSError):  # only Linux has a niceness for each thread
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + niceness)
