"""Doing something for many items in a few threads, with the results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from mediagit_storage.ending import Pool
from mediagit_storage.scope import context_inside, inner_scope

__all__ = ["in_order"]

T = TypeVar("T")
R = TypeVar("R")


def in_order(items: Iterable[T], action: Callable[[T], R], concurrency: int) -> Iterator[R]:
    """What ``action`` makes of each item, in their order, ``concurrency`` at once; pulls few items ahead.

    An exception of an action is raised at its place, and ends all. Closing the iterator cancels what runs.
    """
    inside = inner_scope()
    waiting: deque[Future[R]] = deque()
    with Pool(concurrency, thread_name_prefix="mgs-many") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(context_inside(inside).run, action, item))
                if len(waiting) >= 2 * concurrency:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            inside.cancel()
            for each in waiting:
                each.cancel()
