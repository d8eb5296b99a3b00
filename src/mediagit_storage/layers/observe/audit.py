"""The audit log: who did what, when, and how it ended, as JSON Lines in a file that is only ever appended to."""

from __future__ import annotations

import json
import os
import pwd
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.observe.hooks import CHANGING, Hook, Record

__all__ = ["AuditHook"]

# O_NONBLOCK: a named pipe that nobody reads is an error, and does not hold up the operation.
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class AuditHook(Hook):
    """A line for each operation that changes something, with ``reads`` for every one, when it has ended.

    A line is one JSON object in ASCII, written by one ``write`` to a file that was opened with ``O_APPEND``: those of
    several threads and processes do not mix (on local file systems; NFS does not promise it). The file is opened for
    each line, so a rotated one goes on in its place; a relative ``path`` is meant from where the process is now. It is
    made with mode 0600. ``sync`` puts each line on the disk before the operation returns. What was killed before its
    end has no line.

    Raises `ConfigError` where the file cannot be written when this is made. A line that cannot be written later is told
    of like any failure of a hook, and the operation stands. A full disk may cut one: the next begins below what is there.
    """

    def __init__(self, path: str | os.PathLike[str], *, reads: bool = False, sync: bool = False) -> None:
        # Absolute now, for it is opened again and again, and the process may go to another folder.
        # Not Path's expanduser, which fails where there is no such user.
        self._path = Path(os.path.expanduser(path)).absolute()  # noqa: PTH111
        self._reads = reads
        self._sync = sync
        #: Whether the last line was cut, so that the next one has to begin below it.
        self._torn = False
        self._process_user = f"{_user()}@{os.uname().nodename}"
        try:
            descriptor = os.open(self._path, _FLAGS, 0o600)
            try:
                regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConfigError(f"the audit log {self._path} cannot be written: {error.strerror}") from None
        if not regular:
            raise ConfigError(f"the audit log {self._path} is no plain file")

    def ended(self, record: Record) -> None:
        """Append the line. Raises `OSError` where it was not written whole."""
        if self._reads or record.operation in CHANGING:
            self._append(f"{json.dumps(_entry(record, self._process_user), separators=(',', ':'))}\n".encode("ascii"))

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._path, _FLAGS, 0o600)
        try:
            if self._torn:
                line = b"\n" + line
            written = os.write(descriptor, line)
            self._torn = written != len(line)
            if self._torn:
                raise OSError(
                    f"{written:,} of {len(line):,} bytes of a line of the audit log {self._path} were written"
                )
            if self._sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _entry(record: Record, process_user: str) -> dict[str, str | int | float]:
    """A line's fields; what there is nothing to say of is left out."""
    entry: dict[str, str | int | float | None] = {
        "v": 1,
        "time": datetime.fromtimestamp(record.started, UTC).isoformat(timespec="milliseconds"),
        "who": record.actor or process_user,
        "process": os.getpid(),
        "store": record.store,
        "operation": record.operation,
        "key": record.key,
        "target": record.target,
        "detail": record.detail,
        "result": record.outcome,
        "error": record.error,
        "message": record.message,
        "bytes_read": record.bytes_read or None,
        "bytes_written": record.bytes_written or None,
        "seconds": round(record.seconds, 6),
        "attempts": record.attempts,
    }
    return {name: value for name, value in entry.items() if value is not None}


def _user() -> str:
    """The name of the user this process runs as, whatever its environment says; the number where there is no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
