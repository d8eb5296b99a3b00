"""Many transfers in one thread: the engine behind `Transport.send_all`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Final, NamedTuple

import pycurl  # type: ignore[import-untyped]

from mediagit_storage.events import details_wanted
from mediagit_storage.http.attempts import tell_attempt
from mediagit_storage.http.driver import Driver, Waker
from mediagit_storage.http.exchange import UNTIMED, Exchange
from mediagit_storage.http.faults import FaultKind
from mediagit_storage.http.network import Route
from mediagit_storage.http.pool import DriverPool
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.scope import Scope, current_scope

__all__ = ["Batch", "Member", "Sent"]

#: How long a feed that had nothing is left alone, in seconds, unless something happens.
_ASK_AGAIN: Final = 0.02
#: How often the clocks of all transfers are looked at, in seconds.
_LOOK: Final = 0.05


class Sent(NamedTuple):
    """How one request of many ended: with ``response``, or with ``error``.

    The feed may hand in one of its own, for something that failed before there was a request: it passes through.
    """

    request: Request | None
    response: Response | None
    error: Exception | None


class _Budget:
    """Bytes of bodies in memory. Transfers beyond it wait, the oldest excepted."""

    __slots__ = ("held", "limit", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.waiting: deque[Member] = deque()


class Member(Exchange):
    """One transfer of a batch."""

    __slots__ = ("budget", "oldest", "paused", "stuck")

    def join(self, request: Request, route: Route, budget: _Budget, *, oldest: bool) -> None:
        """Take part in a common budget."""
        self.budget = budget
        self.oldest = oldest
        self.paused = False
        #: Whether what came when it went on was refused: libcurl says so once, and may never end the transfer.
        self.stuck = False
        self.begin(request, route)

    def _collect(self, piece: bytes) -> int | None:
        budget = self.budget
        if budget.held + len(piece) > budget.limit and not self.oldest and budget.held:
            # libcurl keeps the piece and brings it again.
            self.paused = True
            budget.waiting.append(self)
            return int(pycurl.WRITEFUNC_PAUSE)
        refused = super()._collect(piece)
        if refused is None:
            budget.held += len(piece)
        return refused

    def resume(self) -> None:
        """Go on with what was held up."""
        self.paused = False
        if self.patience is not UNTIMED:
            self.patience.pause(time.monotonic())
        try:
            self.curl.pause(pycurl.PAUSE_CONT)
        except pycurl.error:
            self.stuck = True


class Batch:
    """The state of one `send_all`: what travels, what is ready, what the feed said last."""

    def __init__(
        self,
        pool: DriverPool[Driver[Member]],
        route: Callable[[str], Route],
        *,
        concurrency: int,
        buffer_bytes: int,
        waker: Waker | None,
    ) -> None:
        self._pool = pool
        self._route = route
        self._concurrency = concurrency
        self._budget = _Budget(buffer_bytes)
        self._waker = waker
        # By handle, oldest first.
        self._members: dict[pycurl.Curl, Member] = {}
        self._ready: deque[Sent] = deque()
        self._exhausted = False
        self._ask_at = 0.0
        self._look_at = 0.0

    def run(self, requests: Iterator[Request | Sent | None]) -> Iterator[Sent]:
        """Everything, as a generator whose closing aborts what travels."""
        generation = self._pool.generation
        driver = self._pool.borrow()
        scope = current_scope()
        clean = False
        try:
            if self._waker is not None:
                driver.watch(self._waker)
            with nullcontext() if scope.endless else scope.on_cancel(driver.waker.wake):
                yield from self._work(requests, driver, scope)
            clean = True
        finally:
            if generation == self._pool.generation:
                self._stop(driver, generation, clean=clean)

    def _work(self, requests: Iterator[Request | Sent | None], driver: Driver[Member], scope: Scope) -> Iterator[Sent]:
        ready, members, few = self._ready, self._members, self._concurrency // 2
        while True:
            # Several are begun together, which is cheaper; no more than half of the room is left empty for that.
            if not ready or len(members) <= few:
                self._fill(requests, driver)
            if ready:
                sent = ready.popleft()
                held = 0 if sent.response is None else sum(map(len, sent.response.pieces))
                yield sent
                self._give_back(held)
                continue
            if self._exhausted and not members:
                return
            now = time.monotonic()
            self._look(scope, driver, now)
            if ready:
                continue
            running = driver.step(self._wait(now))
            if driver.woken:
                self._woken(driver)
            if running < len(members):
                self._collect(driver)

    def _woken(self, driver: Driver[Member]) -> None:
        """Ask the feed again at once, and look at the transfers where one of them is to be dropped."""
        driver.woken, self._ask_at = False, 0.0
        if self._waker is not None and self._waker.look:
            self._waker.look, self._look_at = False, 0.0

    def _fill(self, requests: Iterator[Request | Sent | None], driver: Driver[Member]) -> None:
        """Begin transfers while there is room and the feed has some."""
        if self._exhausted or (self._ask_at and not self._ready and time.monotonic() < self._ask_at):
            return
        begun, members, budget = False, self._members, self._budget
        self._ask_at = 0.0
        while len(members) < self._concurrency and budget.held <= budget.limit:
            item = next(requests, _END)
            if isinstance(item, Request):
                begun = self._begin(item, driver) or begun
                continue
            if item is None:
                self._ask_at = time.monotonic() + _ASK_AGAIN
            elif isinstance(item, _End):
                self._exhausted = True
            else:
                self._ready.append(item)
            break
        # What came whole while it began is taken at once: there may be nothing left to wait for.
        if begun and driver.start() < len(members):
            self._collect(driver)

    def _begin(self, request: Request, driver: Driver[Member]) -> bool:
        try:
            route = self._route(request.url)
        except Exception as error:  # noqa: BLE001  # it belongs to this request, not to the batch
            self._ready.append(Sent(request, None, error))
            return False
        member = driver.carrier()
        member.join(request, route, self._budget, oldest=not self._members)
        self._members[member.curl] = member
        driver.begin(member.curl)
        return True

    def _collect(self, driver: Driver[Member]) -> None:
        """Turn transfers that are over into results."""
        for curl, code, message in driver.ended():
            self._settle(self._members[curl], driver, code, message)

    def _settle(self, member: Member, driver: Driver[Member], code: int, message: str) -> None:
        try:
            result = Sent(member.request, member.finish(code, message), None)
        except Exception as error:  # noqa: BLE001  # every failure belongs to its request
            result = Sent(member.request, None, error)
        self._drop(member, driver, result)

    def _drop(self, member: Member, driver: Driver[Member], result: Sent) -> None:
        del self._members[member.curl]
        if details_wanted():
            tell_attempt(member, result.error)
        if result.response is None:
            # Not what was received: the piece that was refused never counted.
            self._budget.held -= sum(map(len, member.pieces))
        driver.end(member, sent=member.sent > 0)
        self._ready.append(result)
        if member.paused:
            self._budget.waiting.remove(member)
        if member.oldest and self._members:
            oldest = next(iter(self._members.values()))
            oldest.oldest = True
            if oldest.paused:
                self._budget.waiting.remove(oldest)
                oldest.resume()

    def _give_back(self, count: int) -> None:
        """The caller is done with a result: those held up go on."""
        budget = self._budget
        budget.held -= count
        self._ask_at = 0.0
        while budget.waiting and budget.held < budget.limit:
            first = budget.waiting.popleft()
            first.resume()
            if first.paused:
                # What it brought still does not fit: it stays the first.
                budget.waiting.rotate(1)
                break

    def _look(self, scope: Scope, driver: Driver[Member], now: float) -> None:
        """See to the clocks, now and then. The scope's end is everybody's, a time limit its transfer's own."""
        if not scope.endless:
            scope.check()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK
        for member in list(self._members.values()):
            if member.stuck:
                self._settle(member, driver, pycurl.E_WRITE_ERROR, "what came was refused")
                continue
            own = member.request.scope
            if own is not None and own.cancelled:
                self._drop(member, driver, Sent(member.request, None, member.fault(FaultKind.CANCELLED)))
                continue
            if member.patience is UNTIMED:
                member.start_clock(now, (own or scope).remaining())
            if member.paused:
                member.patience.pause(now)
                continue
            over = member.patience.look(now, member.moved)
            if over is not None:
                self._drop(member, driver, Sent(member.request, None, member.fault(over)))

    def _wait(self, now: float) -> float:
        next_thing = min(self._ask_at, self._look_at) if self._ask_at and not self._exhausted else self._look_at
        return max(0.0, next_thing - now)

    def _stop(self, driver: Driver[Member], generation: int, *, clean: bool) -> None:
        for member in self._members.values():
            driver.end(member, sent=member.sent > 0)
        if self._waker is not None:
            driver.unwatch(self._waker)
        if clean:
            self._pool.give_back(driver, generation)
        else:
            self._pool.discard(driver, generation)


class _End:
    """What `next` returns for a feed that is over."""


_END: Final = _End()
