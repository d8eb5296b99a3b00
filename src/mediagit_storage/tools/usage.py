"""Counting objects and bytes by folder, from one pass over a sorted listing: memory does not grow with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mediagit_storage.types import ObjectInfo

__all__ = ["Usage", "count_usage"]


@dataclass(slots=True)
class Usage:
    """What is in a folder: objects and their bytes; ``unsized`` of them did not tell a size, and count as none."""

    folder: str
    objects: int = 0
    size: int = 0
    unsized: int = 0

    def add(self, info: ObjectInfo) -> None:
        """One more object."""
        self.objects += 1
        if info.size is None:
            self.unsized += 1
        else:
            self.size += info.size


def count_usage(infos: Iterable[ObjectInfo], folder: str = "", depth: int = 0) -> Iterator[Usage]:
    """Each folder below ``folder`` down to ``depth``, as soon as it is counted, and ``folder`` itself last.

    ``infos`` are what is in ``folder``, sorted by key, so that what a folder has comes together; one key may be the
    folder's own name. What is held in memory are the counts of the folders on the way to the object of the moment.
    """
    start = len(folder) + 1 if folder and not folder.endswith("/") else len(folder)
    total, open_folders = Usage(folder), list[Usage]()
    for info in infos:
        total.add(info)
        if not depth:
            continue
        key = info.key
        while open_folders and not key.startswith(open_folders[-1].folder):
            yield open_folders.pop()
        end = len(open_folders[-1].folder) if open_folders else start
        while len(open_folders) < depth and (end := key.find("/", end) + 1):
            open_folders.append(Usage(key[:end]))
        for each in open_folders:
            each.add(info)
    yield from reversed(open_folders)
    yield total
