"""`LocalBackend`: objects as files of one folder, with the promises of a storage. See the modules beside it for how."""

from __future__ import annotations

import os as _os
import sys as _sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from errno import ELOOP, ENOENT, ENOTDIR, EXDEV
from stat import S_ISREG
from typing import Final, NoReturn, TypeAlias
from urllib.parse import quote

from mediagit_storage.backend import (
    BatchLimits,
    Body,
    Completion,
    Content,
    Operation,
    PutOperation,
    ReadOperation,
    StatOperation,
    StorageBackend,
)
from mediagit_storage.backends.local.attributes import KEPT, XATTR, decode_attributes, encode_attributes
from mediagit_storage.backends.local.batch import GROUP_BYTES, GroupBounds, PutGroup, StagedPut, run_batch
from mediagit_storage.backends.local.body import LocalBody, read_span
from mediagit_storage.backends.local.checks import findings
from mediagit_storage.backends.local.commit import UNCONDITIONAL, Condition, Publisher, etag_of
from mediagit_storage.backends.local.config import Durability, LayoutName, LocalConfig
from mediagit_storage.backends.local.folder import RootFolder
from mediagit_storage.backends.local.layout import layout_named
from mediagit_storage.backends.local.listing import Walker, info_of, modified_of
from mediagit_storage.backends.local.moving import MoveGroups
from mediagit_storage.backends.local.osfs import SYSTEM, OperatingSystem, shut
from mediagit_storage.backends.local.parts import LocalPart, open_part
from mediagit_storage.backends.local.staging import Staged, Staging
from mediagit_storage.backends.local.translate import ABSENT, NO_XATTR_HERE, translate
from mediagit_storage.backends.local.tree import Tree
from mediagit_storage.backends.local.writing import Writer
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.clock import SYSTEM_CLOCK, Clock, utc_from_ns
from mediagit_storage.conditions import check_conditions
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    ConfigError,
    InvalidKeyError,
    NotFoundError,
    PreconditionError,
    StorageError,
    UnsupportedError,
)
from mediagit_storage.facets import BatchMoving, KeptPart, PositionalWriting, Relocated, Relocation
from mediagit_storage.keys import sort_key
from mediagit_storage.ranges import resolve_range
from mediagit_storage.scope import current_scope
from mediagit_storage.source import Source
from mediagit_storage.types import (
    WHOLE,
    Attributes,
    ConnectionInfo,
    CopyOptions,
    DeleteOptions,
    Entry,
    Finding,
    ListOptions,
    ObjectInfo,
    PendingUpload,
    PutOptions,
    ReadOptions,
)

__all__ = ["LocalBackend"]

# Within the class `list` is the method.
_List: TypeAlias = list

#: Temporary files older than this, whose writer is gone, are removed at the first write. In seconds.
_STALE_AFTER: Final = 3600.0


