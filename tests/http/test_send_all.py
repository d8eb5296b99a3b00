"""Many requests in one thread: all are answered, memory is bounded, leaving early aborts."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections import Counter

import pytest

from mediagit_storage import errors, scope
from mediagit_storage.http.driver import Waker
from mediagit_storage.http.request import PiecesBody, Request
from mediagit_storage.testing.scripted_server import (
    Call,
    Conversation,
    Hang,
    Pause,
    Receive,
    Repeat,
    Reset,
    ScriptedServer,
    answer,
)


class Echo:
    """Answers with the path that was asked for."""

    def play(self, conversation: Conversation) -> None:
        head = conversation.take_until(b"\r\n\r\n")
        path = head.split(b" ")[1]
        conversation.connection.sendall(answer(200, path).data)


def requests(server: ScriptedServer, count: int):
    return (Request("GET", f"{server.url}/{n}") for n in range(count))


def test_every_request_gets_its_own_answer(transport):
    with ScriptedServer([Repeat([Echo()])]) as server:
        for _ in range(2):
            sent = list(transport.send_all(requests(server, 500), concurrency=16))
            assert len(sent) == 500
            for request, response, error in sent:
                assert error is None
                assert request.url.endswith(response.body.decode())
        # One after the other, batches share connections.
        assert server.connections <= 16


def test_nothing_to_do(transport):
    assert list(transport.send_all(iter([]))) == []


@pytest.mark.parametrize("concurrency", [1, 2, 8])
def test_at_least_half_of_the_room_is_used_while_results_are_taken(transport, concurrency):
    pulled = [0]

    def counted(server):
        for each in requests(server, 200):
            pulled[0] += 1
            yield each

    with ScriptedServer([Repeat([Echo()])]) as server:
        for taken, _ in enumerate(transport.send_all(counted(server), concurrency=concurrency), 1):
            # What was taken is no longer on its way, and no more than twice the room has been begun beyond it.
            assert min(200, taken + concurrency // 2) <= pulled[0] <= taken + 2 * concurrency


@pytest.mark.parametrize("concurrency", [1, 2, 100])
def test_no_more_than_allowed_at_once(transport, concurrency):
    running, most = [0], [0]
    lock = threading.Lock()

    class Busy:
        def play(self, conversation) -> None:
            conversation.take_until(b"\r\n\r\n")
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            conversation.pause(0.002)
            with lock:
                running[0] -= 1
            conversation.connection.sendall(answer(200, b"x").data)

    with ScriptedServer([Repeat([Busy()])]) as server:
        assert len(list(transport.send_all(requests(server, 60), concurrency=concurrency))) == 60
    assert most[0] <= concurrency
    assert most[0] >= min(concurrency, 2)


def test_the_feed_is_asked_only_when_there_is_room(transport):
    pulled = []

    def feed(server):
        for each in requests(server, 100):
            pulled.append(each)
            yield each

    with ScriptedServer([Repeat([Echo()])]) as server:
        sending = transport.send_all(feed(server), concurrency=4)
        for done, _ in enumerate(sending):
            assert len(pulled) <= done + 1 + 8


def test_failures_belong_to_their_request(transport):
    script = {0: [Receive(), Reset()], 1: [Receive(), answer(500, b"no")]}
    with ScriptedServer(script[0], script[1], [Repeat([Echo()])]) as server:
        bad = Request("GET", "http://192.0.2.1/refused-before-anything-is-sent")
        every = [*requests(server, 20), bad]
        sent = list(transport.send_all(iter(every), concurrency=3))
    assert {id(each.request) for each in sent} == {id(each) for each in every}
    kinds = Counter(type(each.error).__name__ if each.error else each.response.status for each in sent)
    assert kinds["ConnectionLostError"] == 1
    assert kinds["ConfigError"] == 1
    assert kinds[500] == 1
    assert kinds[200] == 18


def test_puts_and_sources(transport):
    def broken():
        yield b"x"
        raise ValueError("the user's own")

    with ScriptedServer([Repeat([Receive(), answer()])]) as server:
        every = [
            Request("PUT", server.url + "/1", body=b"x" * 100_000),
            Request("PUT", server.url + "/2", body=PiecesBody(iter([b"y" * 10]), 10)),
            Request("PUT", server.url + "/3", body=PiecesBody(broken(), 10)),
            Request("HEAD", server.url + "/4"),
            Request("DELETE", server.url + "/5"),
        ]
        sent = {each.request.url[-1]: each for each in transport.send_all(iter(every))}
    assert [number for number, each in sent.items() if each.error] == ["3"]
    assert str(sent["3"].error) == "the user's own"


def test_an_error_of_the_feed_surfaces_and_aborts(transport):
    def feed(server):
        yield from requests(server, 3)
        raise ValueError("the caller's own")

    with ScriptedServer([Receive(), Hang()]) as server:
        with pytest.raises(ValueError, match="caller's own"):
            list(transport.send_all(feed(server), concurrency=5))
        wait_until_closed(server)


def wait_until_closed(server: ScriptedServer) -> None:
    deadline = time.monotonic() + 60
    while server.open_connections:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("how", ["close", "collected"])
def test_leaving_early_aborts_what_travels(transport, how):
    with ScriptedServer([Echo(), Hang()], [Receive(), Hang()]) as server:
        sending = transport.send_all(requests(server, 10), concurrency=10)
        assert next(sending).error is None
        if how == "close":
            sending.close()
        del sending
        wait_until_closed(server)


def pipes() -> set[str]:
    """The pipes that are open; what another thread closes meanwhile is not."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return {each for each in found if each.startswith("pipe:")}


