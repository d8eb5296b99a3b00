"""The suite of `AsyncStorage`: small objects under one event loop, against the stand-in of `sink.py`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sink
from aio_bench import CONTESTANTS
from turns import Case, Figures, measured

SCRIPT = str(Path(__file__).with_name("aio_bench.py"))
CASES = [
    Case("get 10,000 objects of 16 KiB, 32 tasks", "get", 10_000, [*CONTESTANTS], "obstore"),
    Case("put 10,000 objects of 16 KiB, 32 tasks", "put", 10_000, [*CONTESTANTS], "obstore"),
    Case("get 1,000 objects of 16 KiB, one gather", "gather", 1000, [*CONTESTANTS], "obstore"),
]
NOTE = "One nginx process, on the same machine, is the server. Each contestant warms up with a tenth of the objects."


class AioSuite:
    """Measures against a running server."""

    def __init__(self, server: sink.Sink) -> None:
        self._server = server

    def measure(self, case: Case, name: str) -> Figures:
        """One contestant, once."""
        return measured(SCRIPT, case.task, name, "--count", str(case.count), "--url", self._server.url)


@contextmanager
def opened(scratch: Path) -> Iterator[AioSuite]:
    """The suite with its server, which ends with the block."""
    memory = Path("/dev/shm")
    folder = memory if memory.is_dir() else scratch
    with (
        tempfile.TemporaryDirectory(prefix="mgs-bench-", dir=folder) as name,
        sink.running(Path(name) / "server", large=False, lists=False) as server,
    ):
        yield AioSuite(server)
