"""The root folder as a whole: its format, what its file system makes of names, leftovers, and making it.

Each is looked at once per backend, so that it costs nothing afterwards.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from mediagit_storage.backends.local.commit import UNCONDITIONAL, Publisher
from mediagit_storage.backends.local.layout import FORMAT, PRIVATE, Layout
from mediagit_storage.backends.local.osfs import OperatingSystem, shut
from mediagit_storage.backends.local.staging import Staging
from mediagit_storage.backends.local.translate import translate
from mediagit_storage.backends.local.tree import Tree
from mediagit_storage.backends.local.writing import Writer
from mediagit_storage.clock import Clock
from mediagit_storage.errors import ConfigError, KeyConflictError, StorageError
from mediagit_storage.events import Event, emit
from mediagit_storage.types import JSON

__all__ = ["FORMAT_FILE", "RootFolder"]

#: Says which layout a sharded folder is in; a plain one has none.
FORMAT_FILE: Final = "format.json"

_LONGEST_FORMAT: Final = 4096
#: What a folder may hold besides ours and still count as empty: file systems put it at their top.
_NOT_OURS: Final = frozenset({PRIVATE, "lost+found"})


class RootFolder:
    """What has to be known about the root before the first read and the first write."""

    def __init__(
        self,
        system: OperatingSystem,
        tree: Tree,
        layout: Layout,
        *,
        staging: Staging,
        writer: Writer,
        publisher: Publisher,
        clock: Clock,
        stale_after: float,
    ) -> None:
        self._os = system
        self._tree = tree
        self._layout = layout
        self._staging = staging
        self._writer = writer
        self._publisher = publisher
        self._clock = clock
        self._stale_after = stale_after
        #: Whether the layout was checked already.
        self.readable = False
        self._writable = False
        self._merges_names = False

    def prepare_reading(self) -> None:
        """Check, the first time, that the folder is in the layout that it was opened with: else a `ConfigError`."""
        if self.readable:
            return
        try:
            if self._tree.root_exists():
                self._check_format()
                self.readable = True
        except StorageError:
            raise
        except OSError as error:
            raise translate(error) from error

    def prepare_writing(self, names: Sequence[str], *, needs_room: bool = True) -> None:
        """The first time: write the format file, sweep leftovers, see whether the file system tells names apart.

        Where it does not, refuse with a `KeyConflictError` what it would take for another name that is there.
        Without ``needs_room`` a disk that has none does not count: a delete may be what makes some. Raises `OSError`.
        """
        if not self._writable:
            self.prepare_reading()
            if needs_room:
                self._first_write()
            else:
                with suppress(OSError):
                    self._first_write()
        if self._merges_names:
            self._refuse_merged(names)

    def create(self, *, durable: bool) -> None:
        """Make the root and its missing parents, and the format file where the layout has one."""
        try:
            self._make(self._tree.root, durable=durable)
            self.prepare_reading()
            self._write_format()
        except StorageError:
            raise
        except OSError as error:
            raise translate(error) from error

    def merges_names(self) -> bool:
        """Whether the file system takes two names for one that differ by case or Unicode form only: tries it out."""
        staged = self._staging.create(ending="\N{LATIN SMALL LETTER E WITH ACUTE}")
        try:
            own = str(staged.name)
            for other in (own.swapcase(), unicodedata.normalize("NFD", own)):
                with suppress(FileNotFoundError):
                    self._os.stat(other, dir_fd=staged.folder, follow_symlinks=False)
                    return True
            return False
        finally:
            staged.discard()

    def _first_write(self) -> None:
        self._write_format()
        self._merges_names = self.merges_names()
        self._sweep()
        self._writable = True

    def _sweep(self) -> None:
        before = self._clock.now_ns() - int(self._stale_after * 1e9)
        # Housekeeping: what cannot be swept now must not keep anybody from writing.
        with suppress(OSError):
            removed = self._staging.sweep(before)
            if removed:
                emit(Event("local.swept", f"removed {removed} unfinished uploads of processes that are gone"))

    def _refuse_merged(self, names: Sequence[str]) -> None:
        for depth, name in enumerate(names):
            try:
                folder = self._tree.open_folder(names[:depth])
            except (FileNotFoundError, NotADirectoryError):
                return
            try:
                self._os.stat(name, dir_fd=folder, follow_symlinks=False)
                if name not in self._os.listdir(folder):
                    raise KeyConflictError(
                        f"this file system does not tell {name!r} from another name that is there already"
                        " (by upper and lower case or Unicode form); choose another key or another file system"
                    )
            except FileNotFoundError:
                return
            finally:
                shut(self._os, folder)

    def _check_format(self) -> None:
        found = self._read_format()
        if found is None:
            if self._layout.any_key and self._has_other_files():
                # Another process may have begun the storage between the two looks.
                found = self._read_format()
                if found is None:
                    raise ConfigError(
                        f"{self._tree.root!r} holds files that are not in the sharded layout; open it with"
                        ' layout="plain", or choose an empty folder'
                    )
            return
        layout, number = found.get("layout"), found.get("format")
        if layout != self._layout.name:
            raise ConfigError(f'{self._tree.root!r} is in the {layout} layout; open it with layout="{layout}"')
        if number != FORMAT:
            raise ConfigError(
                f"{self._tree.root!r} is in format {number} of the {layout} layout, this version knows {FORMAT};"
                " use a newer version of mediagit-storage"
            )

    def _read_format(self) -> dict[str, JSON] | None:
        try:
            descriptor = self._tree.open_file([PRIVATE, FORMAT_FILE])
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            raw = self._os.read(descriptor, _LONGEST_FORMAT)
        finally:
            shut(self._os, descriptor)
        try:
            document = json.loads(raw)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ConfigError(f"{PRIVATE}/{FORMAT_FILE} in {self._tree.root!r} is damaged; restore it from a backup")
        return document

    def _has_other_files(self) -> bool:
        root = self._tree.open_root()
        try:
            with self._os.scandir(root) as entries:
                return any(entry.name not in _NOT_OURS for entry in entries)
        finally:
            shut(self._os, root)

    def _write_format(self) -> None:
        """Write the format file where one belongs and is missing."""
        if not self._layout.any_key or self._read_format() is not None:
            return
        staged = self._staging.create()
        try:
            if staged.descriptor is not None:
                text = json.dumps({"format": FORMAT, "layout": self._layout.name})
                self._writer.write_all(staged.descriptor, text.encode("ascii") + b"\n")
            self._writer.seal(staged, sync=True)
            self._publisher.publish(staged, [PRIVATE, FORMAT_FILE], UNCONDITIONAL, durable=True)
            # The private folder's own name too: an object without the format file would look like a foreign folder.
            self._sync(self._tree.root)
        except BaseException:
            staged.discard()
            raise

    def _make(self, path: str, *, durable: bool) -> None:
        missing: list[str] = []
        while not self._exists(path):
            missing.append(path)
            path = os.path.dirname(path)  # noqa: PTH120  # the seam takes strings
        for each in reversed(missing):
            with suppress(FileExistsError):
                self._os.mkdir(each, self._tree.folder_mode)
            if durable:
                self._sync(os.path.dirname(each))  # noqa: PTH120  # as above

    def _exists(self, path: str) -> bool:
        try:
            self._os.stat(path)
        except FileNotFoundError:
            return False
        return True

    def _sync(self, path: str) -> None:
        descriptor = self._os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._os.fsync(descriptor)
        finally:
            shut(self._os, descriptor)
