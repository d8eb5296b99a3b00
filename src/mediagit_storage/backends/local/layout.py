"""How keys become names on disk, and back. Pure functions and tables, no I/O.

The plain layout
================
A key is a relative path: ``a/b.png`` is the file ``b.png`` in the folder ``a``. People can look at their files, and so
only such keys can be held as a path can spell: no empty, ``.`` or ``..`` segment, no segment above 255 bytes, and not
``a`` beside ``a/b``.

The sharded layout, format 1
============================
Any key. It is cut into pieces, each cut being decided by the text before it alone:

- after every ``/``;
- after the first 3 characters of a segment (which spreads objects over folders);
- then after every 63 characters.

The last piece names the object's file, every earlier one a folder. A name on disk is the piece with ``%``, ``/`` and
the ASCII control characters written as ``%XX``, and one last character that tells the kind:

====== ==========================================================================
``=``  an object: the key ends with this piece
``+``  a folder: the key goes on after this piece
``@``  a folder whose piece ends with ``/``; that ``/`` is left out before the ``@``
====== ==========================================================================

``photos/img.png`` is ``pho+/tos@/img+/.png=``; ``a`` is ``a=``, ``a/b`` is ``a@/b=``, ``a/`` is ``a%2F=``.

*Reversible*: undo the escapes and join the pieces. A name that `encode` would not have written is not ours.
*Order*: within a folder sort by the piece, an object before the folder of the same piece, and a walk meets the keys
in the order of their UTF-8 bytes. For two pieces of which neither begins with the other this is plain. A folder's
piece is always a whole one (of full length, or ended by ``/``), and no piece can go on after a whole one: so where
one piece begins with another, the shorter is an object, and its key comes before all that go on.
*Length*: 63 characters are at most 252 bytes (an escape is shorter than the longest character), the kind one more.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final, NamedTuple

from mediagit_storage.errors import InvalidKeyError
from mediagit_storage.keys import sort_key

__all__ = ["FORMAT", "PRIVATE", "Layout", "PlainLayout", "PrefixStart", "ShardedLayout", "layout_named"]

#: The folder in the root that holds temporary files and the format file; no key reaches it.
PRIVATE: Final = ".mediagit-storage"

#: The version of the sharded layout that this code writes.
FORMAT: Final = 1

_LONGEST_NAME: Final = 255


class PrefixStart(NamedTuple):
    """Where the keys with a prefix begin: the folders that all of them share, those folders' text, and the rest."""

    folders: list[str]
    text: str
    rest: str


class Layout(ABC):
    """The one place that knows how names on disk spell keys.

    A folder's content is handled as *entries*: strings that also tell the kind. `piece` is the part of the key that an
    entry stands for, and a folder's text (its pieces, joined) is a prefix of every key below it.
    """

    name: str
    #: Whether any key can be held, and ``a`` beside ``a/b``.
    any_key: bool
    #: The last characters of entries that are folders. A file's entry is its name on disk.
    folder_marks: str

    @abstractmethod
    def split(self, key: str) -> list[str]:
        """The names on disk of the key's folders and, last, its file. `InvalidKeyError` where it cannot be held."""

    @abstractmethod
    def start(self, prefix: str) -> PrefixStart | None:
        """Where to begin to list ``prefix``; None where no key can have it."""

    @abstractmethod
    def entries(
        self, text: str, rest: str, folders: Iterable[str], files: Iterable[str]
    ) -> tuple[list[str], list[str]]:
        """The entries of the folder ``text`` whose piece starts with ``rest``, in the order of their keys.

        From its names on disk; beside them the names that are not ours.
        """

    @abstractmethod
    def is_folder(self, entry: str) -> bool:
        """Whether an entry is a folder."""

    @abstractmethod
    def piece(self, entry: str) -> str:
        """What an entry adds to the text of its folder."""

    @abstractmethod
    def disk_name(self, entry: str) -> str:
        """The name on disk of an entry."""


class PlainLayout(Layout):
    """Keys are paths. An entry is a name on disk, with a ``/`` after a folder's: its piece, and its sort key."""

    name = "plain"
    any_key = False
    folder_marks = "/"

    def split(self, key: str) -> list[str]:
        """The segments of the key."""
        names = key.split("/")
        if "\0" in key:
            raise InvalidKeyError('a file name cannot hold NUL; use layout="sharded"')
        if len(key) > 63 or not key.isascii():
            _check_lengths(names)
        if key[0] == "." or "/." in key or "//" in key or key[0] == "/" or key[-1] == "/":
            _check_segments(names)
        return names

    def start(self, prefix: str) -> PrefixStart | None:
        """The folders before the last ``/`` of the prefix."""
        head, slash, rest = prefix.rpartition("/")
        if not slash:
            return PrefixStart([], "", rest)
        try:
            return PrefixStart(self.split(head) if head else _none(), head + slash, rest)
        except InvalidKeyError:
            return None

    def entries(
        self, text: str, rest: str, folders: Iterable[str], files: Iterable[str]
    ) -> tuple[list[str], list[str]]:
        """Names sorted as the keys below them: a folder as its name and a ``/``."""
        found = [name + "/" for name in folders]
        found.extend(files)
        if rest:
            found = [entry for entry in found if entry.startswith(rest)]
        return _in_order(found), []

    def is_folder(self, entry: str) -> bool:
        """By the ``/`` at its end."""
        return entry[-1] == "/"

    def piece(self, entry: str) -> str:
        """The entry itself."""
        return entry

    def disk_name(self, entry: str) -> str:
        """The entry without a folder's ``/``."""
        return entry[:-1] if entry[-1] == "/" else entry


