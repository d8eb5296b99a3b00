"""What the number means that `mgs` ends with: one table from errors to codes.

The meanings from 0 to 7 are rclone's; 11 to 13 are added. Scripts may rely on them.
"""

from __future__ import annotations

from errno import EDQUOT, EFBIG, ENOSPC
from typing import Final

from mediagit_storage import errors
from mediagit_storage.tools.selecting import NothingThereError

__all__ = [
    "BROKEN_PIPE",
    "DAMAGED",
    "DIFFERENCES",
    "FULL",
    "INTERRUPTED",
    "MEANINGS",
    "OTHER",
    "SOME_FAILED",
    "TABLE",
    "TERMINATED",
    "USAGE",
    "code_for",
]

OTHER: Final = 1
DIFFERENCES: Final = 1
DAMAGED: Final = 12
USAGE: Final = 2
SOME_FAILED: Final = 6
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
TERMINATED: Final = 143

#: What each code says, for people.
MEANINGS: Final = {
    0: "done",
    1: "another error, or differences or problems were found",
    2: "the command, a URL, an option or a profile is wrong",
    3: "no such bucket, root folder or prefix",
    4: "no such object",
    5: "temporary: trying again later may help",
    6: "some items failed; each was named, the others are done",
    7: "it will fail again unless something changes: full, too large, or not supported by this storage",
    11: "access denied, or credentials missing",
    12: "bytes are not what they should be",
    13: "a condition does not hold, or something is there already",
    130: "interrupted; nothing half-written is left",
    141: "the reader of the output went away",
    143: "terminated; nothing half-written is left",
}

#: From an error to its code; the first row that fits counts, so relatives stand before their parents.
TABLE: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (errors.BucketNotFoundError, 3),
    (NothingThereError, 3),
    (errors.NotFoundError, 4),
    (errors.AlreadyExistsError, 13),
    (errors.PreconditionError, 13),
    (errors.KeyConflictError, 13),
    (errors.AccessError, 11),
    (errors.InvalidKeyError, 2),
    (errors.InvalidRangeError, 2),
    (errors.ConfigError, 2),
    (errors.IntegrityError, 12),
    (errors.UnavailableError, 5),
    (errors.CapacityError, 7),
    (errors.LimitExceededError, 7),
    (errors.UnsupportedError, 7),
    (errors.CancelledError, 130),
    (errors.StorageError, 1),
    # The operating system's own, about files beside a storage: what `put` reads and `get` writes.
    (FileNotFoundError, 4),
    (FileExistsError, 13),
    (IsADirectoryError, 2),
    (PermissionError, 11),
    (TimeoutError, 5),
    (KeyboardInterrupt, 130),
    (BaseException, 1),
)


#: The operating system has no class of its own for what it says of a full disk.
FULL: Final = frozenset({ENOSPC, EDQUOT, EFBIG})


def code_for(error: BaseException) -> int:
    """The exit code of an error."""
    if isinstance(error, OSError) and error.errno in FULL:
        return 7
    return next(code for kind, code in TABLE if isinstance(error, kind))
