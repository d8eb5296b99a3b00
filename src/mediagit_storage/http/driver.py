"""One CurlMulti and its poller: where bytes move. Driven by whoever borrows it, one thread at a time.

Many transfers are driven by `socket_action` (`Driver`), a single one by `perform`, which is a fifth cheaper because
nothing is told what to poll for (`SoloDriver`). Both wait by poll, because `select` fails on descriptors of 1,024 and
above. A pipe in the poller lets another thread wake it at once, which is how a cancelled scope stops a transfer.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

import pycurl  # type: ignore[import-untyped]

__all__ = ["Carrier", "Driver", "Ended", "SoloDriver", "Waker"]

_EVENTS: Final = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}
#: What poll found, in libcurl's words. Anything else is trouble, which libcurl finds out about by trying.
_MASKS: Final = {
    select.POLLIN: pycurl.CSELECT_IN,
    select.POLLOUT: pycurl.CSELECT_OUT,
    select.POLLIN | select.POLLOUT: pycurl.CSELECT_IN | pycurl.CSELECT_OUT,
}
_BROKEN: Final = pycurl.CSELECT_IN | pycurl.CSELECT_OUT | pycurl.CSELECT_ERR

#: How long an unseen descriptor is left alone, in milliseconds.
_UNSEEN_MS: Final = 2
#: More than what one turn of libcurl may bring, in bytes.
_LARGEST_TURN: Final = 4 * 1024 * 1024


class Carrier(Protocol):
    """What goes with a handle as long as that lives."""

    @property
    def curl(self) -> pycurl.Curl:
        """The handle."""
        ...

    def end(self) -> None:
        """Let go of the transfer that it carried."""
        ...

    def forget(self) -> None:
        """Let go of everything."""
        ...


C = TypeVar("C", bound=Carrier)


#: A transfer that is over: its handle, libcurl's result code (0 is good) and words.
Ended: TypeAlias = tuple[pycurl.Curl, int, str]


class Waker:
    """Ends a poll from another thread. `wake` may be called at any time, also after `close`."""

    __slots__ = ("_ends", "_lock", "look")

    def __init__(self) -> None:
        #: Whether a transfer's own scope may have ended; whoever looks at it clears it.
        self.look = False
        ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _plain_pipe()
        self._ends: tuple[int, int] | None = ends
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """The end to poll, -1 when closed."""
        return self._ends[0] if self._ends else -1

    def wake(self) -> None:
        """Make the descriptor readable. A full pipe is readable already."""
        # The lock keeps the number from being closed, and given to another file, between the look and the write.
        with self._lock:
            if self._ends is not None:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._ends[1], b"w")

    def drain(self) -> None:
        """Make it unreadable again."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self.fileno(), 512)) == 512:
                pass

    def close(self) -> None:
        """Free the descriptors; idempotent."""
        with self._lock:
            ends, self._ends = self._ends, None
        for end in ends or ():
            os.close(end)


def _plain_pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


class Driver(Generic[C]):
    """A set of connections and the handles that use them. After `close`, or in a forked child, it must not be used."""

    __slots__ = ("__weakref__", "_make", "_multi", "_poller", "_resolving", "_spare", "_wakers", "waker", "woken")

    def __init__(self, make: Callable[[], C]) -> None:
        # glibc gives freed memory back to the system in steps of the largest block that was ever freed. Without this
        # one, every page of a stream would be fetched anew: 0.8 s of CPU time for 1 GiB.
        bytearray(_LARGEST_TURN)
        self._make = make
        self._poller = select.poll()
        self._multi = pycurl.CurlMulti()
        # Handles are kept: making one costs ten times what setting it up does. Last in, first out.
        self._spare: list[C] = []
        self._wakers: dict[int, Waker] = {}
        # Whether a look-up of a name may still be going on, although nobody waits for it any more.
        self._resolving = False
        #: Set when a waker ended a wait; whoever looks at it clears it.
        self.woken = False
        self.waker = Waker()
        self.watch(self.waker)
        self._prepare()

    def _prepare(self) -> None:
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, _watch_sockets(self._poller))

    def carrier(self) -> C:
        """A handle that nobody uses now, with what goes with it."""
        return self._spare.pop() if self._spare else self._make()

    def begin(self, curl: pycurl.Curl) -> None:
        """Let a transfer take part from the next `step` on."""
        self._multi.add_handle(curl)

    def end(self, carrier: C, *, sent: bool) -> None:
        """Take a handle back. A transfer that is not over loses its connection; after one, `close` has to follow.

        ``sent`` tells whether it has got as far as sending.
        """
        curl = carrier.curl
        try:
            if not sent and not curl.getinfo(pycurl.NAMELOOKUP_TIME):
                self._resolving = True
            self._multi.remove_handle(curl)
        except pycurl.error:
            # Whoever used it was found to be garbage together with the handle, and the handle was ended first.
            return
        carrier.end()
        self._spare.append(carrier)

    def start(self) -> int:
        """Do what can be done without waiting, and return how many transfers run."""
        return int(self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)[1])

    def step(self, wait: float) -> int:
        """Wait for the sockets, at most ``wait`` seconds, move what can be moved, return how many transfers run."""
        multi = self._multi
        timeout = multi.timeout()
        limit = int(wait * 1000) + 1
        running = -1
        for descriptor, flags in self._poller.poll(limit if timeout < 0 or timeout > limit else timeout):
            if descriptor in self._wakers:
                self._wakers[descriptor].drain()
                self.woken = True
            else:
                running = multi.socket_action(descriptor, _MASKS.get(flags, _BROKEN))[1]
        return running if running >= 0 else self.start()

    def watch(self, waker: Waker) -> None:
        """Let one more waker end the waits."""
        self._wakers[waker.fileno()] = waker
        self._poller.register(waker.fileno(), select.POLLIN)

    def unwatch(self, waker: Waker) -> None:
        """Undo `watch`."""
        number = next((number for number, each in self._wakers.items() if each is waker), None)
        if number is not None:
            del self._wakers[number]
            self._poller.unregister(number)

    def ended(self) -> list[Ended]:
        """The transfers that are over since the last call."""
        found: list[Ended] = []
        queued = 1
        while queued:
            queued, good, bad = self._multi.info_read()
            found += [(curl, 0, "") for curl in good]
            found += bad
        return found

    def close(self) -> None:
        """Close the connections. Handles that are still out must have been taken back."""
        if self._resolving:
            # It would wait for the resolver, for many seconds. Nobody else does, not even the end of the process.
            threading.Thread(target=self._multi.close, name="mgs-resolver", daemon=True).start()
        else:
            self._multi.close()
        while self._spare:
            self._spare.pop().forget()
        self.waker.close()


