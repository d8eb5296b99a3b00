"""The end of threads, waited for through interrupts: real signals, each program in a process of its own."""

import subprocess
import sys
import textwrap
import threading

import pytest

from mediagit_storage.ending import Pool, uninterrupted

#: `interrupt` comes back when the main thread was interrupted while it waits.
PRELUDE = """
import signal, sys, threading, time
from mediagit_storage.ending import Pool, uninterrupted

main, delivered = threading.main_thread().ident, threading.Semaphore(0)

def handle(number, frame):
    delivered.release()
    raise KeyboardInterrupt

def interrupt():
    while not (
        sys._current_frames()[main].f_code.co_name == "uninterrupted"
        and any(each.name == "mgs-end" for each in threading.enumerate())
    ):
        time.sleep(0.001)
    signal.pthread_kill(main, signal.SIGINT)
    # Python does not look again between the arrival of a signal and the wait that follows at once.
    while not delivered.acquire(timeout=5):
        signal.pthread_kill(main, signal.SIGINT)

def tell(word):
    print(word, flush=True)

signal.signal(signal.SIGINT, handle)
stopped, end = threading.Event(), threading.Event()
"""

PROGRAMS = {
    "is raised when all is done": """
        def work():
            interrupt()
            stopped.wait()
            time.sleep(0.1)
            tell("done")
        try:
            uninterrupted(work, stop=stopped.set, patience=60)
        except KeyboardInterrupt:
            tell("interrupted")
        """,
    "is raised at once when it is the second": """
        def work():
            interrupt()
            interrupt()
            end.wait()
        try:
            uninterrupted(work, patience=600)
        except KeyboardInterrupt:
            tell("done")
            tell("interrupted")
        """,
    "is raised after a while when the work hangs": """
        def work():
            interrupt()
            end.wait()
        try:
            uninterrupted(work, patience=0.01)
        except KeyboardInterrupt:
            tell("done")
            tell("interrupted")
        """,
    "is raised when a pool has ended": """
        def work():
            interrupt()
            time.sleep(0.1)
            tell("done")
        try:
            with Pool(2) as pool:
                pool.submit(work)
        except KeyboardInterrupt:
            tell("interrupted")
        """,
    "is raised at once when it is the second for a pool, which is left for good": """
        def work():
            interrupt()
            interrupt()
            end.wait()
        try:
            with Pool(2) as pool:
                pool.submit(work)
                pool.shutdown()
        except KeyboardInterrupt:
            tell("done")
            tell("interrupted")
            end.set()
        """,
}


def run(program: str) -> list[str]:
    """What a program prints. It ends by itself."""
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(program)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


@pytest.mark.parametrize("what", PROGRAMS)
def test_an_interrupt(what):
    assert run(PROGRAMS[what]) == ["done", "interrupted"]


def test_an_iterator_over_a_pool_that_is_open_when_the_interpreter_ends_does_not_hold_it_up():
    """No thread can begin by then, and its start would be waited for without end."""
    program = """
        def numbers():
            with Pool(1) as pool:
                while True:
                    yield pool.submit(int, "7").result()

        left = numbers()
        print(next(left))
        """
    assert run(program) == ["7"]


def test_the_works_own_error_is_raised():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        uninterrupted(fail)


def test_in_another_thread_nothing_interrupts_so_it_is_done_there():
    where = []
    thread = threading.Thread(target=lambda: uninterrupted(lambda: where.append(threading.current_thread())))
    thread.start()
    thread.join()
    assert where == [thread]


def test_where_no_thread_is_to_be_had_it_is_done_here(monkeypatch):
    def none_left(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    where = []
    uninterrupted(lambda: where.append(threading.current_thread()))
    assert where == [threading.current_thread()]


def test_a_pool_drops_what_waits_when_it_is_told_to():
    begun, end = threading.Event(), threading.Event()
    pool = Pool(1)
    running = pool.submit(lambda: begun.set() or end.wait())
    waiting = pool.submit(int)
    begun.wait()
    pool.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    end.set()
    pool.shutdown()
    assert running.result() is True
