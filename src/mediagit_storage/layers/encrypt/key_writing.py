"""Writing key files: new ones exclusively, changed ones in one step, always readable by their owner only."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from mediagit_storage.errors import ConfigError
from mediagit_storage.layers.encrypt.keyfiles import (
    FileIdentity,
    FileRecipient,
    read_key_file,
    recipients_in,
)
from mediagit_storage.layers.encrypt.keys import PassphraseRecipient
from mediagit_storage.layers.encrypt.whole import encrypt
from mediagit_storage.secrets import Secret

__all__ = ["add_recipients", "identity_text", "write_new_file"]


def identity_text(identity: FileIdentity, passphrase: Secret | None, *, now: datetime | None = None) -> bytes:
    """The content of an identity file, as `age-keygen` writes it; under a passphrase, as ``age --passphrase`` does."""
    created = (datetime.now(UTC) if now is None else now).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = (f"# created: {created}", f"# public key: {identity.recipient()}", identity.secret.reveal(), "")
    text = "\n".join(lines).encode("ascii")
    return text if passphrase is None else encrypt(text, [PassphraseRecipient(passphrase)])


def write_new_file(place: Path, content: bytes) -> None:
    """Make a file of mode 0600, on disk when this returns. Raises `ConfigError` where there is one, or it cannot be made.

    A folder that is missing is made for its owner only. What cannot be written whole is not left.
    """
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(place, content)
        _sync(place.parent)
    except FileExistsError:
        raise ConfigError(f"{place} exists already, and a key file is never overwritten") from None
    except OSError as error:
        raise ConfigError(f"the key file {place} cannot be made: {error.strerror}") from None


def add_recipients(place: Path, wanted: Sequence[FileRecipient], *, dry: bool = False) -> Sequence[FileRecipient]:
    """Add to a recipients file those that it has not, in one step; they are returned. ``dry`` writes nothing.

    The file keeps its comments, order and mode; a missing one is made. Raises `ConfigError` for a file of anything else.
    """
    # The file itself, where a link stands for it.
    place = place.resolve()
    if dry:
        return _missing(place, wanted)[1]
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(place.with_name(f".{place.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            text, added = _missing(place, wanted)
            if added:
                _replace(place, text + "".join(f"{recipient}\n" for recipient in added).encode("ascii"))
        finally:
            os.close(lock)
    except OSError as error:
        raise ConfigError(f"the recipients file {place} cannot be changed: {error.strerror}") from None
    return added


def _missing(place: Path, wanted: Sequence[FileRecipient]) -> tuple[bytes, Sequence[FileRecipient]]:
    """What stands in the file, and which of ``wanted`` do not."""
    text = read_key_file(place) if place.exists() else b""
    known = set(recipients_in(text, str(place)))
    added = [recipient for recipient in dict.fromkeys(wanted) if recipient not in known]
    return text if not text or text.endswith(b"\n") else text + b"\n", added


def _replace(place: Path, content: bytes) -> None:
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    _create(temporary, content)
    try:
        if place.exists():
            temporary.chmod(place.stat().st_mode & 0o777)
        temporary.replace(place)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync(place.parent)


def _create(place: Path, content: bytes) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            place.unlink()
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