#: What is escaped in a name on disk: never more than 3 bytes for one, so a piece stays within a name's 255.
_ESCAPED: Final = re.compile(r"[\x00-\x1f\x7f%/]")
_ESCAPE: Final = re.compile(r"%([0-9A-F]{2})")
_FIRST: Final = 3
_NEXT: Final = 63
_OBJECT, _FOLDER, _SEGMENT = "=", "+", "@"


class ShardedLayout(Layout):
    """Any key, in the format that the module describes. An entry is a name on disk."""

    name = "sharded"
    any_key = True
    folder_marks = _FOLDER + _SEGMENT

    def split(self, key: str) -> list[str]:
        """The encoded pieces. A key that is not valid Unicode is an `InvalidKeyError`."""
        if not key.isascii():
            _check_unicode(key)
        pieces = cut(key)
        last = encode(pieces.pop(), folder=False)
        names = [encode(piece, folder=True) for piece in pieces]
        names.append(last)
        return names

    def start(self, prefix: str) -> PrefixStart | None:
        """The folders of all whole pieces but the last, which an object may end with."""
        try:
            _check_unicode(prefix)
        except InvalidKeyError:
            return None
        pieces = cut(prefix)
        rest = pieces.pop() if pieces else ""
        return PrefixStart([encode(piece, folder=True) for piece in pieces], "".join(pieces), rest)

    def entries(
        self, text: str, rest: str, folders: Iterable[str], files: Iterable[str]
    ) -> tuple[list[str], list[str]]:
        """Names on disk in the order of their pieces, an object before the folder that goes on after it."""
        found: list[str] = []
        foreign: list[str] = []
        size = _NEXT if text and text[-1] != "/" else _FIRST
        for names, folder in ((files, False), (folders, True)):
            for name in names:
                (found if _is_ours(name, size, folder=folder) else foreign).append(name)
        if rest:
            found = [name for name in found if decode(name).startswith(rest)]
        found.sort(key=decode)  # stable, and objects were put first
        return found, foreign

    def is_folder(self, entry: str) -> bool:
        """By the kind at its end."""
        return entry[-1] != _OBJECT

    def piece(self, entry: str) -> str:
        """The decoded name."""
        return decode(entry)

    def disk_name(self, entry: str) -> str:
        """The entry itself."""
        return entry


def cut(key: str) -> list[str]:
    """The pieces of a key; joined they are the key, and each cut depends on the text before it alone."""
    pieces: list[str] = []
    begin, end = 0, len(key)
    while begin < end:
        slash = key.find("/", begin)
        after = end if slash < 0 else slash + 1
        size = _FIRST
        while begin < after:
            # Strictly: a "/" within reach ends the piece, else the piece's full length does.
            stop = min(begin + size, after)
            pieces.append(key[begin:stop])
            begin, size = stop, _NEXT
    return pieces


def encode(piece: str, *, folder: bool) -> str:
    """The name on disk of a piece that a folder or an object stands for."""
    kind = _OBJECT
    if folder:
        kind = _FOLDER
        if piece[-1] == "/":
            kind, piece = _SEGMENT, piece[:-1]
    if _ESCAPED.search(piece):
        piece = _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", piece)
    return piece + kind


def decode(name: str) -> str:
    """The piece that a name on disk stands for; what it means for a name that is not ours is undefined."""
    piece = name[:-1] + "/" if name[-1] == _SEGMENT else name[:-1]
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), piece) if "%" in piece else piece


def layout_named(name: str) -> Layout:
    """The layout of that name, which a `LocalConfig` has checked."""
    return ShardedLayout() if name == ShardedLayout.name else PlainLayout()


def _is_ours(name: str, size: int, *, folder: bool) -> bool:
    """Whether `cut` and `encode` could have given this name where pieces have at most ``size`` characters."""
    kind = name[-1]
    if kind not in "=+@" or folder is (kind == _OBJECT):
        return False
    piece = decode(name)
    whole = len(piece) == size or piece.endswith("/")
    if not piece or len(piece) > size or "/" in piece[:-1] or (folder and not whole):
        return False
    if name.isascii() and "%" not in name and name.isprintable():
        return True
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return encode(piece, folder=folder) == name


def _in_order(entries: list[str]) -> list[str]:
    """Sorted by UTF-8 bytes. Code points sort alike, unless bytes that are no UTF-8 are spelled as surrogates."""
    if not all(map(str.isascii, entries)):
        try:
            "".join(entries).encode("utf-8")
        except UnicodeEncodeError:
            entries.sort(key=sort_key)
            return entries
    entries.sort()
    return entries


def _check_lengths(names: list[str]) -> None:
    for name in names:
        try:
            length = len(sort_key(name))
        except UnicodeEncodeError:
            raise InvalidKeyError("a key must be valid Unicode: this one holds a lone surrogate") from None
        if length > _LONGEST_NAME:
            raise InvalidKeyError(
                f"a part of a key may have at most {_LONGEST_NAME} bytes of UTF-8 between two '/', this one has {length:,};"
                ' layout="sharded" holds longer ones'
            )


def _check_segments(names: list[str]) -> None:
    for name in names:
        if name in {"", ".", ".."}:
            raise InvalidKeyError(f'a path cannot spell the segment {name!r}; layout="sharded" holds any key')
    if PRIVATE in names:  # at any depth: a folder below may be the root of another storage
        raise InvalidKeyError(f"keys inside of {PRIVATE!r} are reserved for the storage itself")


def _check_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidKeyError("a key must be valid Unicode: this one holds a lone surrogate") from None


def _none() -> list[str]:
    raise InvalidKeyError("a path cannot begin with '/'")
