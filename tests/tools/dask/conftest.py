"""Workers for tests: one cluster of two processes for the whole run, however many processes that has."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mediagit_storage.testing.command_line import call_mgs
from mediagit_storage.tools.dask.cluster import connected


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The folder of a scheduler with two workers. Whoever needs it first starts it; it ends with the last."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "dask"
    place.mkdir(exist_ok=True)
    process = None
    with (place / "lease").open("a") as lease:
        with (place / "guard").open("a") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            # Not while a cluster is about to end.
            fcntl.flock(lease, fcntl.LOCK_SH)
            if not (place / "address").exists():
                process = start_cluster(place)
        address = (place / "address").read_text()
        # Dask keeps some threads for good once they were used: they are nothing that a test left.
        with connected(address) as connection:
            called = threading.Event()
            connection.client.submit(abs, 1).add_done_callback(lambda _: called.set())
            assert called.wait(60)
        yield place
    if process is not None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        # Others of this run may need it still: then it ends with them.
        process.returncode = 0


@contextmanager
def held(place, how):
    """The workers, shared with tests of other processes, or for one test alone."""
    with (place / "workers").open("a") as workers:
        fcntl.flock(workers, how)
        yield (place / "address").read_text()


@pytest.fixture
def scheduler(cluster):
    """The address of a scheduler whose workers live as long as the test."""
    with held(cluster, fcntl.LOCK_SH) as address:
        yield address


@pytest.fixture
def scheduler_alone(cluster):
    """The address of a scheduler for a test that kills its workers, while no other test has work for them."""
    with held(cluster, fcntl.LOCK_EX) as address:
        yield address


def start_cluster(place):
    """The process of a cluster that answers already."""
    environment = {
        **os.environ,
        "DASK_TEMPORARY_DIRECTORY": str(place),
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "90s",
    }
    program = [sys.executable, Path(__file__).with_name("cluster_process.py"), place]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            program, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    while not (place / "address").exists():
        if process.poll() is not None:
            pytest.fail(f"no cluster: {(place / 'log').read_text()}", pytrace=False)
        time.sleep(0.02)
    return process


@pytest.fixture
def mgs(tmp_path, monkeypatch):
    """Call ``mgs`` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MGS_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    return call_mgs
