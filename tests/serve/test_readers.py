"""Many readers at once, each of a range of a large object: every byte is right, and memory does not grow with them."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SIZE = 64 * 1024 * 1024
PART = 1024 * 1024


def _resident(process: subprocess.Popen[bytes]) -> int:
    """The most memory that a process has had, in bytes."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) * 1024


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """A gateway in a process of its own, over a folder with one large file."""
    (tmp_path / "store").mkdir()
    file = tmp_path / "store" / "large"
    file.write_bytes(random.Random(5).randbytes(SIZE))
    command = [
        sys.executable,
        "-m",
        "mediagit_storage",
        "serve",
        str(tmp_path / "store"),
        "--port",
        "0",
        "--no-console",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield process, int(process.stdout.readline().rsplit(b":", 1)[1].strip(b"/\n")), file
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()


def _read(port: int, expected: memoryview, reader: int, rounds: int) -> None:
    chosen = random.Random(reader)
    for _ in range(rounds):
        start = chosen.randrange(SIZE - PART)
        with socket.create_connection(("127.0.0.1", port), timeout=100) as connection:
            head = f"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nRange: bytes={start}-{start + PART - 1}\r\n\r\n"
            connection.sendall(head.encode())
            pieces = []
            while piece := connection.recv(262_144):
                pieces.append(piece)
        answer, _, body = b"".join(pieces).partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 206 ")
        assert body == expected[start : start + PART]


def _crowd(gateway: tuple[subprocess.Popen[bytes], int, Path], readers: int, rounds: int) -> int:
    """The memory of the gateway, after so many have read from it at once."""
    process, port, file = gateway
    expected = memoryview(file.read_bytes())
    with ThreadPoolExecutor(readers) as pool:
        for done in [pool.submit(_read, port, expected, reader, rounds) for reader in range(readers)]:
            done.result()
    return _resident(process)


def test_fifty_readers(gateway) -> None:
    assert _crowd(gateway, 50, 1) < 160 * 1024 * 1024


@pytest.mark.long
def test_five_hundred_readers(gateway) -> None:
    few = _crowd(gateway, 50, 2)
    many = _crowd(gateway, 500, 3)
    assert many < 250 * 1024 * 1024
    # Another thousand requests take no more: nothing is kept of those that have ended.
    assert _crowd(gateway, 500, 2) - many < max(few, 40 * 1024 * 1024)