class LocalBackend(StorageBackend, BatchMoving, PositionalWriting):
    """One folder of the local file system as a storage; safe for any number of threads and processes at once.

    A put writes a temporary file on the same file system, syncs it, renames it into place and syncs the folder (see
    `Publisher`); ``durability="none"`` leaves the syncs out, ``"batch"`` groups them within `batch`. Nothing outside
    of the folder is ever reached, whatever keys say and whoever swaps links meanwhile; symbolic links inside are no
    objects unless ``follow_symlinks``. The folder has to exist, or be made with `create`.

    ``os`` and ``clock`` are the seams for tests; ``stale_after`` is the age in seconds at which an abandoned temporary
    file is swept.
    """

    def __init__(
        self,
        path: str | _os.PathLike[str],
        *,
        layout: LayoutName = "plain",
        durability: Durability = "full",
        follow_symlinks: bool = False,
        file_mode: int = 0o600,
        folder_mode: int = 0o700,
        os: OperatingSystem = SYSTEM,
        clock: Clock = SYSTEM_CLOCK,
        stale_after: float = _STALE_AFTER,
    ) -> None:
        if _sys.getfilesystemencoding() != "utf-8":
            raise ConfigError(
                "this Python does not write the names of files in UTF-8, so that keys would not be what they should;"
                " start it with PYTHONUTF8=1, or in a UTF-8 locale"
            )
        given = LocalConfig(_os.fspath(path), layout, durability, follow_symlinks, file_mode, folder_mode)
        self._config = given
        self._root = _os.path.abspath(given.path)  # noqa: PTH100  # no Path: it would change what it was given
        self._os = os
        self._clock = clock
        self._layout = layout_named(layout)
        self._split = self._layout.split
        self._durable = durability != "none"
        self._tree = Tree(os, self._root, follow_symlinks=follow_symlinks, folder_mode=folder_mode)
        self._staging = Staging(os, self._tree, file_mode=file_mode)
        self._writer = Writer(os, clock)
        self._publisher = Publisher(os, self._tree, clock, durable=self._durable)
        self._walker = Walker(os, self._tree, self._layout)
        self._folder = RootFolder(
            os,
            self._tree,
            self._layout,
            staging=self._staging,
            writer=self._writer,
            publisher=self._publisher,
            clock=clock,
            stale_after=stale_after,
        )
        self._capabilities = Capabilities(
            if_absent=True,
            if_match=True,
            delete_if_match=True,
            read_conditions=True,
            copy_if_absent=True,
            attributes=KEPT,
            server_copy=True,
            server_rename=True,
            batch=True,
            pending_uploads=True,
            late_metadata=True,
            raw_keys=self._layout.any_key,
            nested_keys=self._layout.any_key,
        )

    @classmethod
    def from_config(cls, config: LocalConfig) -> LocalBackend:
        """The backend that a configuration describes."""
        return cls(
            config.path,
            layout=config.layout,
            durability=config.durability,
            follow_symlinks=config.follow_symlinks,
            file_mode=config.file_mode,
            folder_mode=config.folder_mode,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = _os.environ) -> LocalBackend:
        """The folder that the environment variable ``MGS_LOCAL_PATH`` names; `ConfigError` if it is not set."""
        path = environ.get("MGS_LOCAL_PATH")
        if not path:
            raise ConfigError("the environment variable MGS_LOCAL_PATH is not set; it should name the storage's folder")
        return cls(path)

    @property
    def capabilities(self) -> Capabilities:
        """Everything but versions, retention, presigned links and storage classes; any key in the sharded layout."""
        return self._capabilities

    @property
    def description(self) -> str:
        """The folder as a ``file://`` URL."""
        return "file://" + quote(_os.fsencode(self._root))

    def connection_info(self) -> ConnectionInfo:
        """The absolute path and the options that are not the default ones."""
        default = LocalConfig(self._root)
        options = ("layout", "durability", "follow_symlinks", "file_mode", "folder_mode")
        changed = {
            name: getattr(self._config, name)
            for name in options
            if getattr(self._config, name) != getattr(default, name)
        }
        return ConnectionInfo("file", {"path": self._root, **changed})

    def __reduce__(self) -> tuple[object, ...]:
        """A pickle leads to the same folder; an injected operating system or clock stays here."""
        return (type(self).from_config, (replace(self._config, path=self._root),))

    # ---- writing

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """Store all of ``source``; visible, complete and (unless durability is none) on disk once this returns."""
        current_scope().check()
        names = self._split(key)
        staged = self._stage(names)
        try:
            found = self._write(staged, key, source, options, sync=self._durable)
            self._publish(staged, names, _condition(options))
        except BaseException:
            staged.discard()
            raise
        return info_of(key, found)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """Copy a file within the kernel (sharing its blocks where the file system can), then place it like a put."""
        current_scope().check()
        names = self._split(target)
        origin, seen = self._open_object(source)
        try:
            options.require(etag_of(seen))
            staged = self._stage(names)
            try:
                self._copy_into(staged, origin, options.attributes)
                found = self._seal(staged, sync=self._durable)
                self._publish(staged, names, Condition(options.if_absent))
            except BaseException:
                staged.discard()
                raise
        finally:
            shut(self._os, origin)
        return info_of(target, found)

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """Give the file another name in one step; its content, attributes, time stamp and etag stay what they are."""
        current_scope().check()
        names = self._split(target)
        if source == target:
            info = self.stat(source)
            if if_absent:
                raise AlreadyExistsError("the object is there already, under the name it is to get")
            info.attributes = None
            return info
        old_names = self._names_to_read(source)
        try:
            self._folder.prepare_writing(names)
            return info_of(target, self._publisher.move(old_names, names, if_absent=if_absent))
        except BucketNotFoundError:
            raise
        except NotFoundError:
            if not self._config.follow_symlinks:
                raise
            # A link: what it leads to is copied, because a relative link would lead elsewhere from its new place.
            info = self.copy(source, target, CopyOptions(if_absent=if_absent))
            self.delete(source, DeleteOptions())
            return info
        except StorageError:
            raise
        except OSError as error:
            if error.errno in {ENOENT, ENOTDIR, ELOOP}:
                self._raise_absent()
            raise translate(error) from error

    def move_batch(self, operations: Iterator[Relocation]) -> Iterator[Relocated]:
        """Renames that share their syncs, group by group; none is told of before it is durable."""
        groups = MoveGroups(
            self._os,
            self._tree,
            self._clock,
            self._publisher,
            names=self._names_to_move,
            info=info_of,
            durable=self._durable,
        )
        return groups.run(operations, lambda each: self.rename(each.source, each.target, if_absent=each.if_absent))

    def keep_part(self, key: str, name: str) -> KeptPart | None:
        """An unfinished file among the temporary ones, listed by `pending_uploads` as long as it is there."""
        current_scope().check()
        names = self._split(key)

        def place(staged: Staged, attributes: Attributes | None, if_absent: bool) -> ObjectInfo:  # noqa: FBT001
            self._writer.set_attributes(staged, attributes)
            self._writer.unname(staged)
            found = self._seal(staged, sync=self._durable)
            self._publish(staged, names, Condition(if_absent))
            return info_of(key, found)

        try:
            self._folder.prepare_writing(names)
            staged = open_part(self._staging, name)
        except StorageError:
            raise
        except OSError as error:
            raise translate(error) from error
        if staged is None:
            return None
        self._writer.name(staged, key)
        return LocalPart(staged, place)

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Remove the file and sync its folder, then remove the folders that this left empty."""
        current_scope().check()
        try:
            names = self._names_to_read(key)
            self._folder.prepare_writing(names, needs_room=False)
            gone = self._publisher.remove(names, options.if_match)
        except BucketNotFoundError:
            raise
        except NotFoundError:
            gone = False
        except StorageError:
            raise
        except OSError as error:
            if error.errno not in ABSENT:
                raise translate(error) from error
            gone = False
        if not gone:
            self._missing(options)

    # ---- reading

    def read(self, key: str, options: ReadOptions) -> Content:
        """The object or a part of it, from one opened file: one version, whatever is written meanwhile."""
        current_scope().check()
        descriptor, found = self._open_object(key)
        try:
            self._refuse_unsized(descriptor, found)
            info = self._info(key, descriptor, found)
            if options.if_match is not None or options.if_none_match is not None:
                check_conditions(info.etag, options)
            size = found.st_size
            start, length = (0, size) if options.range is WHOLE else resolve_range(options.range, size)
            return Content(info, read_span(self._os, descriptor, start, length), start)
        except StorageError:
            raise
        except OSError as error:
            raise translate(error) from error
        finally:
            shut(self._os, descriptor)

    def stream(self, key: str, options: ReadOptions) -> Body:
        """Like `read`, in pieces of 1 MiB; the opened file is closed at the end, by `close`, or when it is dropped."""
        current_scope().check()
        descriptor, found = self._open_object(key)
        try:
            self._refuse_unsized(descriptor, found)
            info = self._info(key, descriptor, found)
            check_conditions(info.etag, options)
            return LocalBody(self._os, descriptor, info, resolve_range(options.range, found.st_size))
        except StorageError:
            shut(self._os, descriptor)
            raise
        except OSError as error:
            shut(self._os, descriptor)
            raise translate(error) from error

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """Size, time, etag and attributes of the file."""
        current_scope().check()
        descriptor, found = self._open_object(key)
        try:
            return self._info(key, descriptor, found)
        finally:
            shut(self._os, descriptor)

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """All objects in order, folder by folder; memory is bounded by the names of the largest folder."""
        self._folder.prepare_reading()
        for entry in self._walker.walk(prefix, options.start_after, level=False):
            if isinstance(entry, ObjectInfo):
                yield entry

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One level; a folder is shown if at least one object is below it."""
        self._folder.prepare_reading()
        yield from self._walker.walk(prefix, options.start_after, level=True)

    # ---- the rest

    def batch(self, operations: Iterator[Operation | None], limits: BatchLimits) -> Iterator[Completion]:
        """One operation after the other; with durability batch the puts share their syncs, group by group.

        A completed put of a group is as durable as one with durability full: completions come after the syncs.
        """
        group: PutGroup | None = None
        if self._config.durability == "batch":
            bounds = GroupBounds(size=min(GROUP_BYTES, limits.buffer_bytes))
            group = PutGroup(self._os, self._tree, self._clock, self._stage_put, bounds)
        return run_batch(operations, self._perform, group)

    def create(self, *, versioning: bool | None = None) -> None:
        """Make the folder, with its parents, each synced into its parent; one that is there already is fine."""
        if versioning:
            self._refuse("versions")
        self._folder.create(durable=self._durable)

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Temporary files, the longest untouched first.

        A large upload names its key; small ones are over too soon to be worth naming: their key is ``""``, and they
        are listed under the prefix ``""`` only. ``started`` is when one was last written to.
        """
        try:
            found = sorted(self._staging.leftovers(), key=lambda leftover: leftover.modified_ns)
        except OSError as error:
            raise translate(error) from error
        uploads = [
            PendingUpload(each.key, each.name, utc_from_ns(each.modified_ns), each.size)
            for each in found
            if each.key.startswith(prefix)
        ]
        yield from sorted(uploads, key=lambda upload: sort_key(upload.key))

    def abort_upload(self, upload: PendingUpload) -> None:
        """Remove a temporary file. One whose writer is still at work is left, with an `UnavailableError`."""
        try:
            self._staging.remove(upload.id)
        except StorageError:
            raise
        except OSError as error:
            raise translate(error) from error

    def check(self) -> Iterable[Finding]:
        """The root, its free space, and what its file system can do."""
        return findings(self._os, self._tree, self._folder, self._staging)

    def close(self) -> None:
        """Free the descriptor that is held, and remove the private folder if nothing is in it."""
        self._staging.close(remove=True)

    # ---- parts of the above; `batch` uses some of them too

    def _stage(self, names: _List[str]) -> Staged:
        try:
            self._folder.prepare_writing(names)
            return self._staging.create()
        except StorageError:
            raise
        except OSError as error:
            raise translate(error) from error

    def _write(self, staged: Staged, key: str, source: Source, options: PutOptions, *, sync: bool) -> _os.stat_result:
        early = options.attributes is not None and bool(options.attributes.named())
        # First, also where others come late: attributes that do not fit are refused before the source is read.
        self._writer.set_attributes(staged, options.attributes)
        self._writer.fill(staged, source, key)
        if options.late_attributes is not None:
            late = options.late_attributes()
            if early or late.named():
                self._writer.set_raw_attributes(staged, encode_attributes(late))
        return self._seal(staged, sync=sync)

    def _perform(self, operation: Operation) -> Content | ObjectInfo | None:
        """One operation of a batch, by itself."""
        if isinstance(operation, ReadOperation):
            return self.read(operation.key, operation.options)
        if isinstance(operation, PutOperation):
            return self.put(operation.key, operation.source, operation.options)
        if isinstance(operation, StatOperation):
            return self.stat(operation.key, operation.version)
        self.delete(operation.key, operation.options)
        return None

    def _stage_put(self, operation: PutOperation) -> StagedPut:
        """The first half of a put: everything but its name, and nothing synced."""
        names = self._split(operation.key)
        condition = _condition(operation.options)
        staged = self._stage(names)
        try:
            found = self._write(staged, operation.key, operation.source, operation.options, sync=False)
        except BaseException:
            staged.discard()
            raise
        return StagedPut(
            operation,
            info_of(operation.key, found),
            staged,
            lambda staged, durable: self._publish(staged, names, condition, durable=durable),
        )

    def _seal(self, staged: Staged, *, sync: bool) -> _os.stat_result:
        try:
            return self._writer.seal(staged, sync=sync)
        except OSError as error:
            raise translate(error) from error

    def _publish(self, staged: Staged, names: _List[str], condition: Condition, *, durable: bool | None = None) -> None:
        try:
            self._publisher.publish(staged, names, condition, durable=durable)
        except StorageError:
            raise
        except OSError as error:
            if error.errno == EXDEV:
                self._staging.reopen()
            raise translate(error) from error

    def _copy_into(self, staged: Staged, origin: int, attributes: Attributes | None) -> None:
        if staged.descriptor is not None:
            self._writer.copy_file(origin, staged.descriptor)
        if attributes is not None:
            self._writer.set_attributes(staged, attributes)
            return
        raw = self._raw_attributes(origin)
        if raw is not None:
            self._writer.set_raw_attributes(staged, raw)

    def _names_to_read(self, key: str) -> _List[str]:
        """Like splitting, where a key that cannot be held is one that is not there."""
        if not self._folder.readable:
            self._folder.prepare_reading()
        try:
            return self._split(key)
        except InvalidKeyError:
            self._raise_absent()

    def _names_to_move(self, operation: Relocation) -> tuple[_List[str], _List[str]] | None:
        """Where a file is and where it goes; None where a move is more than another name."""
        names = self._split(operation.target)
        if operation.source == operation.target or self._config.follow_symlinks:
            return None
        source = self._names_to_read(operation.source)
        self._folder.prepare_writing(names)
        return source, names

    def _open_object(self, key: str) -> tuple[int, _os.stat_result]:
        """The open file of an object and its status; `NotFoundError` for whatever is no plain file."""
        names = self._names_to_read(key)
        try:
            descriptor = self._tree.open_file(names)
        except StorageError:
            raise
        except OSError as error:
            if error.errno in ABSENT:
                self._raise_absent()
            raise translate(error) from error
        try:
            found = self._os.fstat(descriptor)
        except OSError as error:
            shut(self._os, descriptor)
            raise translate(error) from error
        if not S_ISREG(found.st_mode):
            shut(self._os, descriptor)
            self._raise_absent()
        return descriptor, found

    def _info(self, key: str, descriptor: int, found: _os.stat_result) -> ObjectInfo:
        try:
            attributes = decode_attributes(self._os.getxattr(descriptor, XATTR))
        except OSError as error:
            if error.errno not in NO_XATTR_HERE:
                raise translate(error) from error
            attributes = _NO_ATTRIBUTES
        size = found.st_size
        return ObjectInfo(key, size, size, modified_of(found.st_mtime_ns), etag_of(found), None, attributes)

    def _refuse_unsized(self, descriptor: int, found: _os.stat_result) -> None:
        """Not to be taken for empty: a file that says it is, and gives bytes, as those below /proc do."""
        if not found.st_size and self._os.pread(descriptor, 1, 0) and not self._os.fstat(descriptor).st_size:
            raise UnsupportedError(
                "the system makes this file up as it is read and tells no size; `mgs put` can store it"
            )

    def _raw_attributes(self, descriptor: int) -> bytes | None:
        try:
            return self._os.getxattr(descriptor, XATTR)
        except OSError as error:
            if error.errno in NO_XATTR_HERE:
                return None
            raise translate(error) from error

    def _raise_absent(self) -> NoReturn:
        """Absence of an object is proven only where the root is there."""
        try:
            exists = self._tree.root_exists()
        except OSError as error:
            raise translate(error) from error
        if not exists:
            raise self._tree.missing_root()
        raise NotFoundError("no such object")

    def _missing(self, options: DeleteOptions) -> None:
        """What a delete of an object that is not there comes to."""
        try:
            self._raise_absent()
        except BucketNotFoundError:
            raise
        except NotFoundError:
            if options.if_match is not None:
                raise PreconditionError("if_match does not hold: there is no object") from None
            if not options.missing_ok:
                raise


_NO_ATTRIBUTES: Final = Attributes()


def _condition(options: PutOptions) -> Condition:
    if options.if_absent or options.if_match is not None:
        return Condition(options.if_absent, options.if_match)
    return UNCONDITIONAL
