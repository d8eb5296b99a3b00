"""Workers for tests: one cluster of two processes for all tests of a module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mediagit_storage.testing.command_line import call_mgs
from mediagit_storage.tools.dask.cluster import connected


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a scheduler with two workers."""
    environment = {**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path_factory.mktemp("dask"))}
    program = [sys.executable, Path(__file__).with_name("cluster_process.py")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        address = json.loads(process.stdout.readline())
        # Dask keeps some threads for good once they were used: they are nothing that a test left.
        with connected(address) as cluster:
            called = threading.Event()
            cluster.client.submit(abs, 1).add_done_callback(lambda _: called.set())
            assert called.wait(60)
        yield address
        process.stdin.close()
        process.wait(60)


@pytest.fixture
def mgs(tmp_path, monkeypatch):
    """Call ``mgs`` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MGS_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    return call_mgs
