"""`AsyncStorage`: what is its own beside the promises of `Storage`."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import os
import signal
import threading
import traceback
import weakref

import pytest
import trio

import mediagit_storage as mgs
from mediagit_storage.aio import AsyncStorage
from mediagit_storage.aio.lane import Lane
from mediagit_storage.backend import BatchLimits, Completion, Content
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.http.retry import RetryPolicy, Rules
from mediagit_storage.layers.observe import Hook, ObserveLayer, acting_as
from mediagit_storage.layers.prefix import PrefixLayer
from mediagit_storage.layers.retry import RetryLayer
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.stacking import make_stack
from mediagit_storage.testing.wrappers import CallLog


async def together(*functions):
    """Run them all at once, with whichever library runs."""
    if trio.lowlevel.in_trio_task():
        async with trio.open_nursery() as nursery:
            for each in functions:
                nursery.start_soon(each)
        return
    async with asyncio.TaskGroup() as group:
        for each in functions:
            group.create_task(each())


async def pause():
    if trio.lowlevel.in_trio_task():
        await trio.sleep(0.001)
    else:
        await asyncio.sleep(0.001)


async def until(semaphore):
    """Wait for a server's thread."""
    while not semaphore.acquire(blocking=False):
        await pause()


class cancelled_after:
    """Cancel what runs inside once ``semaphore`` was released."""

    def __init__(self, semaphore):
        self.semaphore = semaphore

    async def run(self, function):
        if trio.lowlevel.in_trio_task():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(function)
                await until(self.semaphore)
                nursery.cancel_scope.cancel()
            return
        task = asyncio.create_task(function())
        await until(self.semaphore)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# ---- the face


def public(kind):
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def first_paragraph(value):
    text = inspect.getdoc(value).partition("\n\n")[0]
    return " ".join(text.replace("async for", "for").replace("async with", "with").replace("await ", "").split())


@pytest.mark.parametrize("name", sorted(public(mgs.Storage)))
def test_every_method_is_there(name):
    """With the same parameters and defaults, and the same words in the documents."""
    ours, theirs = public(AsyncStorage)[name], public(mgs.Storage)[name]
    if isinstance(theirs, property):
        assert isinstance(ours, property)
        ours, theirs = ours.fget, theirs.fget
    own, other = (list(inspect.signature(each).parameters.values()) for each in (ours, theirs))
    assert [(each.name, each.kind, each.default) for each in own] == [
        (each.name, each.kind, each.default) for each in other
    ]
    assert [each.annotation.removesuffix(" | AsyncIterable[BytesLike]") for each in own[1:]] == [
        each.annotation for each in other[1:]
    ]
    if name != "open":
        assert first_paragraph(ours) == first_paragraph(theirs)


def test_nothing_else_is_there_but_the_storage_itself():
    assert set(public(AsyncStorage)) - set(public(mgs.Storage)) == {"storage"}


def test_opening_takes_what_opening_a_storage_takes():
    ours, theirs = inspect.signature(mgs.open_async), inspect.signature(mgs.open_storage)
    assert ours.parameters == theirs.parameters


# ---- the usual way


def test_objects_come_and_go(run, tmp_path):
    async def story():
        async with mgs.open_async(f"memory://{tmp_path.name}", create=True) as store:
            info = await store.put("a/b.txt", b"some text")
            assert info.size == 9
            assert await store.get("a/b.txt", offset=5) == b"text"
            assert await store.get_ranges("a/b.txt", [(0, 4), (5, 4)]) == [b"some", b"text"]
            assert (await store.stat("a/b.txt")).etag == info.etag
            assert await store.exists("a/b.txt")
            assert not await store.exists("nothing")
            await store.copy("a/b.txt", "c")
            await store.rename("c", "d")
            assert [each.key async for each in store.list()] == ["a/b.txt", "d"]
            assert b"".join([piece async for piece in store.stream("d")]) == b"some text"
            await store.download("d", tmp_path / "d")
            await store.upload(tmp_path / "d", "e")
            outcomes = [each async for each in store.get_many(["e", "gone"])]
            assert outcomes[0].value == b"some text"
            assert isinstance(outcomes[1].error, mgs.NotFoundError)
            assert await store.delete_many(["d", "e"]).run() == 2
            await store.delete("a/b.txt")
            assert [each async for each in store.list()] == []

    run(story())


