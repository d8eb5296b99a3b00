"""An operating system on which the process dies: at one call, and for everything it does afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from mediagit_storage.testing.os_faults import Call, RecordingOS

__all__ = ["DyingOS", "PowerLoss"]

#: Calls that change nothing and do not count.
_HARMLESS = frozenset({"close", "urandom", "fstat", "stat", "statvfs", "posix_fadvise"})


class PowerLoss(BaseException):
    """The process is dead. No handler of ordinary errors catches this, as none would run."""


class DyingOS(RecordingOS):
    """Carries out ``calls`` calls that can change something, and raises `PowerLoss` from every one after them.

    What clean-up code does after the death does nothing, as if it had never run. Descriptors stay open, with their
    locks, until `bury`: then they go as the kernel takes them from a dead process.
    """

    def __init__(self, calls: int) -> None:
        super().__init__()
        self._left = calls
        self._open: set[int] = set()
        self._counting = threading.Lock()

    def carry_out(self, call: Call, real: Callable[..., object]) -> object:
        """The real thing while alive."""
        with self._counting:
            if call.name not in _HARMLESS:
                self._left -= 1
            alive = self._left >= 0
        if not alive and call.name == "close":
            return None  # `bury` closes; by then the number may be another file's
        if not alive:
            raise PowerLoss(call.name)
        result = super().carry_out(call, real)
        with self._counting:
            if call.name == "open" and isinstance(result, int):
                self._open.add(result)
            elif call.name == "close" and isinstance(call.args[0], int):
                self._open.discard(call.args[0])
        return result

    def bury(self) -> None:
        """Close what the dead process held."""
        with self._counting:
            for descriptor in self._open:
                os.close(descriptor)
            self._open.clear()
            self._left = -1
