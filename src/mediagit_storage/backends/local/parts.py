"""Large objects that are written by position, and gone on with by another process after a crash.

The unfinished file lies with the other temporary ones, under a name that the next run finds again. It stays locked
while somebody writes to it, and is swept a week after it was last written to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from mediagit_storage.backends.local.staging import Staged, Staging
from mediagit_storage.facets import KeptPart
from mediagit_storage.types import Attributes, ObjectInfo

__all__ = ["LocalPart", "open_part"]


class LocalPart(KeptPart):
    """One unfinished object. ``place`` gives the complete file its attributes and its name."""

    def __init__(self, staged: Staged, place: Callable[[Staged, Attributes | None, bool], ObjectInfo]) -> None:
        self._staged = staged
        self._place = place
        self.descriptor = staged.descriptor if staged.descriptor is not None else -1

    def commit(self, attributes: Attributes | None, *, if_absent: bool) -> ObjectInfo:
        """Sync the file, rename it into its place, sync the folder; one that cannot be placed is kept."""
        return self._place(self._staged, attributes, if_absent)

    def remove(self) -> None:
        """Unlink it."""
        self._staged.discard()

    def close(self) -> None:
        """Close the file, which ends its lock."""
        self._staged.close()


def open_part(staging: Staging, name: str) -> Staged | None:
    """The locked temporary file of that name, made if missing; None where it is in use, or not this user's alone.

    Whoever planted a file there could go on writing to it later. Raises `OSError`.
    """
    staged = staging.keep(name)
    if staged is None or staged.descriptor is None:
        return None
    found = os.fstat(staged.descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
        staged.close()
        return None
    return staged
