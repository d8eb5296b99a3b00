"""Many copies that the service makes itself: groups of objects are looked at together, then copied as they were.

A copy is made on condition of the ETag that was seen, and has to be told the storage class, which the service does not
copy by itself. A listing tells both of a thousand objects; where it does not, each object is asked for by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from typing import Final, NamedTuple

from mediagit_storage.backend import BatchLimits, StatOperation, StorageBackend
from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.copying import Copier
from mediagit_storage.closable import closable
from mediagit_storage.errors import AlreadyExistsError, CancelledError, IntegrityError, StorageError
from mediagit_storage.facets import Relocated, Relocation
from mediagit_storage.http.call import Call
from mediagit_storage.http.retry import Job
from mediagit_storage.keys import sort_key
from mediagit_storage.types import CopyOptions, ObjectInfo

__all__ = ["BatchCopier", "Listed"]

#: Pages of objects of the usual storage class, under a prefix and after a key.
Listed = Callable[[str, str | None], Iterator[list[ObjectInfo]]]

#: How many objects are looked at before they are copied.
_GROUP: Final = 1024
#: A page of a listing costs as much as a dozen looks: it has to tell of more of the wanted objects than that.
_WORTH: Final = 32


class _Found(NamedTuple):
    """A source that is there, and where it goes."""

    operation: Relocation
    info: ObjectInfo


class _Sent(NamedTuple):
    found: _Found
    options: CopyOptions
    request: tuple[Call, str | None]


class BatchCopier:
    """Copies objects of ``bucket``, which is opened as ``source`` and ``listed``, into the bucket of ``client``."""

    def __init__(self, client: Client, copier: Copier, source: StorageBackend, bucket: str, listed: Listed) -> None:
        self._client = client
        self._copier = copier
        self._source = source
        self._bucket = bucket
        self._listed = listed

    def run(self, operations: Iterator[Relocation], limits: BatchLimits) -> Iterator[Relocated]:
        """All of it, group by group. One request an object, or two where no listing tells of it; more for copies in parts.

        What is another object by now than the listing told of is looked at after all, and copied as it is then.
        """
        while group := list(islice(operations, _GROUP)):
            known = self._known(group)
            told: list[_Found] = []
            others: list[Relocation] = []
            for each in group:
                if each.source in known and self._is_plain(each):
                    told.append(_Found(each, known[each.source]))
                else:
                    others.append(each)
            yield from self._copied(told, limits, others)
            yield from self._one_by_one(others, limits)

    def _one_by_one(self, group: list[Relocation], limits: BatchLimits) -> Iterator[Relocated]:
        there: list[_Found] = []
        for found in self._looked_at(group, limits):
            if isinstance(found, Relocated):
                yield found
            else:
                there.append(found)
        # By themselves: each takes many requests.
        large = [each for each in there if self._copier.in_parts(each.info)]
        yield from self._copied([each for each in there if not self._copier.in_parts(each.info)], limits)
        for each in large:
            yield self._in_parts(each)

    def _looked_at(self, group: list[Relocation], limits: BatchLimits) -> Iterator[_Found | Relocated]:
        looks = {id(look): (look, each) for each in group for look in [StatOperation(each.source)]}
        with closing(closable(self._source.batch((look for look, _ in looks.values()), limits))) as completions:
            for look, info, error in completions:
                _, operation = looks[id(look)]
                if not isinstance(info, ObjectInfo):
                    yield Relocated(operation, None, error or IntegrityError("an object was looked at in vain"))
                elif not self._is_itself(operation):
                    yield _Found(operation, info)
                elif operation.if_absent:
                    yield Relocated(operation, None, AlreadyExistsError("an object is there already"), info.etag)
                else:
                    yield Relocated(operation, info, None, info.etag)

    def _is_plain(self, operation: Relocation) -> bool:
        """Whether the service copies what describes the object by itself: a listing knows no metadata."""
        return not operation.if_absent and not self._is_itself(operation)

    def _known(self, group: list[Relocation]) -> dict[str, ObjectInfo]:
        """Those of which a listing tells enough, by key. It fails without consequences."""
        wanted = {each.source for each in group if self._is_plain(each)}
        known: dict[str, ObjectInfo] = {}
        if len(wanted) <= _WORTH or self._client.encryption:
            return known
        names = sorted(wanted, key=sort_key)
        prefix = os.path.commonprefix([names[0], names[-1]])  # noqa: RUF071  # a prefix is text, and no path
        # After what is the first but for its last character, which comes before it.
        pages = self._listed(prefix, names[0][:-1] or None)
        try:
            with closing(closable(pages)) as listing:
                for page in listing:
                    found = {each.key: each for each in page if each.key in wanted and each.etag}
                    # What describes it has to be told with a copy in parts.
                    known |= {key: each for key, each in found.items() if not self._copier.in_parts(each)}
                    if len(found) <= _WORTH or sort_key(page[-1].key) >= sort_key(names[-1]):
                        break
        except CancelledError:
            raise
        except StorageError:
            # Who may read objects need not be allowed to list them.
            return known
        return known

    def _is_itself(self, operation: Relocation) -> bool:
        return operation.source == operation.target and self._bucket == self._client.bucket

    def _copied(
        self, group: list[_Found], limits: BatchLimits, changed: list[Relocation] | None = None
    ) -> Iterator[Relocated]:
        """Copies. Those whose source is another object by now are added to ``changed``; without that they have failed."""
        flying: dict[Job, _Sent] = {}
        refused: list[Relocated] = []

        def jobs() -> Iterator[Job]:
            for each in group:
                options = CopyOptions(if_absent=each.operation.if_absent)
                try:
                    self._client.check_written(each.operation.target)
                    request = self._copier.call(each.info, each.operation.target, options, bucket=self._bucket)
                except Exception as error:  # noqa: BLE001  # every failure belongs to its object
                    refused.append(Relocated(each.operation, None, error))
                    continue
                job = self._client.job(request[0])
                flying[job] = _Sent(each, options, request)
                yield job

        sending = self._client.send_all(jobs(), concurrency=limits.concurrency, buffer_bytes=limits.buffer_bytes)
        with closing(sending) as results:
            for job, retried, error in results:
                (operation, info), options, request = flying.pop(job)
                if retried is None:
                    failed = error or IntegrityError("a request has neither an answer nor an error")
                    yield Relocated(operation, None, failed)
                    continue
                if changed is not None and retried.response.status == 412:
                    changed.append(operation)
                    continue
                try:
                    copied = self._copier.copied(info, operation.target, options, request, retried)
                except Exception as failure:  # noqa: BLE001  # every failure belongs to its object
                    yield Relocated(operation, None, failure)
                else:
                    yield Relocated(operation, copied, None, info.etag)
        yield from refused

    def _in_parts(self, found: _Found) -> Relocated:
        operation, info = found
        try:
            options = CopyOptions(if_absent=operation.if_absent)
            copied = self._copier.copy_found(info, operation.target, options, bucket=self._bucket)
        except Exception as error:  # noqa: BLE001  # every failure belongs to its object
            return Relocated(operation, None, error)
        return Relocated(operation, copied, None, info.etag)
