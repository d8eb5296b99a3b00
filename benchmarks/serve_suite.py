"""The gateway beside nginx and `rclone serve http`, which serve the same files, asked by wrk."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sink import die_with_parent, free_ports, stop, wait_until_ready
from turns import Case, Failed, Figures, peak_mib

SMALL, MEDIUM, LARGE = 16 * 1024, 2**20, 256 * 2**20
FILES = 1000
OURS, NGINX, RCLONE = "mgs serve", "nginx", "rclone serve http"
EVERYBODY = [OURS, NGINX, RCLONE]
#: Seconds of one measurement, after one to warm up.
SECONDS = 4

NOTE = (
    "The servers answer for the same folder, whose files are in memory after the first read; wrk asks, on the same cores, over"
    " connections that stay. nginx has one worker and `sendfile`; `mgs serve` is one process of Python over a local storage."
    " Connections work side by side: the time of an object is the inverse of the objects in a second. The processor time is"
    " the server's own."
)

_MANY = 10_000

CASES = [
    Case("GET of 10,000 objects of 16 KiB, 16 connections", "small-16", _MANY, EVERYBODY, base=NGINX),
    Case("GET of 10,000 objects of 16 KiB, 256 connections", "small-256", _MANY, EVERYBODY, base=NGINX),
    Case("GET of 10,000 ranges of 64 KiB of 256 MiB, 64 connections", "range-64", _MANY, EVERYBODY, base=NGINX),
    Case("GET of 1 MiB, 16 connections", "medium-16", 1, EVERYBODY, base=NGINX, size=MEDIUM),
    Case("GET of 256 MiB, 2 connections", "large-2", 1, EVERYBODY, base=NGINX, size=LARGE),
    Case("Latency of 16 KiB, 16 connections", "small-16", 1, EVERYBODY, columns=("median", "99 %")),
]

NGINX_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  default_type application/octet-stream;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""

LATENCY = re.compile(r"^ +(\d+)% +([\d.]+)(us|ms|s)$", re.MULTILINE)

#: wrk asks for one file after the other, or for a part of the large one.
SCRIPT = """
local number = 0
request = function()
  number = (number + 7) % {files}
  return wrk.format("GET", string.format("/{kind}/%04d.bin", number))
end
"""
RANGES = """
local start = 0
request = function()
  start = (start + 7340033) % 268000000
  return wrk.format("GET", "/large/0000.bin", {{["Range"] = string.format("bytes=%d-%d", start, start + 65535)}})
end
"""


class Ready:
    """The servers that run."""

    def __init__(self, folder: Path, servers: dict[str, tuple[subprocess.Popen[bytes], int]]) -> None:
        self._folder = folder
        self._servers = servers

    def measure(self, case: Case, name: str) -> Figures:
        """One run of wrk against one server."""
        process, port = self._servers[name]
        kind, connections = case.task.rsplit("-", 1)
        script = self._folder / f"{kind}.lua"
        files = {"small": FILES, "medium": 20, "large": 1}.get(kind, 1)
        script.write_text((RANGES if kind == "range" else SCRIPT).format(files=files, kind=kind))
        words = ["wrk", "-t1", "--latency", f"-c{connections}", "-s", str(script), f"http://127.0.0.1:{port}/"]
        subprocess.run([*words, "-d1"], check=True, capture_output=True)
        before = _cpu(process.pid)
        done = subprocess.run([*words, f"-d{SECONDS}"], check=True, capture_output=True, text=True)
        cpu = _cpu(process.pid) - before
        found = re.search(r"(\d+) requests in ([\d.]+)(m?s|m)", done.stdout)
        if found is None or re.search(r"Non-2xx|Socket errors: .*(read|connect) [1-9]", done.stdout):
            raise Failed(f"{name} did not answer all: {done.stdout}")
        requests, seconds = int(found[1]), float(found[2]) * {"s": 1, "ms": 0.001, "m": 60}[found[3]]
        if not requests:
            raise Failed(f"{name} answered nothing in {seconds} s")
        figures = {"seconds": case.count * seconds / requests, "cpu": case.count * cpu / requests}
        latencies = {
            f"{percent} %": _microseconds(value, unit) for percent, value, unit in LATENCY.findall(done.stdout)
        }
        peak = sum(peak_mib(each) for each in [process.pid, *_children(process.pid)])
        return {**figures, "peak_mib": peak, "median": latencies.get("50 %", 0.0), "99 %": latencies.get("99 %", 0.0)}


@contextlib.contextmanager
def opened(scratch: Path) -> Iterator[Ready]:
    """Files and servers, while inside."""
    files = scratch / "files"
    for kind, count, size in (("small", FILES, SMALL), ("medium", 20, MEDIUM), ("large", 1, LARGE)):
        (files / kind).mkdir(parents=True)
        for number in range(count):
            (files / kind / f"{number:04}.bin").write_bytes(os.urandom(size))
    with contextlib.ExitStack() as stack:
        servers = {}
        for name, words in _commands(scratch, files).items():
            port = free_ports()[0]
            servers[name] = stack.enter_context(_started(words(port))), port
            wait_until_ready(servers[name][0], port, "/small/0001.bin", SMALL)
        yield Ready(scratch, servers)


def _commands(scratch: Path, files: Path):
    def nginx(port: int) -> list[str]:
        configuration = scratch / "nginx.conf"
        configuration.write_text(NGINX_CONFIGURATION.format(folder=scratch, port=port, root=files))
        return ["nginx", "-c", str(configuration), "-e", str(scratch / "error.log")]

    def ours(port: int) -> list[str]:
        words = [sys.executable, "-m", "mediagit_storage", "serve", str(files), "--port", str(port), "--no-console"]
        return [*words, "--max-requests", "2000"]

    def rclone(port: int) -> list[str]:
        return [
            _rclone(),
            "serve",
            "http",
            str(files),
            "--addr",
            f"127.0.0.1:{port}",
            "--config",
            "",
            "--vfs-cache-mode",
            "off",
        ]

    return {OURS: ours, NGINX: nginx, RCLONE: rclone}


def _rclone() -> str:
    beside = Path(sys.executable).parent / "rclone"
    return str(beside) if beside.exists() else shutil.which("rclone") or "rclone"


@contextlib.contextmanager
def _started(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),  # noqa: PLW1509  # before any thread
    )
    try:
        yield process
    finally:
        stop(process)


def _cpu(pid: int) -> float:
    """Processor time of a process and of those that it has started (nginx's worker), in seconds."""
    total = 0.0
    for each in [pid, *_children(pid)]:
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(") ")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _microseconds(value: str, unit: str) -> float:
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
