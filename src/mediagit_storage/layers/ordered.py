"""A few things at a time in threads, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from itertools import chain, islice
from typing import TypeVar

from mediagit_storage.ending import Pool
from mediagit_storage.scope import context_inside, inner_scope

__all__ = ["ordered"]

T = TypeVar("T")
R = TypeVar("R")


def ordered(function: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """``function`` of each item, in their order, in up to ``workers`` threads, and in none for a single item.

    Items are pulled lazily, in the caller's thread: at most ``workers`` and one more are held. Errors come where their
    result would. Closing the iterator cancels what runs (through its scope) and waits for it.
    """
    source = iter(items)
    first = [*islice(source, 2)]
    if len(first) < 2 or workers < 2:
        yield from map(function, chain(first, source))
        return
    inside = inner_scope()
    running: deque[Future[R]] = deque()
    with Pool(workers, thread_name_prefix="mgs-ordered") as threads:
        try:
            for item in chain(first, source):
                running.append(threads.submit(context_inside(inside).run, function, item))
                if len(running) > workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            inside.cancel()
            for each in running:
                each.cancel()