def test_files(run):
    async def story():
        async with AsyncStorage(MemoryBackend("files")) as store:
            async with store.open("w", "wb") as file:
                await file.write(b"first line\n")
                await file.write(b"x" * 300_000)
                await file.flush()
                assert file.tell() == 300_011
                assert not await store.exists("w")
            assert file.info.size == 300_011
            file = await store.open("w")
            assert await file.readline() == b"first line\n"
            assert await file.seek(-3, os.SEEK_END) == 300_008
            assert await file.read() == b"xxx"
            assert await file.read_at(6, 4) == b"line"
            await file.close()
            with pytest.raises(mgs.ClosedError):
                await file.read_at(0, 1)
            with pytest.raises(ZeroDivisionError):  # noqa: PT012  # raised inside of what is under test
                async with store.open("w2", "wb") as file:
                    await file.write(b"y" * 1_000_000)
                    raise ZeroDivisionError
            assert not await store.exists("w2")

    run(story())


@covers(17)
def test_a_source_may_be_asynchronous(run):
    """It is iterated over by the task; where it fails, or is not what was announced, nothing is stored."""

    async def pieces(count, *, fail=False):
        for _ in range(count):
            await together(lambda: store.exists("k"))
            yield b"x" * 100_000
        if fail:
            raise ZeroDivisionError

    async def story():
        async with store:
            info = await store.put("k", pieces(10), size=1_000_000)
            assert info.size == 1_000_000
            assert await store.get("k", suffix=3) == b"xxx"
            with pytest.raises(ZeroDivisionError):
                await store.put("l", pieces(5, fail=True))
            with pytest.raises(mgs.IntegrityError) as caught:
                await store.put("l", pieces(3), size=5)
            assert caught.value.key == "l"
            with pytest.raises(mgs.InvalidKeyError):
                await store.put("/", pieces(1))
            assert not await store.exists("l")

    store = AsyncStorage(MemoryBackend("m"))
    run(story())


def test_an_error_is_that_of_the_storage(run):
    """With operation, key and storage, and a traceback that shows the call."""

    async def story():
        async with AsyncStorage(PrefixLayer(MemoryBackend("m"), "p/")) as store:
            for call in (store.get, store.stat, store.open, store.download):
                with pytest.raises(mgs.NotFoundError) as caught:
                    await call(*(["gone"] if call != store.download else ["gone", os.devnull + "x"]))
                assert caught.value.key == "gone"
                assert caught.value.operation in {"get", "stat"}
                assert caught.value.store == store.description
                shown = "".join(traceback.format_exception(caught.value))
                assert "test_async_storage.py" in shown
                assert len(shown) < 8000

    run(story())


# ---- many at once


def test_a_thousand_gets_take_no_thousand_threads(run, server):
    """They wait for a server in one thread, and all come."""
    before = threading.active_count()
    most = 0

    async def story():
        nonlocal most
        results = []

        async def one(number):
            results.append(await store.get(f"held-{number}"))

        async def watch():
            nonlocal most
            for _ in range(64):
                await until(server.arrived)
            most = sum(each.name.startswith("mgs-") for each in threading.enumerate())
            server.released.set()

        async with AsyncStorage(server.backend()) as store:
            await together(watch, *[lambda number=number: one(number) for number in range(1000)])
        assert sorted(results) == sorted(f"held-{number}".encode() for number in range(1000))

    run(story())
    assert most == 1
    assert threading.active_count() <= before + 130


def test_what_cannot_travel_together_has_a_bounded_pool(run):
    """Through `compress`, and for tasks that listen to events."""
    threads = set()

    class Noting(CallLog):
        def read(self, key, options):
            threads.add(threading.get_ident())
            return super().read(key, options)

    async def story():
        backend = make_stack(("compress",), Noting(MemoryBackend("m")))
        async with AsyncStorage(backend, threads=3) as store:
            await store.put("k", b"body")
            await together(*[lambda: store.get("k")] * 50)

    run(story())
    assert len(threads) <= 3


