"""Many files at once: reading, storing, copying, moving and deleting them in batches, between machine and storages.

The first failure is raised and ends the rest, as everywhere in fsspec; what was done by then stays. Objects are whole or
not there, and so are the files of a download.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from mediagit_storage.attributes import guess_content_type
from mediagit_storage.backend import DEFAULT_LIMITS, Content, ReadOperation
from mediagit_storage.batch import Planned, Result, run_batch
from mediagit_storage.closable import closable
from mediagit_storage.errors import IntegrityError, InvalidKeyError, InvalidRangeError, NotFoundError, StorageError
from mediagit_storage.integrations.fsspec.pairs import Pair
from mediagit_storage.integrations.fsspec.places import Place
from mediagit_storage.integrations.fsspec.ranges import Part, Read
from mediagit_storage.keys import check_readable_key
from mediagit_storage.storage import Storage
from mediagit_storage.tools.copying import CopyRules, CopyTask, copy_objects, move_objects
from mediagit_storage.tools.outcomes import explained
from mediagit_storage.tools.threads import in_order
from mediagit_storage.transfer import replacing_file
from mediagit_storage.types import Attributes, Outcome, ReadOptions

__all__ = ["by_store", "check_inside", "copy_pairs", "get_pairs", "put_pairs", "read_parts", "read_whole", "suggested"]

T = TypeVar("T")

#: Files up to this many bytes are held whole and travel in batches.
_SMALL: Final = 1024 * 1024
#: Larger ones at once; each of them may come or go in several parts.
_STREAMS: Final = 4

#: Told of each pair that is done, and how many bytes it had, if known.
Done = Callable[[Pair, int | None], None]


def by_store(items: Iterable[T], place: Callable[[T], Place]) -> Iterator[tuple[Storage, list[tuple[Place, T]]]]:
    """The items of each storage, in their order."""
    groups: dict[int, tuple[Storage, list[tuple[Place, T]]]] = {}
    for item in items:
        found = place(item)
        groups.setdefault(id(found.store), (found.store, []))[1].append((found, item))
    yield from groups.values()


# ---- reading


def read_whole(paths: Sequence[str], place: Callable[[str], Place]) -> Iterator[tuple[str, bytes | Exception]]:
    """The bytes of each path or why there are none, storage by storage. Closing the iterator stops what is in flight."""
    for store, items in by_store(paths, place):
        with closing(closable(iter(store.get_many(each.key for each, _ in items)))) as outcomes:
            for (_, path), outcome in zip(items, outcomes, strict=True):
                yield path, _value(outcome)


def read_parts(store: Storage, reads: Sequence[Read]) -> Iterator[tuple[Part, bytes | Exception]]:
    """What each part of the reads holds, or why it is not known; a part past the end is empty."""

    def planned() -> Iterator[Planned]:
        for read in reads:
            try:
                check_readable_key(read.key)
            except StorageError as error:
                yield Planned(read.key, error)
                continue
            yield Planned(read.key, ReadOperation(read.key, ReadOptions(read.range, if_match=read.etag)))

    with closing(closable(run_batch(store.backend, planned(), DEFAULT_LIMITS))) as results:
        for read, result in zip(reads, results, strict=True):
            data = _data(result, store)
            for part in read.parts:
                yield part, data if isinstance(data, Exception) else part.of(data)


def _data(result: Result, store: Storage) -> bytes | Exception:
    if isinstance(result.value, Content):
        return result.value.data
    if isinstance(result.error, InvalidRangeError):
        return b""
    error = explained(result.error, "get", result.item.key, store)
    return error or StorageError("nothing was read", operation="get", key=result.item.key)


# ---- out of a storage


def check_inside(folder: str, pairs: Iterable[Pair]) -> None:
    """Refuse, before anything is written, a key whose ``..`` would lead out of the folder that was named."""
    root = os.path.normpath(folder)
    for pair in pairs:
        target = os.path.normpath(pair.target)
        if target != root and not target.startswith(root.rstrip("/") + "/"):
            raise InvalidKeyError(f"a file of this name would lie outside of {root}", operation="get", key=pair.source)


def get_pairs(
    pairs: Sequence[Pair], place: Callable[[str], Place], is_folder: Callable[[str], bool], done: Done
) -> None:
    """Fetch each object into its file. A source that turns out to be a folder becomes one here."""

    def fetch(item: tuple[Place, Pair]) -> tuple[Pair, int | None]:
        found, pair = item
        try:
            _make_parent(pair.target)
            return pair, found.store.download(found.key, pair.target, durability="none", resume=False).size
        except NotFoundError:
            if not is_folder(pair.source):
                raise
            Path(pair.target).mkdir(parents=True, exist_ok=True)
            return pair, None

    for store, items in by_store(pairs, lambda pair: place(pair.source)):
        small = [item for item in items if item[1].size is not None and item[1].size <= _SMALL]
        with closing(closable(iter(store.get_many(found.key for found, _ in small)))) as outcomes:
            for (_, pair), outcome in zip(small, outcomes, strict=True):
                data = _raised(outcome)
                _make_parent(pair.target)
                with replacing_file(Path(pair.target), durability="none") as file:
                    file.write(data)
                done(pair, len(data))
        others = [item for item in items if item[1].size is None or item[1].size > _SMALL]
        with closing(closable(in_order(others, fetch, _STREAMS))) as fetched:
            for pair, size in fetched:
                done(pair, size)


def _make_parent(path: str) -> None:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120  # once for each file


# ---- into a storage


def put_pairs(pairs: Sequence[Pair], place: Callable[[str], Place], *, if_absent: bool, done: Done) -> None:
    """Store each file, with the content type that its key suggests where the storage keeps one."""

    def send(item: tuple[Place, Pair]) -> tuple[Pair, int | None]:
        found, pair = item
        return pair, found.store.upload(pair.source, found.key, if_absent=if_absent).size

    for store, items in by_store(pairs, lambda pair: place(pair.target)):
        typed: dict[str | None, list[tuple[Place, Pair]]] = {}
        for item in items:
            if item[1].size is not None and item[1].size <= _SMALL:
                found = suggested(item[0])
                typed.setdefault(None if found is None else found.content_type, []).append(item)
        for kind, small in typed.items():
            contents = ((found.key, _read(pair)) for found, pair in small)
            attributes = None if kind is None else Attributes(content_type=kind)
            batch = store.put_many(contents, attributes=attributes, if_absent=if_absent)
            with closing(closable(iter(batch))) as outcomes:
                for (_, pair), outcome in zip(small, outcomes, strict=True):
                    done(pair, _raised(outcome).size)
        others = [item for item in items if item[1].size is None or item[1].size > _SMALL]
        with closing(closable(in_order(others, send, _STREAMS))) as sent:
            for pair, size in sent:
                done(pair, size)


def _read(pair: Pair) -> bytes:
    """A small file, whole; an `IntegrityError` where it is not of the size that it was."""
    with Path(pair.source).open("rb") as file:
        data = file.read(_SMALL + 1)
    if len(data) != pair.size:
        raise IntegrityError("the file changed while it was read", operation="put", key=pair.source)
    return data


def suggested(place: Place) -> Attributes | None:
    """The attributes that a file gets there without being told any: the content type of its name, if one is kept."""
    if "content_type" not in place.store.capabilities.attributes:
        return None
    kind = guess_content_type(place.key)
    return None if kind is None else Attributes(content_type=kind)


# ---- within storages


def copy_pairs(
    pairs: Sequence[Pair], place: Callable[[str], Place], *, move: bool = False, missing_ok: bool = False
) -> None:
    """Copy each object, or move it, on the server where that can; also from one storage to another.

    ``missing_ok`` leaves out what is not there.
    """
    change = move_objects if move else copy_objects
    groups: dict[tuple[int, int], list[tuple[Place, Place, Pair]]] = {}
    for pair in pairs:
        here, there = place(pair.source), place(pair.target)
        groups.setdefault((id(here.store), id(there.store)), []).append((here, there, pair))
    for group in groups.values():
        tasks = [CopyTask(here.key, there.key, pair.size) for here, there, pair in group]
        with closing(change(group[0][0].store, group[0][1].store, tasks, CopyRules())) as outcomes:
            for copied in outcomes:
                if copied.error is not None and not (missing_ok and isinstance(copied.error, NotFoundError)):
                    raise copied.error


def _raised(outcome: Outcome[T]) -> T:
    if outcome.value is None:
        raise outcome.error or StorageError("the storage gave no answer", key=outcome.key)
    return outcome.value


def _value(outcome: Outcome[bytes]) -> bytes | Exception:
    if outcome.value is not None:
        return outcome.value
    return outcome.error or StorageError("the storage gave no answer", key=outcome.key)