@pytest.mark.parametrize("travelling", [False, True])
def test_one_that_is_garbage_together_with_its_handles_leaves_nothing(transport, travelling):
    # An error that is kept refers to the frames that it passed, and so does the list that keeps it.
    with ScriptedServer([Repeat([Echo()])]) as server:
        before = pipes()
        sent = transport.send_all(requests(server, 40 if travelling else 1), concurrency=8)
        next(sent)
        (made,) = pipes() - before
        kept = [sent]
        kept.append(kept)
        del sent, kept
        gc.collect()
        assert made not in pipes()
        wait_until_closed(server)


def test_time_limits_are_each_requests_own(make):
    with ScriptedServer([Receive(), Hang()], [Repeat([Echo()])]) as server:
        sent = list(make(idle_timeout=1.5).send_all(requests(server, 50), concurrency=4))
    late = [each.error for each in sent if each.error]
    assert len(late) == 1
    assert isinstance(late[0], errors.StorageTimeoutError)


def test_the_total_time_of_each(make):
    from mediagit_storage.testing.scripted_server import Drip

    with ScriptedServer([Receive(), Drip(answer(200, b"x" * 1000).data, 0.02)], [Repeat([Echo()])]) as server:
        sent = list(make(total_timeout=2).send_all(requests(server, 10), concurrency=4))
    assert [type(each.error) for each in sent if each.error] == [errors.StorageTimeoutError]


def test_a_feed_with_nothing_now_is_asked_again(transport):
    """None means later: after a result, and without one soon."""
    with ScriptedServer([Repeat([Echo()])]) as server:

        def feed():
            for each in requests(server, 20):
                yield None
                yield each
                yield None
                yield None

        assert len(list(transport.send_all(feed(), concurrency=3))) == 20


def test_a_waker_makes_it_ask_at_once(transport, monkeypatch):
    monkeypatch.setattr("mediagit_storage.http.batch._ASK_AGAIN", 60.0)
    waker, asked, wanted = Waker(), threading.Event(), threading.Event()

    def feed(server):
        while not wanted.is_set():
            asked.set()
            yield None
        yield from requests(server, 1)

    def wake():
        asked.wait()
        time.sleep(0.02)  # now it waits
        wanted.set()
        waker.wake()

    try:
        with ScriptedServer([Repeat([Echo()])]) as server:
            thread = threading.Thread(target=wake)
            thread.start()
            began = time.monotonic()
            assert len(list(transport.send_all(feed(server), waker=waker))) == 1
            thread.join()
        assert time.monotonic() - began < 30
    finally:
        waker.close()