def test_results_that_nobody_takes_hold_up_only_their_own_loop():
    """While one loop is blocked with results, another loop goes on, even if the first waits for it."""
    backend = MemoryBackend("m")
    store = AsyncStorage(backend, limits=BatchLimits(buffer_bytes=1000))
    mgs.Storage(backend, owned=False).put("k", b"x" * 800)

    async def other():
        return [await store.get("k") for _ in range(5)]

    async def blocked():
        tasks = [asyncio.create_task(store.get("k")) for _ in range(20)]
        await asyncio.sleep(0)
        found = []
        # This loop delivers nothing meanwhile; the lane is full for it.
        thread = threading.Thread(target=lambda: found.extend(asyncio.run(other())))
        thread.start()
        thread.join()
        assert len(found) == 5
        assert {len(each) for each in await asyncio.gather(*tasks)} == {800}
        await store.close()

    asyncio.run(blocked())


def test_loops_in_turn_and_at_once():
    """asyncio and trio, one after the other and side by side, on one storage."""
    store = AsyncStorage(MemoryBackend("m"))

    async def some(name):
        for number in range(30):
            await store.put(f"{name}-{number}", name.encode())
            assert await store.get(f"{name}-{number}") == name.encode()

    asyncio.run(some("first"))
    trio.run(some, "second")
    failures = []

    def tried(run, *arguments):
        try:
            run(*arguments)
        except Exception as error:  # noqa: BLE001  # told by the main thread
            failures.append(error)

    threads = [
        threading.Thread(target=tried, args=(lambda: asyncio.run(some("third")),)),
        threading.Thread(target=tried, args=(trio.run, some, "fourth")),
        threading.Thread(target=tried, args=(lambda: asyncio.run(some("fifth")),)),
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
    asyncio.run(store.close())


# ---- ending early


def test_a_cancelled_get_drops_its_connection_and_no_other(run, server):
    async def story():
        async with AsyncStorage(server.backend()) as store:
            results = []

            async def other():
                results.append(await store.get("held-other"))

            async def ended():
                await until(server.arrived)
                await cancelled_after(server.arrived).run(lambda: store.get("held-ended"))
                await until(server.dropped)
                server.released.set()

            await together(other, ended)
            assert results == [b"held-other"]

    run(story())


@pytest.mark.parametrize("method", ["put", "delete", "put in pieces", "stream", "copy"])
def test_any_call_that_is_cancelled_ends_at_the_server(run, server, method):
    async def story():
        async with AsyncStorage(server.backend()) as store:

            async def streamed():
                async for _ in store.stream("held"):
                    pass

            call = {
                "put": lambda: store.put("held", b"body"),
                "delete": lambda: store.delete("held"),
                "put in pieces": lambda: store.put("held", iter([b"bo", b"dy"])),
                "stream": streamed,
                "copy": lambda: store.copy("a", "held"),
            }[method]
            await cancelled_after(server.arrived).run(call)
            await until(server.dropped)
            assert await store.get("other") == b"other"

    run(story())


def test_what_waits_for_its_turn_can_be_cancelled(run, server):
    """Not begun yet, so the server never hears of it."""

    async def story():
        async with AsyncStorage(server.backend(), limits=BatchLimits(concurrency=1), threads=1) as store:
            gone = threading.Semaphore(0)

            async def first():
                await store.get("held-1")

            async def second():
                await until(server.arrived)
                gone.release()
                await cancelled_after(gone).run(lambda: store.get("held-2"))
                server.released.set()

            await together(first, second)
            assert server.requests == ["held-1"]

    run(story())


def test_closing_ends_what_is_under_way(run, server):
    """With `ClosedError`, whatever it was; afterwards every call raises it."""
    ends = []

    async def story():
        store = AsyncStorage(server.backend())
        below = store.with_prefix("below/")

        async def ended(call):
            with pytest.raises(mgs.ClosedError) as caught:
                await call
            ends.append(caught.value)

        async def closing():
            for _ in range(4):
                await until(server.arrived)
            await store.close()

        await together(
            closing,
            lambda: ended(store.get("held-1")),
            lambda: ended(store.put("held-2", b"x")),
            lambda: ended(store.put("held-3", iter([b"x"]))),
            lambda: ended(below.get("held-4")),
        )
        for call in (
            lambda: store.get("a"),
            lambda: store.put("a", b""),
            store.check,
            lambda: below.stat("a"),
        ):
            with pytest.raises(mgs.ClosedError):
                await call()
        await store.close()

    run(story())
    assert len(ends) == 4


def test_time_limits_of_both_kinds(run, server):
    async def story():
        async with AsyncStorage(server.backend()) as store:
            for call in (
                lambda: store.get("held"),
                lambda: store.put("held", b"x"),
                lambda: store.put("held", iter([b"x"])),
            ):
                with pytest.raises(mgs.StorageTimeoutError) as caught, mgs.scope(timeout=0.05):
                    await call()
                assert caught.value.key == "held"
            if trio.lowlevel.in_trio_task():
                with trio.move_on_after(0.05) as limit:
                    await store.get("held")
                assert limit.cancelled_caught
            else:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await store.get("held")
            assert await store.get("other") == b"other"

    run(story())


def test_a_scope_is_cancelled_from_another_thread(run, server):
    async def story():
        async with AsyncStorage(server.backend()) as store:
            with mgs.scope() as around:
                cancel = threading.Thread(target=lambda: (server.arrived.acquire(), around.cancel()))
                cancel.start()
                with pytest.raises(mgs.CancelledError):
                    await store.get("held")
                cancel.join()
            await until(server.dropped)

    run(story())


def test_a_task_that_is_cancelled_twice_still_waits_for_its_put():
    """What was begun is not left behind: when the task is over, so is the put."""
    entered, let_go, over = threading.Semaphore(0), threading.Event(), []

    def slow():
        entered.release()
        let_go.wait(30)
        over.append(True)
        yield b"x"

    async def story():
        async with AsyncStorage(MemoryBackend("m")) as store:
            task = asyncio.create_task(store.put("k", slow()))
            await until(entered)
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0.001)
                assert not task.done()
            let_go.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert over
            assert not await store.exists("k")

    asyncio.run(story())


