"""URLs and targets: what the text means that names a storage, or a storage and a key. No I/O but an injected look.

===================================  ==================================================================
``scheme://authority/path?option=``  a URL; its path is percent-decoded once
``name:key``                         the profile ``name``; the key is taken as it is
anything else                        a path on this machine, taken as it is (a leading ``~`` is the home folder)
===================================  ==================================================================

A file whose name looks like one of the first two is written ``./name:1``. A URL never carries credentials.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote, unquote_to_bytes

from mediagit_storage.errors import ConfigError
from mediagit_storage.settings import StorageURL

__all__ = [
    "LOCAL_FOLDERS",
    "SCHEMES",
    "Folders",
    "LocalFolders",
    "LocalPlace",
    "StorageURL",
    "Target",
    "key_after_authority",
    "parse_url",
    "profile_part",
    "split_local",
    "split_target",
]

#: Schemes that no profile may be named after.
SCHEMES: Final = frozenset(
    {"az", "b2", "dav", "davs", "file", "gs", "http", "https", "memory", "minio", "s3", "spaces"}
)

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+")
_PROFILE: Final = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]+):(.*)", re.DOTALL)
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]*)(?::([0-9]{1,5}))?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PATH_STARTS: Final = ("/", "./", "../", "~")

#: The file that marks the root of a local storage in the sharded layout, whose keys are not file names.
FORMAT_FILE: Final = ".mediagit-storage/format.json"


class Target(NamedTuple):
    """A storage and a key in it: ``storage`` is text for `open_storage`, ``key`` a key, a prefix, or empty."""

    storage: str
    key: str


class LocalPlace(NamedTuple):
    """Where a local path lies: the root folder of its storage, absolute, the key in it, and the kind of storage."""

    root: str
    key: str
    sharded: bool = False


def parse_url(text: str) -> StorageURL:
    """The parts of a URL, or of a plain path as a ``file`` URL. Never looks at the disk.

    Raises `ConfigError` for a profile, credentials, a fragment, an option given twice, a control character, a broken
    percent escape or a drive letter. No message repeats what may be a password.
    """
    if not text:
        raise ConfigError("an empty text names no storage")
    if "\0" in text:
        raise ConfigError("the name of a storage must not hold a NUL character")
    if text.startswith(_PATH_STARTS):
        return _plain_path(text)
    if _DRIVE.match(text):
        raise ConfigError("drive letters are not supported; for a file of that name write ./ before it")
    scheme, separator, rest = text.partition("://")
    if separator:
        return _parse_parts(scheme, rest)
    if (named := _PROFILE.fullmatch(text)) is None:
        return _plain_path(text)
    if named[1].lower() in SCHEMES:
        raise ConfigError(f"a URL of this kind starts with {named[1].lower()}://")
    raise ConfigError(f"{named[1]}: names a profile, not a URL or path; for a file of that name write ./{named[1]}:")


def profile_part(text: str) -> tuple[str, str] | None:
    """The profile's name and the key of ``name:key``; None for everything else."""
    named = _PROFILE.fullmatch(text)
    if named is None or named[1].lower() in SCHEMES or named[2].startswith("//"):
        return None
    return named[1], named[2]


def key_after_authority(url: StorageURL) -> str:
    """The key in a URL whose storage is named by its authority alone."""
    return url.path.removeprefix("/")


def split_target(
    text: str,
    profiles: Collection[str] = (),
    *,
    folders: Folders | None = None,
    key_of: Callable[[StorageURL], str] = key_after_authority,
) -> Target:
    """Which part of a command line's argument opens the storage, and which is the key.

    ``s3://bucket/a/b`` is ``a/b`` in ``s3://bucket`` (``key_of`` tells where the key begins in other shapes of URL),
    ``media:a/b`` is ``a/b`` in the profile, and for local paths see `split_local`. Options of a URL stay with the
    storage, and one in the sharded layout is opened as such. An unknown profile is a `ConfigError` that lists the known ones.
    """
    if named := profile_part(text):
        name, key = named
        if name not in profiles:
            known = ", ".join(sorted(profiles)) or "none yet"
            raise ConfigError(f"there is no profile {name!r} (known: {known}); for a file of that name write ./{name}:")
        return Target(f"{name}:", key)
    url = parse_url(text)
    is_url = not text.startswith(_PATH_STARTS) and "://" in text
    options = "?" + text.partition("?")[2] if is_url and url.query else ""
    if url.scheme == "file":
        place = split_local(url.path, LOCAL_FOLDERS if folders is None else folders)
        if place.sharded and "layout" not in url.query:
            options = f"{options}&layout=sharded" if options else "?layout=sharded"
        return Target(f"file://{_quoted(place.root)}{options}" if is_url or options else place.root, place.key)
    key = key_of(url)
    root = url.path.removesuffix(key) if key else url.path
    authority = text.partition("://")[2].partition("?")[0].partition("/")[0]
    return Target(f"{url.scheme}://{authority}{_quoted(root.removesuffix('/'))}{options}", key)


