"""The names that unfinished uploads have, near the object that they are to become. Pure functions.

``~mgs-upload-TIME-RANDOM-ATTEMPT~NAME``: the time in milliseconds and hexadecimal, random digits, the number of the
attempt, and the object's own name, cut where the whole would be longer than the server takes. They lie in the folder
of the object, or in a folder ``~mgs-uploads`` in it: who may write the object may write them, and nothing moves from
one file system to another. No name begins with a dot: there are servers that do not list such.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from mediagit_storage.errors import InvalidKeyError

__all__ = [
    "APART",
    "ATTEMPT",
    "ENCODED_ATTEMPT",
    "MARK",
    "Temporary",
    "check_not_hidden",
    "is_hidden",
    "parse_temporary",
    "temporary_key",
]

#: How every such name begins.
MARK: Final = "~mgs-upload"
#: The folder that holds them on servers whose listings wait for files that are being written.
APART: Final = "~mgs-uploads/"
#: Stands for the number of the attempt until a request is built: a character that no key has that is written.
ATTEMPT: Final = "\x01"
#: The same in an encoded path.
ENCODED_ATTEMPT: Final = "%01"
#: What the number may take in the end.
_DIGITS: Final = 4
_NAME: Final = re.compile(r"~mgs-upload-([0-9a-f]{8,12})-([0-9a-f]{16})-([0-9]{1,4})~(.*)", re.DOTALL)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Temporary(NamedTuple):
    """What a name tells: when the upload began, and the name of the object, or as much of it as fitted."""

    started: datetime
    name: str


def temporary_key(
    key: str, now_ns: int, random: str, *, longest: int, apart: bool = False, attempt: str = ATTEMPT
) -> str:
    """The key of an unfinished upload of ``key``; ``random`` is 16 hexadecimal digits."""
    folder, slash, name = key.rpartition("/")
    head = f"{MARK}-{now_ns // 1_000_000:x}-{random}-"
    room = longest - len(head) - _DIGITS - 1
    cut = name.encode("utf-8", "surrogateescape")[: max(0, room)].decode("utf-8", "ignore")
    return f"{folder}{slash}{APART if apart else ''}{head}{attempt}~{cut}"


def parse_temporary(name: str) -> Temporary | None:
    """Undo `temporary_key` for the last segment of one; None for any other name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return Temporary(_EPOCH + timedelta(milliseconds=int(found[1], 16)), found[4])


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no object's."""
    return name.startswith(MARK)


def check_not_hidden(key: str) -> None:
    """Raise `InvalidKeyError` for a key that would not be listed."""
    if MARK in key and any(is_hidden(segment) for segment in key.split("/")):
        raise InvalidKeyError(f"names that begin with {MARK} are those of unfinished uploads")