def test_a_stream_that_is_left_early_frees_its_connection(run, server):
    async def story():
        async with AsyncStorage(server.backend()) as store:
            async with store.stream("object") as stream:
                assert stream.info.size == len("object")
                async for _ in stream:
                    break
            async for _ in store.stream("object"):
                break
            async with store.list("held") as listing:
                pass
            with pytest.raises(StopAsyncIteration):
                await anext(listing)

    run(story())


def test_a_batch_nobody_runs_warns():
    async def story():
        async with AsyncStorage(MemoryBackend("m")) as store:
            store.delete_many(["a"])
            gc.collect()

    with pytest.warns(ResourceWarning, match="delete_many"):
        asyncio.run(story())


# ---- cleaning up


def mgs_threads():
    return [each.name for each in threading.enumerate() if each.name.startswith("mgs-")]


def test_a_storage_is_closed_in_a_task_that_is_cancelled(run, server):
    """Also in a scope whose time is over, or that somebody has cancelled."""
    stores = []

    async def used():
        async with AsyncStorage(server.backend()) as store:
            stores.append(store.storage)
            await store.get("held")

    async def story():
        await cancelled_after(server.arrived).run(used)
        for ended in (mgs.scope(timeout=0.02), mgs.scope()):
            with pytest.raises((mgs.StorageTimeoutError, mgs.CancelledError)), ended as around:  # noqa: PT012
                async with AsyncStorage(server.backend()) as store:
                    stores.append(store.storage)
                    if around.remaining() is None:
                        around.cancel()
                    await store.get("held")

    run(story())
    for each in stores:
        with pytest.raises(mgs.ClosedError):
            each.get("k")
    for thread in threading.enumerate():
        if thread.name.startswith("mgs-"):
            # Told of the end, and about to end itself.
            thread.join(60)
    assert mgs_threads() == []


