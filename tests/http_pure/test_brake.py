"""A server that asks to slow down has fewer requests on their way, and more again when it takes them well."""

from __future__ import annotations

from collections import deque

import pytest

from mediagit_storage.errors import ConnectionLostError
from mediagit_storage.http.batch import Sent
from mediagit_storage.http.brake import Brake
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.request import Request
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Job, RetryPolicy, Rules, asks_to_slow_down
from mediagit_storage.http.retry_batch import run_all
from mediagit_storage.testing.covers import covers


def most(brake: Brake) -> int:
    """How many may travel."""
    return next(count for count in range(1000) if not brake.engaged or brake.holds(count))


def test_it_halves_once_for_all_that_were_sent_before():
    brake = Brake()
    assert not brake.engaged
    for left in range(15, -1, -1):
        brake.slow_down(left)
    assert most(brake) == 8
    brake.slow_down(7)
    assert most(brake) == 4


def test_one_may_always_travel():
    brake = Brake()
    for _ in range(1000):
        brake.slow_down(0)
    assert not brake.holds(0)
    assert brake.holds(1)


def test_it_grows_by_one_a_round_until_it_is_open_again():
    brake = Brake()
    brake.slow_down(15)
    seen = []
    while brake.engaged:
        seen.append(most(brake))
        brake.taken()
    assert seen == sorted(seen)
    assert set(seen) == set(range(8, 17))
    # Eight answers from eight to nine, and so on: no burst right after.
    assert len(seen) > sum(range(8, 16))


def test_answers_to_what_was_sent_before_do_not_let_it_grow():
    brake = Brake()
    brake.slow_down(15)
    for _ in range(15):
        brake.taken()
    assert most(brake) == 8
    for _ in range(8):
        brake.taken()
    assert most(brake) == 9


def test_what_ends_without_an_answer_is_counted_among_those_that_were_sent_before():
    brake = Brake()
    brake.slow_down(3)
    for _ in range(3):
        brake.passed()
    brake.passed()
    assert most(brake) == 2
    brake.slow_down(1)
    assert most(brake) == 1


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (503, None, True),
        (429, None, True),
        (400, "SlowDown", True),
        (500, "ServerBusy", True),
        (500, "InternalError", False),
        (404, None, False),
        (200, None, False),
        (408, None, False),
    ],
)
def test_what_asks_to_slow_down(status, code, expected):
    assert asks_to_slow_down(status, code) is expected


class Crowded:
    """A server that takes ``room`` requests at a time and refuses the others; time passes by its answers."""

    def __init__(self, room: int, concurrency: int) -> None:
        self.room = room
        self.concurrency = concurrency
        self.now = 0.0
        self.refused = 0
        self.most: list[int] = []

    def monotonic(self) -> float:
        return self.now

    def now_ns(self) -> int:
        return int(self.now * 1e9)

    def send_all(self, requests):
        inside: deque[tuple[Request, int]] = deque()
        over = False
        while inside or not over:
            while len(inside) < self.concurrency and not over:
                try:
                    request = next(requests)
                except StopIteration:
                    over = True
                    break
                if request is None:
                    break
                inside.append((request, 200 if len(inside) < self.room else 503))
            self.most.append(len(inside))
            self.now += 0.01
            if inside:
                request, status = inside.popleft()
                self.refused += status == 503
                yield Sent(request, Response(request, status, Headers([]), []), None)


@covers(149)
def test_a_crowded_server_is_given_fewer_at_once():
    server = Crowded(room=4, concurrency=16)
    rules = Rules(RetryPolicy(attempts=50, base=0.01, cap=0.05, total=None), clock=server, random=lambda: 0.5)
    jobs = [Job(lambda attempt, n=n: Request("GET", f"https://h/{n}")) for n in range(500)]
    results = list(run_all(iter(jobs), server.send_all, rules))
    assert {result.retried.response.status for result in results} == {200}
    assert len(results) == 500
    # With sixteen at once three of four would be, again and again.
    assert server.refused < 500
    assert sum(server.most[100:400]) / 300 < 8


def test_lost_answers_of_a_batch_do_not_make_it_deaf():
    """Eight travel: one is told to slow down, seven are lost, and the next word of the server counts again."""
    together = []

    def pulled(requests):
        taken = []
        while (request := next(requests)) is not None:
            taken.append(request)
        together.append(len(taken))
        return taken

    def told(request, status):
        return Sent(request, Response(request, status, Headers([]), []), None)

    def send_all(requests):
        first = [next(requests) for _ in range(8)]
        yield told(first[0], 503)
        for each in first[1:]:
            yield Sent(each, None, ConnectionLostError("lost"))
        second = pulled(requests)
        yield told(second[0], 503)
        for each in second[1:]:
            yield told(each, 200)
        pulled(requests)

    jobs = (Job(lambda attempt, n=n: Request("GET", f"https://h/{n}")) for n in range(100))
    list(run_all(jobs, send_all, Rules(RetryPolicy(base=600.0, cap=600.0))))
    assert together == [4, 2]
