"""Writing key files: new ones exclusively, changed ones in one step, always readable by their owner only."""

from __future__ import annotations

from collections.abc import Sequence
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
from mediagit_storage.private_files import create_private_file, locked_beside, replace_private_file
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
        create_private_file(place, content)
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
        with locked_beside(place):
            text, added = _missing(place, wanted)
            if added:
                content = text + "".join(f"{recipient}\n" for recipient in added).encode("ascii")
                replace_private_file(place, content, mode=place.stat().st_mode & 0o777 if place.exists() else 0o600)
    except OSError as error:
        raise ConfigError(f"the recipients file {place} cannot be changed: {error.strerror}") from None
    return added


def _missing(place: Path, wanted: Sequence[FileRecipient]) -> tuple[bytes, Sequence[FileRecipient]]:
    """What stands in the file, and which of ``wanted`` do not."""
    text = read_key_file(place) if place.exists() else b""
    known = set(recipients_in(text, str(place)))
    added = [recipient for recipient in dict.fromkeys(wanted) if recipient not in known]
    return text if not text or text.endswith(b"\n") else text + b"\n", added
