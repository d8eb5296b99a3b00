"""Walking through listings: pages fetched one ahead, in the order of keys whatever the server's own order is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

from mediagit_storage.backends.s3.client import Client
from mediagit_storage.backends.s3.listing import (
    ListPage,
    VersionsPage,
    all_standard,
    parse_objects,
    parse_uploads,
    parse_versions,
)
from mediagit_storage.backends.s3.shapes import list_query, uploads_query, versions_query
from mediagit_storage.backends.s3.translate import read_failure
from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.call import Call
from mediagit_storage.http.pages import fetched, walked
from mediagit_storage.http.xml import is_representable
from mediagit_storage.keys import sort_key
from mediagit_storage.types import Entry, ListOptions, ObjectInfo, PendingUpload

__all__ = ["Lister"]


# Within the class `list` is the method.
_List: TypeAlias = list


class Lister:
    """Lists one bucket."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._plus = client.service.plus_is_space

    # ---- objects

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """All objects under a prefix, sorted by the bytes of their keys."""
        if not self._client.holds_under(prefix):
            return
        if options.versions:
            yield from self._versions(prefix, options.start_after)
        elif self._client.service.ordered:
            last: str | None = None
            for page in self._pages(prefix, options.start_after):
                objects = _inside(prefix, _after(options.start_after, page.objects))
                if objects:
                    _check_order(last, objects)
                    last = objects[-1].key
                yield from objects
        else:
            yield from walked(self._level, prefix, options.start_after)

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level, folders and objects sorted together."""
        after = options.start_after
        if not self._client.holds_under(prefix):
            return
        if not self._client.service.ordered:
            yield from (each for each in self._level(prefix) if after is None or _name(each) > after)
            return
        last: str | None = None
        for page in self._pages(prefix, after, one_level=True):
            entries: _List[Entry] = [*page.objects, *page.folders]
            for entry in sorted(entries, key=_name):
                name = _name(entry)
                if name == last or (after is not None and name <= after):
                    continue
                if last is not None and name < last:
                    raise _out_of_order()
                yield entry
                last = name

    def _pages(
        self, prefix: str, start_after: str | None, *, one_level: bool = False, bodies: deque[bytes] | None = None
    ) -> Iterator[ListPage]:
        """The pages; what each was read from is appended to ``bodies``."""
        # Some servers repeat it in their answer as it is, which is no XML then: what comes too early is left out here.
        sent = start_after if start_after is None or is_representable(start_after) else None

        call = self._client.bucket_call

        def following(page: ListPage) -> Call | None:
            if page.next_token is None:
                return None
            return call("GET", list_query(prefix, token=page.next_token, one_level=one_level))

        def parse(body: bytes) -> ListPage:
            if bodies is not None:
                bodies.append(body)
            return parse_objects(body, plus_is_space=self._plus)

        first = call("GET", list_query(prefix, start_after=sent, one_level=one_level))
        return fetched(self._client, first, parse, following)

    def standard(self, prefix: str, start_after: str | None) -> Iterator[_List[ObjectInfo]]:
        """The objects page by page, up to the first page that has another one than of the usual storage class.

        Of these a listing tells all that a copy has to be told. Nothing of servers that list out of order.
        """
        if not self._client.service.ordered or not self._client.holds_under(prefix):
            return
        bodies: deque[bytes] = deque()
        for page in self._pages(prefix, start_after, bodies=bodies):
            if not all_standard(bodies.popleft(), page):
                return
            yield page.objects

    # ---- servers that list out of order

    def _level(self, prefix: str) -> Iterator[Entry]:
        found: dict[str, Entry] = {}
        for page in self._pages(prefix, None, one_level=True):
            # What stands for an empty folder is no object: nobody stored it, and it has no ETag.
            found.update((each.key, each) for each in page.objects if each.etag or not each.key.endswith("/"))
            # A server that answers with the folder that was asked for would be walked for ever.
            found.update((each.prefix, each) for each in page.folders if each.prefix != prefix)
        return iter([found[name] for name in sorted(found, key=sort_key) if name.startswith(prefix)])

    # ---- versions and uploads

    def _versions(self, prefix: str, start_after: str | None) -> Iterator[ObjectInfo]:
        call = self._client.bucket_call

        def following(page: VersionsPage) -> Call | None:
            if page.next_key is None:
                return None
            return call("GET", versions_query(prefix, after_key=page.next_key, after_version=page.next_version))

        ordered = self._client.service.ordered
        sent = start_after if ordered and is_representable(start_after or "") else None
        pages = fetched(
            self._client,
            call("GET", versions_query(prefix, after_key=sent)),
            lambda body: parse_versions(body, plus_is_space=self._plus),
            following,
        )
        found = (each for page in pages for each in page.objects)
        kept = (each for each in found if start_after is None or each.key > start_after)
        if ordered:
            yield from kept
        else:
            yield from sorted(kept, key=lambda each: sort_key(each.key))

    def uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Uploads that were begun and not ended, oldest first for a key."""
        after: tuple[str | None, str | None] = (None, None)
        while True:
            query = uploads_query(prefix, after_key=after[0], after_upload=after[1])
            call = self._client.bucket_call("GET", query)
            response = self._client.send(call).response
            if response.status == 404 and read_failure(404, response.headers, response.body).code == "NoSuchUpload":
                return  # how rclone's server says that there are none
            self._client.check(response, call, subject="bucket")
            page = parse_uploads(response.body, plus_is_space=self._plus)
            # Some servers do not look at the prefix.
            yield from sorted(
                (each for each in page.uploads if each.key.startswith(prefix)),
                key=lambda each: (each.key, each.started),
            )
            if page.next_key is None:
                return
            if (page.next_key, page.next_upload) == after:
                raise IntegrityError("the server's listing of uploads does not go on")
            after = (page.next_key, page.next_upload)


def _name(entry: Entry) -> str:
    return entry.key if isinstance(entry, ObjectInfo) else entry.prefix


def _inside(prefix: str, objects: list[ObjectInfo]) -> list[ObjectInfo]:
    """Without the keys of another prefix that some servers take this one for. Sorted, so the ends tell of all."""
    if not objects or (objects[0].key.startswith(prefix) and objects[-1].key.startswith(prefix)):
        return objects
    return [each for each in objects if each.key.startswith(prefix)]


def _after(start_after: str | None, objects: list[ObjectInfo]) -> list[ObjectInfo]:
    """Without what servers that take the place to start from for a part of the listing send too much."""
    if start_after is None or not objects or objects[0].key > start_after:
        return objects
    return [each for each in objects if each.key > start_after]


def _check_order(last: str | None, objects: list[ObjectInfo]) -> None:
    """Raise where a listing is out of order: whoever compares two of them would delete what is only misplaced."""
    keys = [each.key for each in objects]
    if last is not None and keys and keys[0] <= last:
        keys.insert(0, last)
    if any(after <= before for before, after in pairwise(keys)):
        raise _out_of_order()


def _out_of_order() -> IntegrityError:
    return IntegrityError("this server lists keys out of order; open the storage with ordered=false")
