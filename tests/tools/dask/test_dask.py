"""Sync, migrate, verify and gc by workers: they end as they do in one process, whatever becomes of the workers."""

from __future__ import annotations

import asyncio
import os
import pickle
import secrets
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from distributed import Future

from mediagit_storage import open_storage
from mediagit_storage.errors import CancelledError, ConfigError, ConnectionLostError, StorageError
from mediagit_storage.progress import on_progress
from mediagit_storage.scope import scope
from mediagit_storage.secrets import Secret
from mediagit_storage.testing.covers import covers
from mediagit_storage.tools.dask import cluster, running, witnesses, workplace
from mediagit_storage.tools.dask.cluster import connected
from mediagit_storage.tools.dask.engine import DaskEngine
from mediagit_storage.tools.dask.tasks import DeletingExtras, Size
from mediagit_storage.tools.engines import open_dask_engine
from mediagit_storage.tools.extras import Extra
from mediagit_storage.tools.gc import Deleting, State, mark_of
from mediagit_storage.tools.migrate import MigrationCounts, migrate
from mediagit_storage.tools.plan import Action, DeletionLimit, SyncRules
from mediagit_storage.tools.remembered import Remembered
from mediagit_storage.tools.sides import Side
from mediagit_storage.tools.sync import SyncCounts, Syncing, sync_objects
from mediagit_storage.tools.verify import Problem, VerifyRules

NAMES = [f"{folder}/{number:03}" for folder in ("a", "m/n", "ü") for number in range(20)] + ["b", "z😀"]