def test_files_and_streams_are_closed_in_a_task_that_is_cancelled(run):
    """What was written is not stored, and no thread waits for the rest of it."""
    backend = MemoryBackend("m")
    mgs.Storage(backend, owned=False).put("k", b"x" * 5_000_000)
    ready, left = threading.Semaphore(0), []

    async def written(store):
        async with store.open("new", "wb") as file:
            left.append(file)
            await file.write(b"y" * 600_000)
            await file.write(b"y")
            ready.release()
            await forever()

    async def committed(store):
        file = await store.open("new", "wb")
        left.append(file)
        await file.write(b"y" * 600_000)
        ready.release()
        try:
            await forever()
        finally:
            if trio.lowlevel.in_trio_task():
                await file.close()
            else:
                await file.abort()

    async def streamed(store):
        async with store.stream("k") as stream:
            left.append(stream)
            await anext(stream)
            ready.release()
            await forever()

    async def story():
        async with AsyncStorage(backend) as store:
            for each in (written, committed, streamed):
                await cancelled_after(ready).run(lambda each=each: each(store))
            assert left[0].closed
            assert left[1].closed
            with pytest.raises(StopAsyncIteration):
                await anext(left[2])
            assert "mgs-writer" not in mgs_threads()
            assert not await store.exists("new")

    run(story())


async def forever():
    while True:
        await pause()


def test_a_stream_that_was_cut_off_does_not_look_whole(run, server):
    """Who gives one step a time limit and goes on gets an error, not an end."""

    async def story():
        async with AsyncStorage(server.backend()) as store, AsyncClosing(store.stream("held")) as stream:
            await cancelled_after(server.arrived).run(lambda: anext(stream))
            for _ in range(2):
                with pytest.raises(mgs.CancelledError):
                    await anext(stream)

    run(story())


class AsyncClosing:
    """Close at the end, without opening at the beginning."""

    def __init__(self, items):
        self.items = items

    async def __aenter__(self):
        return self.items

    async def __aexit__(self, *_):
        await self.items.aclose()


def test_a_stream_is_closed_while_another_task_waits_for_it(run, server):
    async def story():
        async with AsyncStorage(server.backend()) as store:
            stream = store.stream("held")

            async def reads():
                with pytest.raises(mgs.CancelledError):
                    await anext(stream)

            async def closes():
                await until(server.arrived)
                await stream.aclose()
                await until(server.dropped)

            await together(reads, closes)

    run(story())


@pytest.mark.parametrize("way", ["lane", "pool"])
def test_what_gets_no_thread_is_refused_and_not_done_later(run, way, monkeypatch):
    def none_left(thread):
        raise RuntimeError("can't start new thread")

    async def story():
        async with AsyncStorage(MemoryBackend("m")) as store:
            data = b"x" if way == "lane" else b"x" * 2_000_000
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", none_left)
                with pytest.raises(RuntimeError, match="new thread"):
                    await store.put("refused", data)
            await store.put("k", data)
            assert [each.key async for each in store.list()] == ["k"]

    run(story())