class SoloDriver(Driver[C]):
    """The same for one transfer at a time."""

    __slots__ = ("_curl", "_reading", "_uploaded", "_writing")

    def _prepare(self) -> None:
        self._uploaded = 0
        self._reading: list[int] = []
        self._writing: list[int] = []

    def begin(self, curl: pycurl.Curl) -> None:
        """Let the transfer begin with the next `start` or `step`."""
        self._curl = curl
        self._multi.add_handle(curl)

    def start(self) -> int:
        """Do what can be done without waiting, and return whether the transfer goes on (1) or is over (0)."""
        return int(self._multi.perform()[1])

    def step(self, wait: float) -> int:
        """Wait for the socket, at most ``wait`` seconds, move what can be moved; returns like `start`."""
        multi = self._multi
        timeout = multi.timeout()
        limit = int(wait * 1000) + 1
        if timeout < 0 or timeout > limit:
            timeout = limit
        reading, writing, _ = multi.fdset()
        if len(reading) + len(writing) < 2 and self._add_unseen(reading, writing):
            timeout = min(timeout, _UNSEEN_MS)
        if reading != self._reading or writing != self._writing:
            self._watch_these(reading, writing)
        for descriptor, _flags in self._poller.poll(timeout):
            if descriptor in self._wakers:
                self._wakers[descriptor].drain()
                self.woken = True
        return int(multi.perform()[1])

    def outcome(self) -> tuple[int, str]:
        """How the transfer ended: libcurl's result code (0 is good) and words."""
        _, good, bad = self._multi.info_read()
        return (0, "") if good else bad[0][1:]

    def _add_unseen(self, reading: list[int], writing: list[int]) -> bool:
        """Whether the socket is not among these: `fdset` hides numbers from 1,024 on, and there may be none yet."""
        info = self._curl.getinfo
        socket = int(info(pycurl.ACTIVESOCKET))
        if socket in reading or socket in writing:
            return False
        if socket >= 0:
            reading.append(socket)
            # Nobody tells whether it is to be written to; it was until now while more of the body went out.
            uploaded = int(info(pycurl.SIZE_UPLOAD_T))
            if uploaded != self._uploaded:
                self._uploaded = uploaded
                writing.append(socket)
        return True

    def _watch_these(self, reading: list[int], writing: list[int]) -> None:
        for descriptor in {*self._reading, *self._writing}:
            self._poller.unregister(descriptor)
        self._reading, self._writing = reading, writing
        for descriptor in {*reading, *writing}:
            flags = (select.POLLIN if descriptor in reading else 0) | (select.POLLOUT if descriptor in writing else 0)
            self._poller.register(descriptor, flags)


def _watch_sockets(poller: select.poll) -> Callable[..., None]:
    """The callback by which libcurl says what to poll for. It knows the poller only, so that no cycle is made."""

    def watch(what: int, descriptor: int, *_unused: object) -> None:
        if what == pycurl.POLL_REMOVE:
            poller.unregister(descriptor)
        else:
            poller.register(descriptor, _EVENTS[what])

    return watch
