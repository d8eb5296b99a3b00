"""Walking through listings of a container: objects, one level, versions, and blocks that were never committed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, TypeAlias

from mediagit_storage.backends.azure.answers import ListPage, parse_list
from mediagit_storage.backends.azure.blocks import Blocks
from mediagit_storage.backends.azure.client import AzureClient
from mediagit_storage.backends.azure.config import VersionKind
from mediagit_storage.backends.azure.ordering import in_order
from mediagit_storage.backends.azure.shapes import SNAPSHOT, list_query
from mediagit_storage.errors import NotFoundError
from mediagit_storage.http.call import Call
from mediagit_storage.http.pages import fetched, walked
from mediagit_storage.keys import sort_key
from mediagit_storage.types import Entry, ListOptions, ObjectInfo, PendingUpload

__all__ = ["UNCOMMITTED", "Lister"]

#: What all blocks that wait under a key are called together: the service knows no uploads.
UNCOMMITTED: Final = "uncommitted-blocks"

# Within the class `list` is the method.
_List: TypeAlias = list


class Lister:
    """Lists one container. ``ordered`` False walks folder by folder; ``versions`` says what versions are."""

    def __init__(self, client: AzureClient, blocks: Blocks, *, ordered: bool, versions: VersionKind | None) -> None:
        self._client = client
        self._blocks = blocks
        self._ordered = ordered
        self._versions = versions

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """All objects under a prefix, sorted by the bytes of their keys. What is left out by ``start_after`` travels."""
        after = options.start_after
        if not self._client.address.holds_under(prefix):
            return
        if options.versions:
            yield from self._every_version(prefix, after)
        elif self._ordered:
            found = (each for page in self._pages(prefix) for each in page.objects)
            yield from (each for each in in_order(found, _key) if after is None or each.key > after)
        else:
            yield from walked(self._level, prefix, after)

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level, folders and objects sorted together."""
        after, last = options.start_after, None
        if not self._client.address.holds_under(prefix):
            return
        found: Iterator[Entry] = in_order(self._entries(prefix), _name) if self._ordered else self._level(prefix)
        for entry in found:
            name = _name(entry)
            # A folder may come at the end of a page and at the beginning of the next one.
            if name != last and (after is None or name > after):
                yield entry
            last = name

    def uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Keys where blocks wait and no object is; beside an object the service does not list them."""
        if not self._client.address.holds_under(prefix):
            return
        for page in self._pages(prefix, include="uncommittedblobs"):
            for each in page.objects:
                if not each.size and not self._blocks.is_object(each.key):
                    # Where the service tells no time it may be now.
                    yield PendingUpload(each.key, UNCOMMITTED, each.modified or datetime.now(UTC))

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """The same with its size."""
        blocks = self._blocks.uncommitted(upload.key)
        if not blocks:
            raise NotFoundError("no blocks wait under this key")
        return PendingUpload(upload.key, upload.id, upload.started, sum(size for _, size in blocks), upload.active)

    # ---- inside

    def _pages(self, prefix: str, *, one_level: bool = False, include: str | None = None) -> Iterator[ListPage]:
        def call(marker: str | None) -> Call:
            query = list_query(prefix, marker=marker, one_level=one_level, include=include)
            return self._client.container_call("GET", query)

        return fetched(
            self._client, call(None), parse_list, lambda page: None if page.marker is None else call(page.marker)
        )  # fmt: skip

    def _entries(self, prefix: str) -> Iterator[Entry]:
        for page in self._pages(prefix, one_level=True):
            # Objects and folders come in two lists.
            entries: _List[Entry] = [*page.objects, *page.folders]
            yield from sorted(entries, key=_name)

    def _level(self, prefix: str) -> Iterator[Entry]:
        found: dict[str, Entry] = {_name(each): each for each in self._entries(prefix)}
        # One that answers with the folder that was asked for would be walked for ever.
        return iter([found[name] for name in sorted(found, key=sort_key) if name != prefix or _is_object(found[name])])

    def _every_version(self, prefix: str, after: str | None) -> Iterator[ObjectInfo]:
        """Newest first for a key; with snapshots the object itself is the newest."""
        include = "snapshots" if self._versions == "snapshots" else "versions"
        found = in_order((each for page in self._pages(prefix, include=include) for each in page.objects), _key)
        for key, group in groupby(found, key=_key):
            if after is None or key > after:
                yield from sorted(group, key=_age, reverse=True)


def _key(info: ObjectInfo) -> str:
    return info.key


def _name(entry: Entry) -> str:
    return entry.key if isinstance(entry, ObjectInfo) else entry.prefix


def _is_object(entry: Entry) -> bool:
    return isinstance(entry, ObjectInfo)


def _age(info: ObjectInfo) -> tuple[bool, str]:
    version = info.version or ""
    return not version.startswith(SNAPSHOT), version