def files(folder):
    """What is stored in a folder: without what a worker that was killed has left in the private one."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".mediagit-storage/")}


@pytest.fixture
def tree(tmp_path):
    for number, name in enumerate(NAMES):
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * number)
    return tmp_path / "src"


@pytest.fixture
def engine(scheduler):
    """Small ranges, so that there are many."""
    with connected(scheduler) as cluster:
        yield DaskEngine(cluster, Size(9))


@pytest.fixture
def sides(tree, tmp_path):
    with open_storage(tree) as source, open_storage(tmp_path / "dst", create=True) as target:
        yield Side(source), Side(target)


def test_a_folder_comes_to_be_like_another_and_is_remembered(engine, sides, tree, tmp_path):
    (tmp_path / "dst/m").mkdir()
    (tmp_path / "dst/m/left over").write_bytes(b"x")
    os.utime(tree / "b", (1, 1))
    for path in tree.rglob("*"):
        os.utime(path, (10**9, 10**9))
    counts, syncing = SyncCounts(), Syncing(SyncRules(delete=True), limit=DeletionLimit(1))
    reports = []
    with Remembered(tmp_path / "state", ("a", "b")) as memory, on_progress(reports.append):
        done = [*sync_objects(*sides, syncing, memory, counts, engine=engine)]
        assert sorted(each.name for each in done) == sorted([*NAMES, "m/left over"])
        assert done[-1].name == "m/left over", "deletions come last"
        assert not [each for each in done if each.error]
        assert files(tmp_path / "dst") == files(tree)
        assert (counts.target, counts.equal, counts.extra, counts.failed) == (1, 0, 1, 0)
        assert reports[0].completed == 0
        assert reports[-1].completed == reports[-1].total == sum(each.size for each in done if each.name in NAMES)

        counts = SyncCounts()
        assert [*sync_objects(*sides, syncing, memory, counts, engine=engine)] == []
        assert (counts.target, counts.equal) == (len(NAMES), len(NAMES))
        proofs, _ = memory.proofs(sides[0].within, 1000)
    assert len(proofs) == len(NAMES)


def test_a_migration_proves_everything(engine, sides, tree, tmp_path):
    counts = MigrationCounts()
    for path in tree.rglob("*"):
        os.utime(path, (10**9, 10**9))
    with Remembered(tmp_path / "state", ("a", "b")) as journal:
        steps = [*migrate(*sides, journal=journal, counts=counts, engine=engine)]
    assert sorted(step.synced.name for step in steps) == sorted(NAMES)
    assert (counts.copied, counts.proven, counts.passes, counts.complete) == (len(NAMES), len(NAMES), 2, True)
    assert files(tmp_path / "dst") == files(tree)


def test_what_is_wrong_is_found(engine, sides, tree, tmp_path):
    list(sync_objects(*sides, engine=engine))
    rules = VerifyRules(SyncRules())
    assert {each.problem for each in engine.verify_store(sides[1], rules)} == {None}
    (tmp_path / "dst/a/007").write_bytes(b"x")
    (tmp_path / "dst/b").unlink()
    (tmp_path / "dst/zz").write_bytes(b"x")
    found = {each.name: each.problem for each in engine.verify_copy(*sides, rules)}
    assert found.keys() == {*NAMES, "zz"}
    wrong = {name: problem for name, problem in found.items() if problem}
    assert wrong == {"a/007": Problem.SIZE, "b": Problem.MISSING, "zz": Problem.EXTRA}


def test_the_command_line_says_what_it_says_without_workers(mgs, scheduler, tree, tmp_path):
    words = ("--engine", "dask", "--scheduler", scheduler)
    (tmp_path / "dst/m").mkdir(parents=True)
    (tmp_path / "dst/m/n").write_bytes(b"a file where a folder should be")
    here, there = mgs("sync", "src", "other", "-n"), mgs("sync", "src", "other", "-n", *words)
    assert sorted(here.lines) == sorted(there.lines)
    result = mgs("sync", "src", "dst", "--delete", "--report", "report", *words)
    assert result.code == 6
    assert "m/n/003" in result.err
    assert "20 failed" in result.err
    assert "nothing was deleted" in result.err
    assert len(files(tmp_path / "dst")) == len(NAMES) - 20 + 1

    assert mgs("migrate", "src", "moved", *words).err.endswith(f"{len(NAMES)} objects are equal in every byte\n")
    assert mgs("manifest", "moved").code == 0
    (tmp_path / "manifest").write_bytes(mgs("manifest", "moved").raw)
    (tmp_path / "moved/a/001").write_bytes(b"y" * 5)
    here, there = (mgs("verify", "moved", "--manifest", "manifest", *more) for more in ((), words))
    assert (here.code, here.out) == (there.code, there.out)
    assert here.lines == ["content a/001: " + here.lines[0].partition(": ")[2]]


def test_garbage_goes_when_its_time_has_come_and_nothing_else(mgs, scheduler, tree, tmp_path):
    words = ("--engine", "dask", "--scheduler", scheduler, "--marks", "marks", "--grace", "0s")
    for path in tree.rglob("*"):
        os.utime(path, (10**9, 10**9))
    needed = NAMES[::2]
    (tmp_path / "references").write_text("".join(f"{name}\n" for name in reversed(needed)) + "no/such\n")
    first = mgs("gc", "src", "--references", "references", "--json", *words)
    assert first.code == 0, first.err
    assert sorted(each["name"] for each in first.records[:-1]) == sorted(set(NAMES) - set(needed))
    assert first.records[-1]["referenced"] == len(needed)
    unread = mgs("gc", "src", "--references-from", "cat references; false", "--delete", *words)
    assert unread.code == 1
    assert len(files(tree)) == len(NAMES)
    last = mgs("gc", "src", "--references", "references", "--delete", "--trash", "trash/", *words)
    assert last.code == 0, last.err
    kept = files(tree)
    assert sorted(name for name in kept if not name.startswith("trash/")) == sorted(needed)
    assert len(kept) == len(NAMES)


def test_a_worker_that_is_killed_in_the_middle_changes_nothing(scheduler_alone, tree, tmp_path):
    slow = [{"layer": "throttle", "requests": 50}]
    with (
        connected(scheduler_alone) as cluster,
        open_storage(tree, layers=slow) as source,
        open_storage(tmp_path / "dst", create=True) as target,
    ):
        killed = []

        def kill_one(progress):
            if not killed and progress.completed:
                killed.extend(cluster.client.run(os.getpid).values())
                os.kill(killed[0], signal.SIGKILL)

        counts = SyncCounts()
        with on_progress(kill_one):
            sync = sync_objects(Side(source), Side(target), counts=counts, engine=DaskEngine(cluster, Size(6)))
            done = [*sync]
        assert len(killed) == 2
        assert not [each for each in done if each.error]
    assert files(tmp_path / "dst") == files(tree)
    names = [each.name for each in done]
    assert len(names) == len(set(names)), "what was done twice is told once"


def until_nothing_is_left(client, name):
    """Waits until neither the scheduler nor a worker knows a task of that run."""

    def left(tasks):
        return [key for key in tasks if str(key).startswith(f"mgs-{name}")]

    began = time.monotonic()
    while client.run_on_scheduler(lambda dask_scheduler: left(dask_scheduler.tasks)) or any(
        client.run(lambda dask_worker: left(dask_worker.state.tasks)).values()
    ):
        assert time.monotonic() - began < 60
        time.sleep(0.01)


def test_who_cancels_leaves_nothing_on_the_cluster(scheduler, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(running.secrets, "token_hex", lambda _: "cancelled")
    slow = [{"layer": "throttle", "requests": 50}]
    with (
        connected(scheduler) as cluster,
        open_storage(tree, layers=slow) as source,
        open_storage(tmp_path / "dst", create=True) as target,
    ):
        with (
            scope() as inside,
            pytest.raises(CancelledError),
            on_progress(lambda progress: inside.cancel() if progress.completed else None),
        ):
            list(sync_objects(Side(source), Side(target), engine=DaskEngine(cluster, Size(6))))
        until_nothing_is_left(cluster.client, "cancelled")
    assert len(files(tmp_path / "dst")) < len(NAMES)


def test_an_error_that_somebody_keeps_holds_nothing_on_the_cluster(scheduler, sides, monkeypatch):
    monkeypatch.setattr(running.secrets, "token_hex", lambda _: "kept")

    def failing(sides, _):
        raise StorageError("this is what is kept")

    with connected(scheduler) as cluster:
        with running.running(cluster, sides) as run, pytest.raises(StorageError, match="what is kept") as kept:
            list(run.done(iter([running.Job(None, failing)]), lambda *_: ()))
        until_nothing_is_left(cluster.client, "kept")
    assert kept.value.__traceback__ is not None


@pytest.mark.server
@pytest.mark.uses_server("seaweedfs")
def test_a_bucket_whose_secrets_are_in_files(engine, servers, sides, tree, tmp_path):
    server = servers("seaweedfs")
    options = {"endpoint": server.url, "region": server.region, "service": "seaweedfs"}
    for name, secret in {"access_key_id": server.access_key, "secret_access_key": server.secret_key}.items():
        (tmp_path / name).write_text(secret)
        options[name] = {"file": str(tmp_path / name)}
    with open_storage(f"s3://t-{secrets.token_hex(8)}", options=options, create=True) as bucket:
        copy = Side(bucket, "deep/er/")
        assert not [each for each in sync_objects(sides[0], copy, engine=engine) if each.error]
        assert [found.name for found in copy.listed()] == sorted(NAMES, key=lambda name: name.encode())
        rules = VerifyRules(SyncRules())
        assert {each.problem for each in engine.verify_copy(sides[0], copy, rules)} == {None}
        bucket.put("deep/er/a/004", b"other bytes"), bucket.put("deep/er/zzz", b"left over")
        again = Syncing(SyncRules(delete=True))
        done = {each.name: each.action for each in sync_objects(sides[0], copy, again, engine=engine)}
        assert done == {"a/004": Action.COPY, "zzz": Action.DELETE}
        assert not [each for each in migrate(copy, sides[1], engine=engine) if each.synced.error]
    assert files(tmp_path / "dst") == files(tree)


def test_literal_secrets_do_not_travel(engine, sides):
    options = {
        "endpoint": "http://127.0.0.1:1",
        "access_key_id": Secret("AKIDHUSH"),
        "secret_access_key": Secret("hush"),
    }
    with (
        open_storage("s3://bucket", options=options) as store,
        pytest.raises(ConfigError, match="workers cannot open") as caught,
    ):
        list(sync_objects(sides[0], Side(store), engine=engine))
    assert "hush" not in str(caught.value).lower()
    with open_storage("memory://only-here") as store, pytest.raises(ConfigError, match="workers cannot open"):
        list(engine.verify_store(Side(store), VerifyRules(SyncRules())))


def test_workers_that_see_another_folder_are_found_out(engine, sides, tree, tmp_path):
    _, target = sides
    with open_storage(tree) as source:
        # As on another machine: the folder has the name, and other files.
        found = witnesses.witnesses_of([Side(source), target])
        assert len(found) == 5
        wrong = [each._replace(etag="another") for each in found]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(running, "witnesses_of", lambda sides: wrong)
            patched.setattr(running, "missing", lambda sides, seen: False)
            with pytest.raises(ConfigError, match="sees another storage"):
                list(sync_objects(Side(source), target, engine=engine))


def test_a_target_that_is_empty_for_us_alone_is_not_touched(engine, sides, tmp_path, monkeypatch):
    source, target = sides
    target.store.put("precious", b"x")
    listed = Side.listed
    # As on a machine whose disk is not mounted: workers see more.
    monkeypatch.setattr(Side, "listed", lambda side: iter(()) if side.store is target.store else listed(side))
    with pytest.raises(ConfigError, match="not empty"):
        list(sync_objects(source, target, Syncing(SyncRules(delete=True), limit=DeletionLimit(10)), engine=engine))
    assert files(tmp_path / "dst") == {"precious": b"x"}


def test_nothing_is_deleted_where_the_source_has_gone_meanwhile(sides, tmp_path):
    source, target = sides
    target.store.put("extra", b"x")
    info = target.store.stat("extra")
    seen = witnesses.witnesses_of(sides)
    for name in NAMES:
        source.store.delete(name)
    task = DeletingExtras([Extra("extra", info.etag, info.size)], 2)
    with pytest.raises(ConfigError, match="sees another storage"):
        task(sides, lambda: witnesses.check_seen(sides[:1], seen, "here"))
    assert files(tmp_path / "dst") == {"extra": b"x"}
    assert [each.error for each in task(sides, lambda: None).items] == [None]
    assert files(tmp_path / "dst") == {}


def test_what_a_killed_client_left_open_is_closed_by_the_next_run(sides):
    worker = SimpleNamespace(address="here", plugins={})
    left, idle = (workplace.Workplace(name, pickle.dumps([*sides])) for name in ("left", "next"))
    seen, opened = witnesses.witnesses_of(sides), []
    look = lambda own, _sure: opened.append(own) or own[0].store.stat("b").size  # noqa: E731
    left.setup(worker)
    worker.plugins["left"] = left
    size = left.run("task", look, seen)
    busy = lambda own, _sure: idle.setup(worker) or look(own, _sure)  # noqa: E731
    assert left.run("task", busy, seen) == size, "what is used is not closed"
    assert opened[0] is opened[1]
    idle.setup(worker)
    assert left.run("task", look, seen) == size
    assert opened[2] is not opened[0], "opened again"
    left.teardown(worker)


def test_a_worker_of_another_version_is_refused(engine, sides, monkeypatch):
    monkeypatch.setattr(running, "__version__", "0.0.1")
    with pytest.raises(ConfigError, match=r"and this is 0\.0\.1: install the same"):
        list(sync_objects(*sides, engine=engine))


def test_what_the_first_try_deleted_is_not_told_as_deleted_by_others(engine, sides, monkeypatch):
    target = sides[1]
    now = datetime.now(UTC)
    for trash, lost, state in (("t/", False, State.TRASHED), (None, True, State.DELETED), (None, False, State.GONE)):
        target.store.put("x", b"x")
        due = (mark_of("x", target.store.stat("x"), None, now), False)
        target.store.delete("x")
        if trash is not None:
            target.store.put("t/x", b"x")
        monkeypatch.setattr(running.Running, "has_lost_workers", lambda _, lost=lost: lost)
        done = [*engine.purged(iter([due]), Deleting(target, trash, timedelta(), now), 2)]
        assert [(each.state, each.error) for each in done] == [(state, None)]


def test_a_scheduler_that_hangs_is_taken_for_gone(scheduler, monkeypatch):
    with cluster.connected(scheduler) as connection:
        monkeypatch.setattr(cluster, "_SILENCE", 0.2)
        monkeypatch.setattr(connection.client, "scheduler", SimpleNamespace(ncores=asyncio.Event().wait))
        with pytest.raises(ConnectionLostError, match="went away"):
            connection.threads()
        assert connection.lost
        monkeypatch.undo()


def test_a_run_without_workers_comes_to_an_end(scheduler, sides, monkeypatch):
    for name, value in {"_LOOK": 0.01, "_ALONE": 2}.items():
        monkeypatch.setattr(running, name, value)
    with cluster.connected(scheduler) as connection, running.running(connection, sides) as run:
        monkeypatch.setattr(connection, "threads", dict)
        monkeypatch.setattr(run, "_given", lambda _task, _ended: Future("nobody-does-it", connection.client))
        with pytest.raises(ConnectionLostError, match="no worker any more"):
            list(run.done(iter([running.Job(None, DeletingExtras([], 1))]), lambda _about, _answer, _idle: ()))


@pytest.mark.parametrize(("said", "told"), [(b"SSH-2.0-OpenSSH", "no scheduler of Dask"), (b"", "timed out")])
def test_who_is_no_scheduler_is_not_waited_for(monkeypatch, said, told):
    def answer():
        connection, _ = server.accept()
        with connection:
            connection.sendall(said)
            with suppress(ConnectionError):
                connection.recv(1)

    monkeypatch.setattr(cluster, "_PATIENCE", 15 if said else 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        port = server.getsockname()[1]
        with pytest.raises(ConnectionLostError, match=told), cluster.connected(f"tcp://127.0.0.1:{port}"):
            pass
        thread.join()


def test_nobody_at_the_address():
    for address, kind in {"tcp://127.0.0.1:1": ConnectionLostError, "nonsense": ConfigError}.items():
        with pytest.raises(kind, match=address), open_dask_engine(address):
            pass


@covers(243)
def test_a_missing_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("mediagit_storage.tools.dask")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"mediagit-storage\[dask\]"):
        open_dask_engine()


def test_options_that_contradict_each_other(mgs, tree):
    for words in (("--scheduler", "tcp://x:1"), ("--engine", "dask", "--scheduler", "tcp://x:1", "--workers", "2")):
        result = mgs("sync", "src", "dst", *words)
        assert result.code == 2
        assert "--workers" in result.err
