"""Large transfers in processes of their own that kill themselves on the way: for tests of what goes on afterwards."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from mediagit_storage.registry import backend_entry
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage

__all__ = ["Transferred", "digest", "open_storage", "transfer", "transfer_command", "write_numbered"]

_MIB: Final = 1024 * 1024
#: One transfer of the object ``large``. It says each byte count that it reaches, kills itself when it has come so far,
#: and tells in its last words how much memory it took.
_WORKER: Final = """
import json, os, re, signal, sys
from mediagit_storage import ledger
from mediagit_storage.progress import on_progress
from mediagit_storage.testing.killed_transfers import open_storage

kind, options, what, path, stop_at = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
ledger._SAVE_EVERY = 0.0

def tell(report):
    print(report.completed, flush=True)
    if stop_at and report.completed >= stop_at:
        os.kill(os.getpid(), signal.SIGKILL)

with open_storage(kind, options) as store, on_progress(tell):
    if what == "upload":
        store.upload(path, "large")
    else:
        store.download("large", path)
# Not what getrusage tells: a child counts the memory of the process that started it.
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1], file=sys.stderr)
"""

#: The options that are secrets.
_SECRETS: Final = frozenset({"access_key_id", "secret_access_key", "account_key"})


class Transferred(NamedTuple):
    """How a transfer ended: its exit code, the bytes it had from an earlier run, its most memory in MiB (0 when killed)."""

    code: int
    began: int
    peak: int


def open_storage(kind: str, options: Mapping[str, str | int | bool | None]) -> Storage:
    """A storage of the backend that is registered as ``kind``, from the options of its configuration."""
    entry = backend_entry(kind)
    given = {name: Secret(str(value)) if name in _SECRETS else value for name, value in options.items()}
    return Storage(entry.factory(entry.config_type(**given)))


def transfer_command(
    kind: str, options: Mapping[str, str | int | bool | None], what: str, path: Path, stop_at: int = 0
) -> list[str]:
    """The command of a process that uploads or downloads ``path`` (``what``)."""
    return [sys.executable, "-c", _WORKER, kind, json.dumps(options), what, str(path), str(stop_at)]


def transfer(
    kind: str, options: Mapping[str, str | int | bool | None], what: str, path: Path, *, stop_at: int = 0
) -> Transferred:
    """Run one to its end, or until it kills itself at ``stop_at`` bytes; what it reaches only grows."""
    command = transfer_command(kind, options, what, path, stop_at)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # made above
    steps = [int(line) for line in done.stdout.split()]
    assert steps == sorted(steps), steps
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return Transferred(done.returncode, steps[1], 0 if done.returncode else int(done.stderr.split()[-1]) // 1024)


def write_numbered(path: Path, size: int) -> None:
    """A file whose every MiB is another, written in little memory."""
    with path.open("wb") as file:
        for number in range(size // _MIB):
            file.write(number.to_bytes(8, "big") * (_MIB // 8))


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
