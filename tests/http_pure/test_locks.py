"""What is of one process alone: a child makes its own, and all of its threads get the same."""

from __future__ import annotations

import threading

from mediagit_storage.http.locks import ForkSafeLock, OfProcess


def test_a_child_gets_a_free_lock_and_keeps_it(monkeypatch):
    lock = ForkSafeLock()
    held = lock.mine()
    held.acquire()
    assert lock.mine() is held
    monkeypatch.setattr("os.getpid", lambda: -1)
    fresh = lock.mine()
    assert fresh is not held
    assert not fresh.locked()
    assert lock.mine() is fresh


def test_threads_that_come_first_at_the_same_time_get_the_same(monkeypatch):
    meeting = threading.Barrier(4)
    given = []

    def make():
        if given:
            meeting.wait(30)
        return object()

    value = OfProcess(make)
    given.append(value.mine())
    monkeypatch.setattr("os.getpid", lambda: -1)
    found = []
    threads = [threading.Thread(target=lambda: found.append(value.mine())) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len(found) == 4
    assert len(set(map(id, found))) == 1
    assert found[0] is not given[0]


def test_what_an_ancestor_had_is_not_found_again(monkeypatch):
    lock = ForkSafeLock()
    held = lock.mine()
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        lock.mine()
    assert lock.mine() is not held, "a later process may have the number of an earlier one"
