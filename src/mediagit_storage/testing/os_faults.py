"""Operating systems for tests of the local backend: one that writes every call down, and one that fails chosen calls.

::

    os = RecordingOS()
    LocalBackend(folder, os=os).put(...)
    [call.name for call in os.calls]            # ["open", "flock", "write", ...]

    os = FaultyOS([Fault("fsync", nth=2, error=errno.EIO)])
    ...
    os.verify_all_used()                        # a fault that never came is a mistake of the test

Both do the real thing otherwise, and are safe to use from several threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from mediagit_storage.backends.local.osfs import CALLS, OperatingSystem

__all__ = ["Call", "Fault", "FaultyOS", "RecordingOS"]

#: Failing calls that the kernel carries out all the same: a descriptor is gone even when close reports an error.
_DONE_ANYWAY: Final = frozenset({"close"})


@dataclass(slots=True)
class Call:
    """One call: its name, what it was given, and what came of it (``result``, or ``error``)."""

    name: str
    args: tuple[object, ...]
    kwargs: dict[str, object]
    result: object = None
    error: OSError | None = None


@dataclass(slots=True)
class Fault:
    """Fail the ``nth`` call (from 1) of that name, ``"*"`` for any call, with an error number.

    ``persistent`` fails every later one too. ``matches`` narrows down which calls are counted. ``after`` carries the
    call out first, as when a disk answers too late. A ``short`` write takes only so many bytes and does not fail.
    """

    name: str
    nth: int = 1
    error: int = 5
    persistent: bool = False
    matches: Callable[[Call], bool] | None = None
    after: bool = False
    short: int | None = None
    seen: int = field(default=0, init=False)
    used: int = field(default=0, init=False)

    def strikes(self, call: Call) -> bool:
        """Count ``call`` if it is one of those meant, and say whether it is to fail."""
        if self.name not in {"*", call.name} or (self.matches is not None and not self.matches(call)):
            return False
        self.seen += 1
        if self.seen != self.nth and not (self.persistent and self.seen > self.nth):
            return False
        self.used += 1
        return True


class RecordingOS(OperatingSystem):
    """The real operating system, and a list of every call made of it, in ``calls``.

    The data of a write are copied into the record, so that it can be replayed. Clear the list as you like.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._guard = threading.Lock()
        for name in CALLS:
            # Shadows the class's method for this instance alone.
            setattr(self, name, partial(self._record, name, getattr(OperatingSystem, name)))

    def names(self) -> list[str]:
        """The names of the calls, in order."""
        with self._guard:
            return [call.name for call in self.calls]

    def carry_out(self, call: Call, real: Callable[..., object]) -> object:
        """Do what was asked. Override this to do something else; what it raises is recorded and raised."""
        return real(*call.args, **call.kwargs)

    def _record(self, name: str, real: Callable[..., object], *args: object, **kwargs: object) -> object:
        call = Call(name, tuple(bytes(each) if isinstance(each, memoryview) else each for each in args), kwargs)
        with self._guard:
            self.calls.append(call)
        try:
            call.result = self.carry_out(call, real)
        except OSError as error:
            # A copy: the original's traceback would keep everything alive that the test expects to be freed.
            call.error = OSError(error.errno, error.strerror)
            raise
        return call.result


class FaultyOS(RecordingOS):
    """A `RecordingOS` that fails the calls its faults name. Faults may be added and removed while it runs."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        super().__init__()
        self.faults = list(faults)

    def carry_out(self, call: Call, real: Callable[..., object]) -> object:
        """The real thing, or the first fault that strikes."""
        with self._guard:
            # Every fault counts every call, so that "the second" means the same whatever else is there.
            striking = [fault for fault in self.faults if fault.strikes(call)]
        if not striking:
            return super().carry_out(call, real)
        struck = striking[0]
        if struck.short is not None and call.name == "write":
            return self._write_short(call, struck.short)
        if struck.after or call.name in _DONE_ANYWAY:
            super().carry_out(call, real)
        raise OSError(struck.error, f"injected: {os.strerror(struck.error)}")

    def verify_all_used(self) -> None:
        """Raise `AssertionError` for a fault that never struck: the test then tested nothing."""
        unused = [fault for fault in self.faults if not fault.used]
        if unused:
            raise AssertionError(f"faults that never struck: {unused}")

    def _write_short(self, call: Call, count: int) -> int:
        descriptor, data = call.args[0], call.args[1]
        assert isinstance(descriptor, int)
        assert isinstance(data, bytes | bytearray)
        return os.write(descriptor, bytes(data[:count]))
