"""Listings: pages in the order of the service, one level or all, and every version of a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mediagit_storage.backends.gcs.client import GCSClient
from mediagit_storage.backends.gcs.resources import ObjectResource, Page, decode_page, to_info
from mediagit_storage.errors import IntegrityError
from mediagit_storage.http.call import Query
from mediagit_storage.http.encoding import parse_timestamp
from mediagit_storage.keys import sort_key
from mediagit_storage.types import Entry, Folder, ListOptions, ObjectInfo

__all__ = ["MARK", "Lister", "marked"]

_PAGE: Final = 1000
_FIELDS: Final = "nextPageToken,prefixes,items(name,generation,size,timeCreated,updated,timeDeleted)"
#: The version of what stands for a deletion begins so; the generation that was deleted follows.
MARK: Final = "deleted-"


def marked(version: str) -> str | None:
    """The generation whose deletion a version stands for; None for every other version."""
    return version.removeprefix(MARK) if version.startswith(MARK) else None


class Lister:
    """Lists one bucket."""

    def __init__(self, client: GCSClient) -> None:
        self._client = client

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """All objects below a prefix, or all their versions."""
        if options.versions:
            yield from self._versions(prefix, options.start_after)
            return
        after = options.start_after
        last: str | None = None
        for page in self._pages(prefix, after, ()):
            for resource in page.items:
                last = _in_order(last, resource.name)
                if after is None or _is_after(resource.name, after):
                    yield to_info(resource)

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level, sorted together.

        Folders of a page may stand before objects of the next one, as far as the service promises: they are held back
        until those have come.
        """
        after = options.start_after
        waiting: dict[str, Entry] = {}
        told: str | None = None
        for page in self._pages(prefix, after, [("delimiter", "/")]):
            waiting.update((name, Folder(name)) for name in page.prefixes)
            waiting.update((each.name, to_info(each)) for each in page.items)
            limit = _limit(page)
            for name in sorted(waiting, key=sort_key):
                if limit is not None and _is_after(name, limit):
                    break
                entry = waiting.pop(name)
                if (told is None or _is_after(name, told)) and (after is None or _is_after(name, after)):
                    told = name
                    yield entry

    def _versions(self, prefix: str, after: str | None) -> Iterator[ObjectInfo]:
        """The service lists the oldest of a key first; here the newest comes first, so those of one key are held."""
        group: list[ObjectResource] = []
        for page in self._pages(prefix, after, [("versions", "true")]):
            for resource in page.items:
                if after is not None and not _is_after(resource.name, after):
                    continue
                if group and group[0].name != resource.name:
                    yield from _newest_first(group)
                    group = []
                group.append(resource)
        if group:
            yield from _newest_first(group)

    def _pages(self, prefix: str, after: str | None, query: Query) -> Iterator[Page]:
        client = self._client
        base = [("prefix", prefix)] if prefix else []
        # What is listed from is included by the service, and left out by those who ask for pages.
        base += [("startOffset", after)] if after else []
        base += [("maxResults", str(_PAGE)), ("fields", _FIELDS), *query]
        token: str | None = None
        while True:
            asked = base if token is None else [*base, ("pageToken", token)]
            response = client.expect(client.bucket_call("GET", "/o", asked), subject="bucket")
            client.bucket_seen = True
            page = decode_page(response.body)
            yield page
            if not page.next_page_token:
                return
            if page.next_page_token == token:
                raise IntegrityError("the server's listing goes round in a circle")
            token = page.next_page_token


def _limit(page: Page) -> str | None:
    """Up to where a page is complete; None for the last one."""
    if not page.next_page_token:
        return None
    names: Iterable[str] = [each.name for each in page.items] or page.prefixes
    return max(names, key=sort_key, default="")


def _newest_first(group: list[ObjectResource]) -> Iterator[ObjectInfo]:
    group.sort(key=lambda each: each.generation or 0, reverse=True)
    newest = group[0]
    if newest.time_deleted is not None:
        # The service keeps no mark of a deletion, only when it was.
        yield ObjectInfo(
            newest.name,
            modified=parse_timestamp(newest.time_deleted),
            version=f"{MARK}{newest.generation}",
            deleted=True,
        )
    yield from map(to_info, group)


def _is_after(name: str, other: str) -> bool:
    return sort_key(name) > sort_key(other)


def _in_order(last: str | None, name: str) -> str:
    if last is not None and not _is_after(name, last):
        raise IntegrityError("the server's listing is out of order")
    return name
