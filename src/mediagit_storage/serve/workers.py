"""Threads for the storage's calls, which block: so many, and no more, for each kind of work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Final, TypeVar

__all__ = ["Workers"]

T = TypeVar("T")

#: Calls of readers at once. Each is as long as one answer of the storage, not as long as a client takes.
_READERS: Final = 64
#: Probes of health are kept apart, so that a storage that hangs can still be told to be hanging.
_PROBES: Final = 4
#: A page may search for seconds. However many are asked for, readers of objects have their own threads.
_PAGES: Final = 16


class Workers:
    """Threads for reading, for uploads (one each as long as it lasts), for pages, and for probes. Started when needed."""

    def __init__(self, uploads: int) -> None:
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="mgs-serve")
        self._uploads = ThreadPoolExecutor(uploads, thread_name_prefix="mgs-serve-put")
        self._pages = ThreadPoolExecutor(_PAGES, thread_name_prefix="mgs-serve-page")
        self._probes = ThreadPoolExecutor(_PROBES, thread_name_prefix="mgs-serve-probe")

    def begin(self, context: Context, function: Callable[[], T]) -> Future[T]:
        """Begin to call ``function`` in a thread, in a context that nobody else is in."""
        return self._readers.submit(context.run, function)

    async def run(self, function: Callable[[], T]) -> T:
        """What ``function`` returns or raises, called in a thread, in this context.

        Cancelling stops the waiting, not the call: what was begun goes on to its end.
        """
        return await asyncio.wrap_future(self.begin(copy_context(), function))

    async def upload(self, function: Callable[[], T]) -> T:
        """The same, for what takes as long as a client sends."""
        return await asyncio.get_running_loop().run_in_executor(self._uploads, copy_context().run, function)

    async def page(self, function: Callable[[], T]) -> T:
        """The same, for what a page of the console needs."""
        return await asyncio.get_running_loop().run_in_executor(self._pages, copy_context().run, function)

    async def probe(self, function: Callable[[], T]) -> T:
        """The same, for probes of health."""
        return await asyncio.get_running_loop().run_in_executor(self._probes, copy_context().run, function)

    def close(self) -> None:
        """Start nothing more; what runs goes on to its end."""
        for pool in (self._readers, self._uploads, self._pages, self._probes):
            pool.shutdown(wait=False, cancel_futures=True)
