"""Listings in pages: while one page is used, the next one is on its way; and walks folder by folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final, TypeVar

from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.call import Call
from mediagit_storage.http.client import HttpClient
from mediagit_storage.http.request import Request
from mediagit_storage.http.retry import Attempt, Job
from mediagit_storage.types import Entry, ObjectInfo

__all__ = ["fetched", "walked"]

P = TypeVar("P")

_BUFFER: Final = 64 * 1024 * 1024


def fetched(
    client: HttpClient, first: Call, parse: Callable[[bytes], P], following: Callable[[P], Call | None]
) -> Iterator[P]:
    """The pages of a listing of a bucket. ``following`` makes the request for the page after one, None after the last."""
    with closing(_Ahead(client)) as ahead:
        ahead.begin(first)
        while True:
            page = parse(ahead.body())
            rest = following(page)
            if rest is not None:
                ahead.begin(rest)
            yield page
            if rest is None:
                return


def walked(level: Callable[[str], Iterator[Entry]], prefix: str, start_after: str | None) -> Iterator[ObjectInfo]:
    """All objects under a prefix, for servers that list out of order: what is held is one folder and those around it.

    ``level`` gives one level, sorted.
    """
    levels = [level(prefix)]
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
        elif isinstance(entry, ObjectInfo):
            if start_after is None or entry.key > start_after:
                yield entry
        elif start_after is None or entry.prefix > start_after or start_after.startswith(entry.prefix):
            levels.append(level(entry.prefix))


class _BegunError(Exception):
    """Comes back through the batch as soon as the request before it is on its way."""


def _begun(_attempt: Attempt) -> Request:
    raise _BegunError


class _Ahead:
    """Requests one after the other, each begun before the one before it is used up."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._queue: deque[Job] = deque()
        self._call: Call | None = None
        self._results = client.send_all(self._jobs(), concurrency=2, buffer_bytes=_BUFFER)

    def begin(self, call: Call) -> None:
        """Let a request travel."""
        self._call = call
        self._queue += (self._client.job(call), Job(_begun))
        begun = next(self._results)
        if not isinstance(begun.error, _BegunError):
            raise begun.error or IntegrityError("a listing's request was answered before it was sent")

    def body(self) -> bytes:
        """The body of the answer to the request that travels."""
        result = next(self._results)
        call = self._call
        if result.error is not None or result.retried is None or call is None:
            raise result.error or IntegrityError("a listing's request has neither an answer nor an error")
        response = result.retried.response
        self._client.check(response, call, subject="bucket")
        return response.body

    def close(self) -> None:
        """Stop what travels."""
        self._results.close()

    def _jobs(self) -> Iterator[Job | None]:
        while True:
            yield self._queue.popleft() if self._queue else None
