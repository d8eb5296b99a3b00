"""Reading, as fsspec asks for it: single objects, many at once, and parts of them."""

from __future__ import annotations

import io
import os
from contextlib import closing
from functools import partial
from typing import Literal, TypeAlias

from fsspec.implementations.local import make_path_posix  # type: ignore[import-untyped]
from fsspec.utils import stringify_path  # type: ignore[import-untyped]

from mediagit_storage.closable import closable
from mediagit_storage.errors import ConfigError, InvalidRangeError
from mediagit_storage.integrations.fsspec.browsing import Browsing
from mediagit_storage.integrations.fsspec.callbacks import DEFAULT_CALLBACK, Callback, nothing, reported, step
from mediagit_storage.integrations.fsspec.listing import known_size
from mediagit_storage.integrations.fsspec.pairs import Pair, Pairs
from mediagit_storage.integrations.fsspec.ranges import GAP, Slice, byte_range, joined_reads
from mediagit_storage.integrations.fsspec.transfers import by_store, check_inside, get_pairs, read_parts, read_whole
from mediagit_storage.storage import Storage
from mediagit_storage.types import ObjectInfo

__all__ = ["Reading"]

OnError: TypeAlias = Literal["raise", "omit", "return"]


class Reading(Browsing):
    """Read what is stored, many objects side by side."""

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, version: str | None = None
    ) -> bytes:
        """The object's bytes, or ``data[start:end]`` of them. One request, or two where a negative ``end`` needs one.

        Both are of the same object: one that is replaced between them is a `PreconditionError`.
        """
        place = self._object(path)
        if start is None and end is None:
            return place.store.get(place.key, version=version)
        wanted = Slice(place.key, start, end)
        if wanted.needs_size:
            wanted = _resolved(place.store, wanted, place.store.stat(place.key, version=version))
        offset, length, suffix = byte_range(wanted)
        try:
            return place.store.get(
                place.key, offset=offset, length=length, suffix=suffix, version=version, if_match=wanted.etag
            )
        except InvalidRangeError:
            return b""  # it begins past the end, and would be empty as a slice

    def cat(
        self, path: str | list[str], recursive: bool = False, on_error: OnError = "raise"
    ) -> bytes | dict[str, bytes | Exception]:
        """The bytes of an object, or of many by path, fetched concurrently. A folder has none, but what is below it."""
        plan = Pairs(self._places, self)
        paths = [each for each in plan.named(path, folders=recursive) if recursive or not plan.listed_as_folder(each)]
        if recursive:
            # What has nothing below it is asked for itself, and is an error if it is not there.
            paths = sorted({each for found in paths for each in self.find(found) or [found]})
        if len(paths) == 1 and isinstance(path, str) and paths[0] == self._strip_protocol(path):
            return self.cat_file(paths[0])
        results: dict[str, bytes | Exception] = {}
        with closing(closable(read_whole(paths, self._object))) as found:
            for each, data in found:
                if isinstance(data, Exception) and on_error == "raise":
                    raise data
                if not isinstance(data, Exception) or on_error == "return":
                    results[each] = data
        return results

    def cat_ranges(
        self,
        paths: list[str],
        starts: list[int | None] | int | None,
        ends: list[int | None] | int | None,
        max_gap: int | None = None,
        on_error: OnError = "return",
    ) -> list[bytes | Exception]:
        """``data[start:end]`` of each path, fetched concurrently; those of one object that lie near each other in one.

        ``max_gap`` is how many bytes between two parts are rather read than left out, by default 64 KiB.
        """
        if not isinstance(paths, list):
            raise TypeError("the paths are a list")
        begins = starts if isinstance(starts, list) else [starts] * len(paths)
        finals = ends if isinstance(ends, list) else [ends] * len(paths)
        if not len(paths) == len(begins) == len(finals):
            raise ValueError("there is a start and an end for each path")
        results: list[bytes | Exception] = [b""] * len(paths)
        for store, items in by_store(range(len(paths)), lambda index: self._object(paths[index])):
            wanted = {index: Slice(place.key, begins[index], finals[index]) for place, index in items}
            self._resolve(store, wanted)
            for part, data in read_parts(store, joined_reads(wanted, GAP if max_gap is None else max_gap)):
                if isinstance(data, Exception) and on_error == "raise":
                    raise data
                results[part.number] = data
        return results

    @staticmethod
    def _resolve(store: Storage, wanted: dict[int, Slice]) -> None:
        """Look up the sizes that some parts need."""
        unknown = [index for index, each in wanted.items() if each.needs_size]
        with closing(closable(iter(store.stat_many(wanted[index].key for index in unknown)))) as outcomes:
            for index, outcome in zip(unknown, outcomes, strict=True):
                if outcome.value is not None:
                    wanted[index] = _resolved(store, wanted[index], outcome.value)
                else:
                    # The read that follows fails in the same way.
                    wanted[index] = Slice(wanted[index].key, None, None)

    def get_file(
        self,
        rpath: str,
        lpath: str | os.PathLike[str] | io.IOBase | None = None,
        callback: Callback = DEFAULT_CALLBACK,
        outfile: io.IOBase | None = None,
    ) -> None:
        """Fetch an object into a file, which appears only when it is complete, or into an open file.

        A folder becomes a folder. The operating system writes the file to the disk when it likes.
        """
        place = self._object(rpath)
        file = lpath if outfile is None and hasattr(lpath, "write") else outfile
        if file is not None:
            with place.store.stream(place.key) as stream:
                callback.set_size(stream.info.size)
                for piece in stream:
                    file.write(piece)
                    callback.relative_update(len(piece))
            return
        if lpath is None:
            raise ConfigError("name the file to write: lpath")
        with reported(callback):
            get_pairs([Pair(place.path, os.fspath(lpath))], self._object, self.isdir, nothing)  # type: ignore[arg-type]

    def get(
        self,
        rpath: str | list[str],
        lpath: str | os.PathLike[str] | list[str],
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
    ) -> None:
        """Fetch many objects into files, small ones in batches; see `get_file`. Where they go is as in fsspec.

        A key whose ``..`` would lead out of ``lpath`` is an `InvalidKeyError`, and nothing is written.
        """
        plan = Pairs(self._places, self)
        local = stringify_path(lpath)
        plan.get(rpath, local, recursive=recursive, maxdepth=maxdepth)
        if isinstance(local, str):
            check_inside(make_path_posix(local), [*plan.pairs, *(Pair(each, each) for each in plan.folders)])
        for folder in plan.folders:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103  # fsspec's paths are text
        callback.set_size(len(plan.pairs))
        get_pairs(plan.pairs, self._object, self.isdir, partial(step, callback))


def _resolved(store: Storage, wanted: Slice, info: ObjectInfo) -> Slice:
    """The part of this very object, where the storage can be held to it."""
    etag = info.etag if store.capabilities.read_conditions else None
    return wanted.resolved(known_size(info))._replace(etag=etag)
