"""`MgsFileSystem`: the face that fsspec knows, over `Storage`. What it promises is the storage's; the names are fsspec's."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from glob import has_magic
from pathlib import Path
from typing import Final, Literal, TypeAlias

from fsspec.compression import compr  # type: ignore[import-untyped]
from fsspec.core import get_compression  # type: ignore[import-untyped]
from fsspec.utils import stringify_path  # type: ignore[import-untyped]

from mediagit_storage.closable import closable
from mediagit_storage.errors import AlreadyExistsError, ConfigError, UnsupportedError
from mediagit_storage.integrations.fsspec.callbacks import DEFAULT_CALLBACK, Callback, reported, step
from mediagit_storage.integrations.fsspec.files import Encoder, MgsReader, MgsTextWriter, MgsWriter
from mediagit_storage.integrations.fsspec.listing import known_size, tree
from mediagit_storage.integrations.fsspec.pairs import Pair, Pairs
from mediagit_storage.integrations.fsspec.places import Place, Places, ProfilePlaces, StoragePlaces, open_url
from mediagit_storage.integrations.fsspec.reading import Reading
from mediagit_storage.integrations.fsspec.transactions import WholeTransaction
from mediagit_storage.integrations.fsspec.transfers import by_store, copy_pairs, put_pairs, suggested
from mediagit_storage.keys import KeyRules
from mediagit_storage.opening import LayerSpec
from mediagit_storage.options import OptionValue
from mediagit_storage.storage import Storage
from mediagit_storage.types import JSON, Attributes, BytesLike, ConnectionInfo

__all__ = ["MgsFileSystem"]

PutMode: TypeAlias = Literal["overwrite", "create"]

_PIECE: Final = 1024 * 1024


class MgsFileSystem(Reading):
    """Any storage with its layers as a filesystem of fsspec. Thread-safe; works after a fork, and pickled by reference.

    Without arguments the first segment of a path names a profile: ``mgs://media/a/b.parquet`` is ``a/b.parquet`` in the
    profile ``media``. With one of ``storage``, ``root`` (what `open_storage` takes, with its ``options``, ``layers``,
    ``keys`` and ``pickle_secrets``) or ``connection`` (the JSON of a `ConnectionInfo`) it is this one storage, and
    ``mgs://a/b.parquet`` the key ``a/b.parquet`` in it. A storage that is handed in is not closed here.

    Folders are what keys begin with: making one does nothing, and an empty one is not there. Listings are never kept, so
    what another program stored is seen at once. Errors are those of the storage, each also the builtin that fsspec's
    users expect (`FileNotFoundError`, `FileExistsError`, `PermissionError`, `TimeoutError`).
    """

    protocol = "mgs"
    root_marker = ""

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        root: str | os.PathLike[str] | None = None,
        connection: Mapping[str, JSON] | None = None,
        options: Mapping[str, OptionValue] | None = None,
        layers: Sequence[LayerSpec] = (),
        keys: KeyRules = "strict",
        pickle_secrets: bool = False,
        use_listings_cache: bool = False,
        asynchronous: bool = False,
    ) -> None:
        super().__init__()
        if use_listings_cache:
            raise ConfigError("listings are not kept: they would hide what others store")
        if sum(each is not None for each in (storage, root, connection)) > 1:
            raise ConfigError("name the storage once: by storage, root or connection")
        named = ConnectionInfo.from_json(connection) if connection is not None else root
        if named is None and (options or layers):
            raise ConfigError("options and layers belong to a root; those of a profile are written into the profile")
        self.asynchronous = asynchronous  # some ask; it changes nothing
        self._keys: KeyRules = keys
        self._places: Places
        if storage is not None:
            self._places = StoragePlaces(storage)
            self._keys = storage._keys  # noqa: SLF001  # the one thing that its connection info leaves out
        elif named is not None:
            opened = open_url(named, options=options or {}, layers=layers, keys=keys, pickle_secrets=pickle_secrets)
            self._places = StoragePlaces(opened)
        else:
            self._places = ProfilePlaces(keys)
        self._token = self._stable_token() or secrets.token_hex(16)

    # ---- identity

    def _stable_token(self) -> str | None:
        """The same for each filesystem that leads to the same, in all threads and processes; None where no text does."""
        connection = self._places.connection()
        if connection is None:
            return None
        return hashlib.sha256(json.dumps([connection, self._keys], sort_keys=True).encode()).hexdigest()[:32]

    @property
    def _fs_token(self) -> str:
        """What equality, hashes and dask go by."""
        return self._token

    @property
    def fsid(self) -> str:
        """Where it is, for comparisons across sessions."""
        return self._places.description()

    def __repr__(self) -> str:
        return f"<MgsFileSystem {self._places.description()}>"

    def __reduce__(self) -> tuple[object, ...]:
        connection = self._places.connection()
        if connection is None and isinstance(self._places, StoragePlaces):
            # It knows itself whether it may be pickled, and says why not.
            return (_over, (type(self), self._places.store))
        return (_connected, (type(self), connection, self._keys))

    def to_dict(self, *, include_password: bool = True) -> dict[str, JSON]:
        """What `from_dict` makes an equal filesystem of: references to secrets, never secrets.

        A `ConfigError` where that cannot be said: a storage of this process alone, or one with a literal secret.
        """
        connection = self._places.connection()
        if connection is None:
            raise ConfigError("no text can say how to open this storage: it is in memory, or was given a secret itself")
        kind = type(self)
        told: dict[str, JSON] = {"cls": f"{kind.__module__}:{kind.__name__}", "protocol": "mgs", "args": []}
        if connection:
            told["connection"] = dict(connection)
        if self._keys != "strict":
            told["keys"] = self._keys
        return told

    # ---- writing

    def pipe_file(
        self, path: str, value: BytesLike, mode: PutMode = "overwrite", attributes: Attributes | None = None
    ) -> None:
        """Store an object, all of it or nothing. ``mode="create"`` writes only a new one (`AlreadyExistsError`)."""
        place = self._object(path)
        if self._intrans:
            self._write_later(path, [value], mode, attributes)
        else:
            place.store.put(place.key, value, attributes=attributes, if_absent=_creates(mode))

    def pipe(
        self,
        path: str | Mapping[str, BytesLike],
        value: BytesLike | None = None,
        mode: PutMode = "overwrite",
        attributes: Attributes | None = None,
    ) -> None:
        """Store an object, or many at once given as ``{path: bytes}``; see `pipe_file`."""
        if isinstance(path, str):
            if value is None:
                raise TypeError("there is nothing to store: value is None")
            self.pipe_file(path, value, mode=mode, attributes=attributes)
            return
        if self._intrans:
            for name, content in path.items():
                self.pipe_file(name, content, mode=mode, attributes=attributes)
            return
        for store, items in by_store(path, self._object):
            contents = ((place.key, path[name]) for place, name in items)
            batch = store.put_many(contents, attributes=attributes, if_absent=_creates(mode))
            with closing(closable(iter(batch))) as outcomes:
                for outcome in outcomes:
                    if outcome.error is not None:
                        raise outcome.error

    def put_file(
        self,
        lpath: str | os.PathLike[str],
        rpath: str,
        callback: Callback = DEFAULT_CALLBACK,
        mode: PutMode = "overwrite",
        attributes: Attributes | None = None,
    ) -> None:
        """Store a file of this machine; large ones in parallel parts. A folder of this machine is nothing to store."""
        if os.path.isdir(lpath):  # noqa: PTH112  # fsspec's paths are text
            return
        place = self._object(rpath)
        if self._intrans:
            described = suggested(place) if attributes is None else attributes
            with Path(lpath).open("rb") as file:
                self._write_later(rpath, iter(partial(file.read, _PIECE), b""), mode, described)
            return
        with reported(callback):
            place.store.upload(lpath, place.key, attributes=attributes, if_absent=_creates(mode))

    def put(
        self,
        lpath: str | os.PathLike[str] | list[str],
        rpath: str | list[str],
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        mode: PutMode = "overwrite",
    ) -> None:
        """Store many files of this machine, small ones in batches; see `put_file`. Where they go is as in fsspec."""
        plan = Pairs(self._places, self)
        plan.put(stringify_path(lpath), rpath, recursive=recursive, maxdepth=maxdepth)
        callback.set_size(len(plan.pairs))
        if self._intrans:
            for pair in plan.pairs:
                self.put_file(pair.source, pair.target, mode=mode)
                step(callback, pair, pair.size)
            return
        put_pairs(plan.pairs, self._object, if_absent=_creates(mode), done=partial(step, callback))

    def touch(self, path: str, truncate: bool = True) -> None:
        """Make an empty object, in the place of what is there unless ``truncate`` is off; times cannot be changed."""
        place = self._object(path)
        try:
            self.pipe_file(path, b"", mode="overwrite" if truncate else "create")
        except AlreadyExistsError:
            raise UnsupportedError("an object's time cannot be changed", operation="touch", key=place.key) from None

    def _write_later(
        self, path: str, pieces: Iterable[BytesLike], mode: PutMode, attributes: Attributes | None
    ) -> None:
        """Write a file of the transaction that is going on."""
        with self.open(path, "xb" if _creates(mode) else "wb", attributes=attributes) as file:
            for piece in pieces:
                file.write(piece)  # type: ignore[arg-type]  # bytes, by the mode

    # ---- within storages

    def cp_file(self, path1: str, path2: str) -> None:
        """Copy an object with its attributes, on the server where it can; also to another profile."""
        copy_pairs([Pair(self._strip_protocol(path1), self._strip_protocol(path2))], self._object)

    def copy(
        self,
        path1: str | list[str],
        path2: str | list[str],
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: Literal["raise", "ignore"] | None = None,
    ) -> None:
        """Copy many objects concurrently; see `cp_file`. Which and where to is as in fsspec.

        ``on_error="ignore"``, the default where it is recursive, leaves out what is not there.
        """
        missing_ok = recursive if on_error is None else on_error == "ignore"
        copy_pairs(self._planned(path1, path2, recursive, maxdepth), self._object, missing_ok=missing_ok)

    def mv(
        self,
        path1: str | list[str],
        path2: str | list[str],
        recursive: bool = False,
        maxdepth: int | None = None,
    ) -> None:
        """Move objects: each is renamed where the storage can, else deleted once its copy is durable."""
        if path1 == path2:
            return
        pairs = self._planned(path1, path2, recursive, maxdepth)
        copy_pairs([each for each in pairs if each.source != each.target], self._object, move=True)
        if recursive:
            for each in [path1] if isinstance(path1, str) else path1:
                self._unmark(each)

    def _unmark(self, path: str) -> None:
        """Delete what marks empty folders below a path, now that what was in them is gone."""
        if has_magic(path):
            return
        place = self._place(path)
        left = [each.key for each in place.store.list(place.prefix)]
        if all(key.endswith("/") for key in left):
            _delete(place.store, left, missing_ok=True)

    def _planned(
        self,
        path1: str | list[str],
        path2: str | list[str],
        recursive: bool,  # of this class only
        maxdepth: int | None,
    ) -> list[Pair]:
        plan = Pairs(self._places, self)
        plan.copy(path1, path2, recursive=recursive, maxdepth=maxdepth)
        return [each._replace(target=self._strip_protocol(each.target)) for each in plan.pairs]

    def rm_file(self, path: str) -> None:
        """Delete one object; a missing one is a `NotFoundError`."""
        place = self._object(path)
        place.store.delete(place.key, missing_ok=False)

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete objects in as few requests as the storage allows; with ``recursive``, all that is below them too.

        What is not there is a `NotFoundError`, unless something below it was. Of a pattern, folders are left out.
        """
        plan = Pairs(self._places, self)
        named = [each for each in plan.named(path, folders=recursive) if recursive or not plan.listed_as_folder(each)]
        # Only with it a path may name the root of a storage.
        for store, items in by_store(named, self._place if recursive else self._object):
            explicit: list[str] = []
            below: list[str] = []
            for place, each in items:
                found = self._below(place, each, maxdepth) if recursive else []
                below += found
                if place.key:
                    (below if found else explicit).append(place.key)
            _delete(store, below, missing_ok=True)
            _delete(store, explicit, missing_ok=False)

    def _below(self, place: Place, path: str, depth: int | None) -> list[str]:
        """The keys below a place, those that mark folders as well."""
        if depth is None:
            return [each.key for each in place.store.list(place.prefix)]
        found = tree(self._places, path, depth=depth)
        return [name.removeprefix(place.lead) for name in found if name != path]

    # ---- transactions

    transaction_type = WholeTransaction

    def start_transaction(self) -> WholeTransaction:
        """Begin a transaction that `end_transaction` ends. One that is going on is a `ConfigError`."""
        self.transaction.start()
        return self.transaction  # type: ignore[no-any-return]  # of the type above

    # ---- open files

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: Mapping[str, object] | None = None,
        compression: str | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        autocommit: bool | None = None,
        cache_type: str | None = None,
        version: str | None = None,
        attributes: Attributes | None = None,
    ) -> MgsReader | MgsWriter | io.TextIOWrapper:
        """A file: ``r`` to read, ``w`` to write, ``x`` to write what is not there yet; with ``b`` or as text.

        Reading is as in `MgsReader`, writing as in `MgsWriter`: the object is stored when the file is closed, and not at
        all when the ``with`` block ends by an exception. ``x`` looks now and once more, atomically, when it stores.
        Appending is an `UnsupportedError`: objects are written whole. ``block_size``, ``cache_type`` and
        ``cache_options`` are hints to fsspec's caches, which are not needed here.
        """
        path = self._strip_protocol(path)
        plain = mode.replace("b", "").replace("t", "")
        if plain == "r":
            text = {"encoding": encoding, "errors": errors, "newline": newline} if "b" not in mode else {}
            return super().open(path, mode, compression=compression, version=version, **text)  # type: ignore[no-any-return]
        commits = not self._intrans if autocommit is None else autocommit
        kind = get_compression(path, compression)
        encoder = None if kind is None else partial(compr[kind], mode="w")
        file = self._writer(path, plain, commits=commits, encoder=encoder, attributes=attributes)
        if not commits:
            self.transaction.files.append(file)
        if "b" in mode:
            return file
        return MgsTextWriter(file, encoding=encoding, errors=errors, newline=newline)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: Mapping[str, object] | None = None,
        cache_type: str | None = None,
        version: str | None = None,
    ) -> MgsReader | MgsWriter:
        """A binary file, for `open` and for filesystems of fsspec's that are put over this one."""
        plain = mode.replace("b", "")
        if plain != "r":
            return self._writer(path, plain, commits=autocommit)
        place = self._object(path)
        return _reader(self, place, version)

    def _writer(
        self,
        path: str,
        mode: str,
        *,
        commits: bool,
        encoder: Callable[[object], Encoder] | None = None,
        attributes: Attributes | None = None,
    ) -> MgsWriter:
        if mode not in {"w", "x"}:
            raise UnsupportedError("objects are written whole: a mode is r, w or x", operation="open", key=path)
        place = self._object(path)
        if mode == "x" and place.store.exists(place.key):
            raise AlreadyExistsError("there is such an object", operation="open", key=place.key)
        upload = place.store.open(place.key, "wb", attributes=attributes, if_absent=mode == "x")
        return MgsWriter(self, place.path, upload, autocommit=commits, encoder=encoder)


def _connected(kind: type[MgsFileSystem], connection: Mapping[str, JSON] | None, keys: KeyRules) -> MgsFileSystem:
    """What was pickled by reference; fsspec knows it again where it has it already."""
    # As few words as there can be: fsspec knows an instance by them.
    words: dict[str, object] = {"connection": dict(connection)} if connection else {}
    if keys != "strict":
        words["keys"] = keys
    return kind(**words)  # type: ignore[arg-type]  # each is of its own type


def _over(kind: type[MgsFileSystem], storage: Storage) -> MgsFileSystem:
    return kind(storage=storage)


def _reader(fs: MgsFileSystem, place: Place, version: str | None) -> MgsReader:
    file = place.store.open(place.key, version=version)
    known_size(file.info)
    return MgsReader(fs, place.path, file, version)


def _creates(mode: PutMode) -> bool:
    if mode not in {"overwrite", "create"}:
        raise ValueError(f"mode is 'overwrite' or 'create', not {mode!r}")
    return mode == "create"


def _delete(store: Storage, keys: Sequence[str], *, missing_ok: bool) -> None:
    with closing(closable(iter(store.delete_many(keys, missing_ok=missing_ok)))) as outcomes:
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
