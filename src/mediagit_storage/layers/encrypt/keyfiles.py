"""Files of keys: identities, perhaps under a passphrase, and recipients; a key a line, ``#`` for comments.

Reading them here and by ``age`` gives the same keys. Messages name the file and the line, and never show a secret.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

from mediagit_storage.errors import ConfigError, DecryptionError, KeyUnavailableError
from mediagit_storage.layers.encrypt.armor import is_armored
from mediagit_storage.layers.encrypt.config import EncryptConfig
from mediagit_storage.layers.encrypt.header import MAX_STANZAS
from mediagit_storage.layers.encrypt.keys import (
    HybridIdentity,
    HybridRecipient,
    PassphraseIdentity,
    X25519Identity,
    X25519Recipient,
    parse_identity,
    parse_recipient,
    secret_bytes,
)
from mediagit_storage.layers.encrypt.whole import decrypt
from mediagit_storage.secrets import Secret, resolve_secret

__all__ = [
    "MAX_RECIPIENTS",
    "AskPassphrase",
    "FileIdentity",
    "FileRecipient",
    "Keys",
    "is_encrypted",
    "key_path",
    "load_keys",
    "open_identity_file",
    "others_may_read",
    "parse_any",
    "parse_identities",
    "parse_recipients",
    "read_key_file",
    "recipients_in",
]

#: What stands in a file of identities, and of recipients.
FileIdentity: TypeAlias = X25519Identity | HybridIdentity
FileRecipient: TypeAlias = X25519Recipient | HybridRecipient

#: Asked for the passphrase of an identity file, with its path.
AskPassphrase: TypeAlias = Callable[[Path], Secret]

#: Beside them a header may hold what ties it to a key, and what proves the recipients of a rotation.
MAX_RECIPIENTS: Final = MAX_STANZAS - 2
#: Far more than anybody has keys: a device that never ends is no key file.
_LONGEST: Final = 4 * 1024 * 1024

K = TypeVar("K")
T = TypeVar("T")


class Keys(NamedTuple):
    """Who objects are encrypted for, and what opens them."""

    recipients: tuple[FileRecipient, ...]
    identities: tuple[FileIdentity, ...]


def load_keys(config: EncryptConfig, ask: AskPassphrase | None = None) -> Keys:
    """The keys that a configuration names, read now. Raises `ConfigError`."""
    identities: list[FileIdentity] = []
    if config.identity_file is not None:
        place = key_path(config.identity_file)
        passphrase = None if config.passphrase is None else resolve_secret(config.passphrase)
        identities += parse_identities(_opened(place, read_key_file(place), passphrase, ask), str(place))
    if config.identity is not None:
        identities += parse_identities(
            secret_bytes(resolve_secret(config.identity), "the identity"), "the identity given"
        )
    named: list[FileRecipient] = [parse_recipient(text) for text in config.recipients]
    if config.recipients_file is not None:
        place = key_path(config.recipients_file)
        named += parse_recipients(read_key_file(place), str(place))
    recipients = tuple(dict.fromkeys(named or [identity.recipient() for identity in identities]))
    if len(recipients) > MAX_RECIPIENTS:
        raise ConfigError(f"at most {MAX_RECIPIENTS} recipients fit into the header of an object")
    kinds = {type(recipient) for recipient in recipients}
    if len(kinds) > 1:
        raise ConfigError(
            "recipients of the post-quantum kind (age1pq1...) stand beside others, which a quantum computer could"
            " break: use one kind"
        )
    return Keys(recipients, tuple(dict.fromkeys(identities)))


def key_path(text: str) -> Path:
    """The path that a configuration names; ``~`` is the user's home folder."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  # Path fails where there is no such user


def read_key_file(place: Path) -> bytes:
    """The bytes of a key file. Raises `ConfigError` where it cannot be read."""
    try:
        with place.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except OSError as error:
        raise ConfigError(f"the key file {place} cannot be read: {error.strerror}") from None
    if len(data) > _LONGEST:
        raise ConfigError(f"the key file {place} has more than {_LONGEST:,} bytes")
    return data


def others_may_read(place: Path) -> bool:
    """Whether the file's mode lets other users read it. Raises `OSError` where there is no such file."""
    return bool(stat.S_IMODE(place.stat().st_mode) & 0o077)


def is_encrypted(data: bytes) -> bool:
    """Whether the bytes of an identity file are an age file, in either form."""
    return data.startswith(b"age-encryption.org/") or is_armored(data)


def parse_identities(data: bytes, place: str) -> list[FileIdentity]:
    """The identities in the bytes of a file that is not encrypted. Raises `ConfigError`; a file without any is one."""
    found = [_in_line(place, number, parse_identity, Secret(text)) for number, text in _lines(data, place)]
    if not found:
        raise ConfigError(f"there is no identity in {place}")
    return found


def parse_recipients(data: bytes, place: str) -> list[FileRecipient]:
    """The recipients in the bytes of a file. Raises `ConfigError`; a file without any is one."""
    found = recipients_in(data, place)
    if not found:
        raise ConfigError(f"there is no recipient in {place}")
    return found


def recipients_in(data: bytes, place: str) -> list[FileRecipient]:
    """The same, of a file that may have none yet."""
    return [_in_line(place, number, parse_recipient, text) for number, text in _lines(data, place)]


def parse_any(data: bytes, place: str) -> list[FileRecipient]:
    """The recipients of a file of identities or of recipients, whichever it is."""
    if b"AGE-SECRET-KEY-" in data:
        return [identity.recipient() for identity in parse_identities(data, place)]
    return parse_recipients(data, place)


def open_identity_file(place: Path, data: bytes, passphrase: Secret) -> bytes:
    """What a passphrase protects. Raises `ConfigError` for another passphrase or file."""
    try:
        return decrypt(data, [PassphraseIdentity(passphrase)])
    except KeyUnavailableError:
        raise ConfigError(f"the passphrase does not open the identity file {place}") from None
    except DecryptionError as error:
        raise ConfigError(f"the identity file {place} is damaged: {error.message}") from None


def _opened(place: Path, data: bytes, passphrase: Secret | None, ask: AskPassphrase | None) -> bytes:
    if not is_encrypted(data):
        return data
    if passphrase is None and ask is not None:
        passphrase = ask(place)
    if not passphrase:
        raise ConfigError(
            f"the identity file {place} is protected by a passphrase: say where it is kept, for example"
            ' passphrase = { env = "NAME" }'
        )
    return open_identity_file(place, data, passphrase)


def _lines(data: bytes, place: str) -> Iterator[tuple[int, str]]:
    # Not strictly, as the error of that would hold the keys.
    text = data.decode("utf-8", "replace")
    if "\ufffd" in text:
        raise ConfigError(f"{place} is not a text")
    # Only at line feeds, as age does.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def _in_line(place: str, number: int, parse: Callable[[K], T], text: K) -> T:
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{place}, line {number}: {error.message}") from None