def split_local(path: str, folders: Folders) -> LocalPlace:
    """The root folder of the storage that a local path lies in, absolute, and the key within it.

    1. Inside of a storage in the sharded layout (it has a format file) its folder is the root.
    2. A folder that exists is a root, and the key is empty.
    3. Else the nearest folder above that exists is the root, and the rest is the key.

    A trailing ``/`` means a folder: the key keeps it, and a file of that name is a `ConfigError`. Symbolic links in
    the root's own path are followed; nothing is created.
    """
    absolute = path if path.startswith("/") else f"{folders.current()}/{path}"
    segments = [segment for segment in absolute.split("/") if segment not in {"", "."}]
    slash = "/" if path.endswith("/") else ""
    # A ".." is left to the operating system, so it can only be part of the root.
    first = 1 + max((index for index, segment in enumerate(segments) if segment == ".."), default=-1)
    roots = [(index, "/" + "/".join(segments[:index])) for index in range(len(segments), first - 1, -1)]
    for index, root in roots:
        if folders.exists(f"{root}/{FORMAT_FILE}"):
            return LocalPlace(root, _joined(segments[index:], slash), sharded=True)
    whole = roots[0][1]
    if slash and folders.exists(whole) and not folders.is_folder(whole):
        raise ConfigError(f"{whole} is a file; write it without the / at the end")
    for index, root in roots:
        if folders.is_folder(root):
            return LocalPlace(root, _joined(segments[index:], slash))
    raise ConfigError(f"{absolute} leads through a folder that does not exist")


class Folders(Protocol):
    """What `split_local` asks of the file system."""

    def current(self) -> str:
        """The current folder, absolute."""
        ...

    def is_folder(self, path: str) -> bool:
        """Whether a folder is there, also behind a symbolic link."""
        ...

    def exists(self, path: str) -> bool:
        """Whether anything is there, also a broken symbolic link."""
        ...


class LocalFolders:
    """The folders of this machine."""

    def current(self) -> str:
        """The current folder, absolute."""
        return str(Path.cwd())

    def is_folder(self, path: str) -> bool:
        """Whether a folder is there, also behind a symbolic link."""
        return os.path.isdir(path)  # noqa: PTH112  # False, not an error, for a name that cannot be

    def exists(self, path: str) -> bool:
        """Whether anything is there, also a broken symbolic link."""
        return os.path.lexists(path)


LOCAL_FOLDERS: Final = LocalFolders()


def _joined(segments: list[str], slash: str) -> str:
    return "/".join(segments) + slash if segments else ""


def _quoted(path: str) -> str:
    return quote(os.fsencode(path), safe="/")


def _plain_path(text: str) -> StorageURL:
    # Not by Path, which drops the slash at the end and fails where there is no such user.
    return StorageURL("file", path=os.path.expanduser(text))  # noqa: PTH111


def _parse_parts(scheme: str, rest: str) -> StorageURL:
    if not _SCHEME.fullmatch(scheme):
        raise ConfigError("the text before :// is not the name of a scheme; for a path write ./ before it")
    scheme = scheme.lower()
    before, _, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    if "@" in authority:
        raise ConfigError("a URL never carries credentials: use a profile or the environment")
    if _CONTROL.search(rest):
        raise ConfigError("a URL must not hold a control character")
    if "#" in rest:
        raise ConfigError("a URL of a storage has no fragment; a '#' in it is written %23")
    found = _AUTHORITY.fullmatch(authority)
    if found is None or set(found[1]) == {"."} or not 0 < int(found[2] or 1) < 65536:
        raise ConfigError(f"what follows {scheme}:// is not a valid name or host with an optional port")
    decoded = _decoded(slash + path, "its path", "surrogateescape" if scheme == "file" else "strict")
    if scheme == "file" and (found[1] not in {"", "localhost"} or found[2] or not decoded):
        raise ConfigError("a file URL is file:// and an absolute path: file:///folder")
    return StorageURL(scheme, found[1], int(found[2]) if found[2] else None, decoded, _parse_query(query))


def _parse_query(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, separator, value = part.partition("=")
        if not separator or not name:
            raise ConfigError("the options of a URL are written ?name=value&name=value")
        name = _decoded(name, "an option's name", "strict")
        if name in options:
            raise ConfigError(f"the option {name!r} is given twice in the URL")
        options[name] = _decoded(value, f"the option {name!r}", "strict")
        if _CONTROL.search(name + options[name]):
            raise ConfigError(f"the option {name!r} of the URL holds a control character")
    return options


def _decoded(text: str, what: str, errors: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise ConfigError(f"{what} has a % that starts no escape; a literal % is written %25")
    try:
        decoded = unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", errors)
    except UnicodeError:
        raise ConfigError(f"{what} is not UTF-8") from None
    if "\0" in decoded:
        raise ConfigError(f"{what} must not hold a NUL character")
    return decoded