def test_an_interrupt_between_the_beginning_and_the_wait(monkeypatch):
    """Ctrl-C stops the call, and its answer wakes nobody who waits for something else."""
    begin = Lane.begin

    def interrupted(lane, call):
        begin(lane, call)
        signal.raise_signal(signal.SIGINT)

    async def story():
        async with AsyncStorage(MemoryBackend("m")) as store:
            with monkeypatch.context() as patched:
                patched.setattr(Lane, "begin", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    await store.put("k", b"x")
            for _ in range(10):
                await trio.sleep(0.001)
            await store.put("l", b"x")

    trio.run(story)


def test_a_put_that_waits_for_another_attempt_can_be_cancelled(run, server):
    """Through the layer `retry`: its pause, here of minutes, ends at once; so it does when the task's own time is over."""
    told = threading.Semaphore(0)
    pauses = RetryPolicy(attempts=5, base=600.0, cap=600.0, total=None)

    async def story():
        rules = Rules(pauses, random=lambda: 1.0)
        async with AsyncStorage(RetryLayer(server.backend(attempts=1), rules=rules)) as store:
            await cancelled_after(told).run(lambda: store.put("busy-1", b"x"))
            with pytest.raises(mgs.StorageTimeoutError), mgs.scope(timeout=0.05):
                await store.put("held-2", b"x")
        assert server.requests.count("busy-1") == 1
        assert server.requests.count("held-2") <= 1, "it was sent again"

    with mgs.on_event(lambda _: told.release()):
        run(story())


def test_cleaning_up_does_not_wait_for_a_thread_of_the_pool(run, server):
    """All of them wait for a server that does not answer; who gives up his writer or stream goes on at once."""

    async def story():
        async with AsyncStorage(server.backend(), threads=1) as store:
            file = await store.open("k", "wb")
            await file.write(b"x" * 600_000)
            stream = store.stream("other")
            await anext(stream)

            async def hangs():
                with pytest.raises(mgs.ClosedError):
                    await store.copy("a", "held")

            async def gives_up():
                await until(server.arrived)
                while "held" not in server.requests:
                    await pause()
                await file.abort()
                await stream.aclose()
                await store.close()

            await together(hangs, gives_up)

    run(story())


# ---- what a task brings along


def test_progress_is_told_to_the_task_that_asked(run):
    async def story():
        async with AsyncStorage(MemoryBackend("m")) as store:
            heard = {"a": [], "b": []}

            async def one(name):
                with mgs.on_progress(heard[name].append):
                    await store.put(name, b"12345")
                    await store.get(name)

            await together(lambda: one("a"), lambda: one("b"), lambda: store.put("c", b"x"))
            for name, steps in heard.items():
                assert [(each.description, each.completed, each.total) for each in steps] == [
                    (f"put {name}", 0, 5),
                    (f"put {name}", 5, 5),
                    (f"get {name}", 0, None),
                    (f"get {name}", 5, 5),
                ]

    run(story())


def test_events_are_told_to_the_task_that_listens(run, server):
    async def story():
        heard = {"a": [], "b": []}
        async with AsyncStorage(server.backend()) as store:

            async def one(name):
                with mgs.on_event(heard[name].append):
                    await store.get(f"busy-{name}")

            await together(lambda: one("a"), lambda: one("b"), lambda: store.get("busy-c"))
        for name, events in heard.items():
            assert [each.kind for each in events] == ["retry"]
            assert f"busy-{name}" in events[0].message

    run(story())


def test_who_listens_where_the_storage_is_opened_hears_all(run, server):
    async def story():
        heard = []
        with mgs.on_event(heard.append):
            async with AsyncStorage(server.backend()) as store:
                await together(lambda: store.get("busy-1"), lambda: store.get("busy-2"))
        assert [each.kind for each in heard] == ["retry", "retry"]

    run(story())


def test_the_audit_log_names_who_acts_in_the_task(run):
    """And nobody else, however many tasks go together."""
    seen = []

    class Seeing(Hook):
        def ended(self, record):
            seen.append((record.key, record.actor))

    async def story():
        async with AsyncStorage(ObserveLayer(MemoryBackend("m"), hooks=[Seeing()])) as store:

            async def one(name):
                with acting_as(name):
                    await store.put(name, b"x")
                    await store.get(name)

            await together(lambda: one("ann"), lambda: one("bob"), lambda: store.put("nobody", b"x"))

    run(story())
    assert sorted(seen, key=str) == [("ann", "ann")] * 2 + [("bob", "bob")] * 2 + [("nobody", None)]


def test_a_source_runs_in_the_context_of_its_task(run):
    name = contextvars.ContextVar("name")

    def pieces():
        yield name.get().encode()

    async def story():
        name.set("mine")
        async with AsyncStorage(MemoryBackend("m")) as store:
            await store.put("k", pieces())
            assert await store.get("k") == b"mine"

    run(story())


# ---- its life


def test_a_forked_child_has_threads_of_its_own():
    store = AsyncStorage(MemoryBackend("m"))

    async def use():
        await store.put("k", b"x")
        assert await store.get("k") == b"x"

    asyncio.run(use())
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(use())
            asyncio.run(store.close())
        except BaseException:  # noqa: BLE001  # a child must not go on with the tests
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    asyncio.run(use())
    asyncio.run(store.close())


def test_a_storage_that_is_dropped_leaves_no_thread():
    async def story():
        store = AsyncStorage(MemoryBackend("m"))
        await store.put("k", b"x")
        await store.get("k")
        await store.copy("k", "l")
        return weakref.ref(store)

    gone = asyncio.run(story())
    for thread in threading.enumerate():
        if thread.name.startswith("mgs-async"):
            thread.join(60)
            assert not thread.is_alive()
    assert gone() is None


def test_outside_of_a_loop_it_says_so():
    store = AsyncStorage(MemoryBackend("m"))
    coroutine = store.get("k")
    with pytest.raises(RuntimeError):
        coroutine.send(None)


def test_a_coroutine_that_is_dropped_stops_its_call(server):
    async def story():
        async with AsyncStorage(server.backend()) as store:
            coroutine = store.get("held")
            coroutine.send(None)
            await until(server.arrived)
            coroutine.close()
            await until(server.dropped)

    asyncio.run(story())


# ---- storages that are broken


class Broken(MemoryBackend):
    """Its batch does what ``way`` says."""

    def __init__(self, way):
        super().__init__("broken")
        self.way = way

    def batch(self, operations, limits):
        return self.way(operations)


def at_once(_):
    raise ZeroDivisionError("at once")


def half_way(operations):
    next(operations)
    raise ZeroDivisionError("half-way")
    yield


def without_answers(operations):
    next(operations)
    return iter(())


def without_looking(_):
    return iter(())


def other_answers(operations):
    for operation in operations:
        if operation is not None:
            yield Completion(object(), None, None)


@pytest.mark.parametrize("way", [at_once, half_way, without_answers, without_looking, other_answers])
def test_a_broken_batch_leaves_nobody_waiting(run, way):
    async def story():
        async with AsyncStorage(Broken(way)) as store:

            async def one():
                with pytest.raises((ZeroDivisionError, mgs.StorageError)):
                    await store.get("k")

            await together(one, one, one)

    run(story())


def test_one_failure_of_many_operations_names_each_key(run):
    """As where several deletes go in one request."""

    def refused(operations):
        shared = mgs.PermissionDeniedError("no")
        waiting = [operation for operation in [next(operations), next(operations), next(operations)] if operation]
        yield from (Completion(operation, None, shared) for operation in waiting)

    keys = []

    async def story():
        async with AsyncStorage(Broken(refused)) as store:

            async def one(key):
                with pytest.raises(mgs.PermissionDeniedError) as caught:
                    await store.delete(key)
                keys.append((key, caught.value.key))

            await together(*[lambda key=key: one(key) for key in "abcdef"])

    run(story())
    assert sorted(keys) == [(key, key) for key in "abcdef"]


def test_bytes_of_an_abandoned_result_do_not_count_for_ever():
    """A read whose task was cancelled is no longer held against its loop."""

    class Slow(MemoryBackend):
        def batch(self, operations, limits):
            for operation in operations:
                if operation is not None:
                    going.wait(60)
                    yield Completion(operation, Content(self.stat("k"), b"x" * 900, 0), None)

    going = threading.Event()

    async def story():
        async with AsyncStorage(Slow("m"), limits=BatchLimits(buffer_bytes=1000)) as store:
            mgs.Storage(store.backend, owned=False).put("k", b"x")
            tasks = [asyncio.create_task(store.get("k")) for _ in range(10)]
            await asyncio.sleep(0.001)
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            going.set()
            for _ in range(10):
                assert len(await store.get("k")) == 900

    asyncio.run(story())