def test_memory_is_bounded_by_holding_transfers_up(transport):
    """Twenty answers of 4 MB with 8 MB of room: some wait in the server, all arrive whole."""
    size, held = 4_000_000, [0]
    with ScriptedServer([Repeat([Receive(), answer(200, b"x" * size)])]) as server:
        sending = transport.send_all(requests(server, 20), concurrency=10, buffer_bytes=8_000_000)
        engine = sending.gi_frame.f_locals["self"]
        for each in sending:
            assert len(each.response.body) == size
            held[0] = max(held[0], engine._budget.held)
        # The oldest always goes on; a piece may have been on its way.
        assert held[0] < 8_000_000 + size + 1_000_000
        assert engine._budget.held == 0


def test_one_answer_larger_than_all_room_comes_through(transport):
    with ScriptedServer([Repeat([Receive(), answer(200, b"x" * 3_000_000)])]) as server:
        sent = list(transport.send_all(requests(server, 6), concurrency=3, buffer_bytes=1_000_000))
    assert [len(each.response.body) for each in sent] == [3_000_000] * 6


def test_a_slow_caller_is_no_standstill(make):
    with ScriptedServer([Repeat([Receive(), answer(200, b"x" * 3_000_000)])]) as server:
        sizes = []
        for each in make(idle_timeout=0.8).send_all(requests(server, 6), concurrency=3, buffer_bytes=3_000_000):
            assert each.error is None
            sizes.append(len(each.response.body))
            time.sleep(0.3)
    assert sizes == [3_000_000] * 6


def test_cancelling_the_scope_ends_the_batch_at_once(transport):
    arrived = threading.Event()
    with ScriptedServer([Receive(), Call(arrived.set), Hang()]) as server, scope() as inside:
        cancelled = []

        def cancel():
            arrived.wait(60)
            time.sleep(0.05)
            cancelled.append(time.monotonic())
            inside.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(errors.CancelledError):
            list(transport.send_all(requests(server, 5)))
        assert time.monotonic() - cancelled[0] < 10
        thread.join()
        wait_until_closed(server)


def test_the_scopes_time_ends_the_batch(transport):
    with ScriptedServer([Receive(), Hang()]) as server:
        began = time.monotonic()
        with pytest.raises(errors.StorageTimeoutError, match="scope"), scope(timeout=0.2):
            list(transport.send_all(requests(server, 5)))
        assert time.monotonic() - began < 10


def test_batches_in_threads(transport):
    wrong = []
    with ScriptedServer([Repeat([Echo()])]) as server:

        def work():
            for request, response, _ in transport.send_all(requests(server, 50), concurrency=4):
                if response is None or not request.url.endswith(response.body.decode()):
                    wrong.append(request)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert wrong == []


def test_a_batch_inside_of_a_batch(transport):
    with ScriptedServer([Repeat([Echo()])]) as server:
        count = 0
        for _ in transport.send_all(requests(server, 5), concurrency=2):
            count += sum(1 for _ in transport.send_all(requests(server, 5), concurrency=2))
        assert count == 25


def test_a_pause_between_results_is_fine(transport):
    with ScriptedServer([Repeat([Receive(), Pause(0.01), answer()])]) as server:
        for each in transport.send_all(requests(server, 10), concurrency=4):
            assert each.error is None
            transport.send(Request("GET", server.url + "/between"))


def test_after_close(transport):
    transport.close()
    with pytest.raises(errors.ClosedError):
        list(transport.send_all(iter([])))


def test_at_least_one_at_a_time(transport):
    with pytest.raises(ValueError, match="at least 1"):
        transport.send_all(iter([]), concurrency=0)


def test_too_much_of_one_that_was_held_up_is_its_own_failure(transport):
    def bounded(server):
        for number in range(4):
            yield Request("GET", f"{server.url}/{number}", max_body=None if number % 2 else 100_000)

    with ScriptedServer([Repeat([Receive(), answer(200, b"x" * 150_000)])]) as server:
        sent = list(transport.send_all(bounded(server), concurrency=4, buffer_bytes=1000))
    ended = {each.request.url[-1]: len(each.response.body) if each.response else type(each.error) for each in sent}
    assert ended == {"0": errors.LimitExceededError, "1": 150_000, "2": errors.LimitExceededError, "3": 150_000}
