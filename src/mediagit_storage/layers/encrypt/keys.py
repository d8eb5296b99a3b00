"""Recipients, who objects are encrypted for, and identities, who opens them: the kinds of keys that age knows.

A recipient is public and a text (``age1...``); an identity is secret (``AGE-SECRET-KEY-1...``). Both wrap or unwrap the
file key of one object in a stanza of its header. The rules are those of c2sp.org/age. No ``repr`` shows a secret.
"""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from mediagit_storage.errors import ConfigError, KeyUnavailableError
from mediagit_storage.layers.encrypt import bech32, primitives
from mediagit_storage.layers.encrypt.header import Header, HeaderError, Stanza, b64decode, b64encode, check_mac, hkdf
from mediagit_storage.layers.encrypt.sizes import TAG
from mediagit_storage.secrets import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

__all__ = [
    "FILE_KEY",
    "HybridIdentity",
    "HybridRecipient",
    "Identity",
    "PassphraseIdentity",
    "PassphraseRecipient",
    "Recipient",
    "X25519Identity",
    "X25519Recipient",
    "generate_identity",
    "parse_identity",
    "parse_recipient",
    "secret_bytes",
    "unwrap",
]

#: Bytes of a file key.
FILE_KEY: Final = 16

_SECRET: Final = 32
_X25519: Final = "X25519"
_HYBRID: Final = "mlkem768x25519"
_SCRYPT: Final = "scrypt"
_HYBRID_PUBLIC: Final = 1216
#: What a passphrase costs: written with 2^18, about a second; read up to 2^20, which takes 1 GiB of memory.
_WORK: Final = 18
_MOST_WORK: Final = 20
_SALT: Final = 16
_DECIMAL: Final = re.compile(r"[1-9][0-9]*")


class Recipient(ABC):
    """Somebody whom objects are encrypted for. ``stanza_kind`` is the kind of the stanzas of all recipients like this."""

    stanza_kind: ClassVar[str]

    @abstractmethod
    def wrap(self, file_key: bytes) -> Stanza:
        """A stanza that only this recipient's identity opens; another one at each call."""


class Identity(ABC):
    """Somebody who can open what is encrypted for its recipient."""

    @abstractmethod
    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The file key, or None where no stanza is for this identity. Raises `HeaderError` for a malformed one."""


@dataclass(frozen=True, slots=True)
class X25519Recipient(Recipient):
    """The usual kind: a Curve25519 public key."""

    stanza_kind: ClassVar[str] = _X25519
    public: bytes

    def wrap(self, file_key: bytes) -> Stanza:
        """By a share of an ephemeral key."""
        ephemeral = primitives.x25519_key(os.urandom(_SECRET))
        share, shared = primitives.x25519_public(ephemeral), primitives.x25519(ephemeral, self.public)
        if shared is None:
            raise ConfigError("a recipient is a public key that no secret key has")
        return Stanza(self.stanza_kind, (b64encode(share),), primitives.seal_once(self._key(share, shared), file_key))

    def unwrapped(self, share: bytes, shared: bytes, body: bytes) -> bytes | None:
        """What `wrap` wrapped, for who knows the shared secret."""
        return primitives.open_once(self._key(share, shared), body)

    def _key(self, share: bytes, shared: bytes) -> bytes:
        return hkdf(shared, share + self.public, b"age-encryption.org/v1/X25519")

    def __str__(self) -> str:
        return bech32.encode("age", self.public)


@dataclass(frozen=True, slots=True)
class HybridRecipient(Recipient):
    """The post-quantum kind: ML-KEM-768 and X25519 together, so that both have to be broken."""

    stanza_kind: ClassVar[str] = _HYBRID
    public: bytes

    def wrap(self, file_key: bytes) -> Stanza:
        """By HPKE."""
        share, sealed = primitives.hybrid_seal(self.public, file_key)
        return Stanza(self.stanza_kind, (b64encode(share),), sealed)

    def __str__(self) -> str:
        return bech32.encode("age1pq", self.public)


@dataclass(frozen=True, slots=True)
class PassphraseRecipient(Recipient):
    """Who knows a passphrase. It must be the only recipient of a file."""

    stanza_kind: ClassVar[str] = _SCRYPT
    passphrase: Secret
    work: int = _WORK

    def __post_init__(self) -> None:
        if not self.passphrase:
            raise ConfigError("a passphrase must not be empty")

    def wrap(self, file_key: bytes) -> Stanza:
        """By scrypt, with a new salt. Takes about a second."""
        salt = os.urandom(_SALT)
        key = _scrypt(self.passphrase, salt, self.work)
        return Stanza(self.stanza_kind, (b64encode(salt), str(self.work)), primitives.seal_once(key, file_key))


@dataclass(frozen=True, slots=True)
class X25519Identity(Identity):
    """The secret key of an `X25519Recipient`."""

    secret: Secret
    # Made once: every read needs it.
    _key: X25519PrivateKey = field(init=False, repr=False, compare=False)
    _recipient: X25519Recipient = field(init=False, repr=False)

    def __post_init__(self) -> None:
        key = primitives.x25519_key(bech32.decode(self.secret.reveal())[1])
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_recipient", X25519Recipient(primitives.x25519_public(key)))

    def __reduce__(self) -> tuple[type[X25519Identity], tuple[Secret]]:
        """As its text, which refuses or not: the library's key cannot be pickled."""
        return X25519Identity, (self.secret,)

    def recipient(self) -> X25519Recipient:
        """Whom to encrypt for, so that this identity can open it."""
        return self._recipient

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Tries every stanza of this kind."""
        for stanza in stanzas:
            if stanza.kind != _X25519:
                continue
            share = _share(stanza, _SECRET)
            shared = primitives.x25519(self._key, share)
            if shared is None:
                raise HeaderError("the header is malicious: a share of it has no shared secret")
            if (file_key := self._recipient.unwrapped(share, shared, stanza.body)) is not None:
                return file_key
        return None


@dataclass(frozen=True, slots=True)
class HybridIdentity(Identity):
    """The secret seed of a `HybridRecipient`."""

    secret: Secret
    _raw: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_raw", bech32.decode(self.secret.reveal())[1])

    def recipient(self) -> HybridRecipient:
        """Whom to encrypt for, so that this identity can open it."""
        return HybridRecipient(primitives.hybrid_public(self._raw))

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Tries every stanza of this kind."""
        for stanza in stanzas:
            if stanza.kind != _HYBRID:
                continue
            share = _share(stanza, primitives.HYBRID_SHARE)
            if primitives.x25519(primitives.x25519_key(self._raw), share[-_SECRET:]) is None:
                raise HeaderError("the header is malicious: a share of it has no shared secret")
            if (file_key := primitives.hybrid_open(self._raw, share, stanza.body)) is not None:
                return file_key
        return None


@dataclass(frozen=True, slots=True)
class PassphraseIdentity(Identity):
    """Who knows the passphrase. Each attempt costs what the file says, up to a gigabyte and some seconds."""

    passphrase: Secret

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Opens only a file that has no other recipient: a passphrase is taken for a proof of who wrote it."""
        if all(stanza.kind != _SCRYPT for stanza in stanzas):
            return None
        if len(stanzas) != 1:
            raise HeaderError("the header is malformed: a passphrase is not its only recipient")
        stanza = stanzas[0]
        if len(stanza.arguments) != 2 or not _DECIMAL.fullmatch(stanza.arguments[1]):
            raise HeaderError("the header is malformed: its passphrase recipient is not a salt and a work factor")
        salt = _decoded(stanza.arguments[0], _SALT)
        _check_body(stanza)
        # The length first: numbers of thousands of digits are slow to read.
        if len(stanza.arguments[1]) > 2 or int(stanza.arguments[1]) > _MOST_WORK:
            raise HeaderError(f"the passphrase's work factor is above {_MOST_WORK}: opening it would take too long")
        key = _scrypt(self.passphrase, salt, int(stanza.arguments[1]))
        return primitives.open_once(key, stanza.body)


def unwrap(header: Header, identities: Sequence[Identity]) -> bytes:
    """The file key of a header whose MAC is right.

    Raises `KeyUnavailableError` where no identity opens it, `HeaderError` where it is malformed, and `DecryptionError`
    where it was changed.
    """
    for identity in identities:
        file_key = identity.unwrap(header.stanzas)
        if file_key is not None:
            check_mac(header, file_key)
            return file_key
    if not identities:
        raise KeyUnavailableError("nothing is configured to open encrypted objects with: set identity_file or identity")
    kinds = ", ".join(sorted({stanza.kind for stanza in header.stanzas if stanza.kind in {_X25519, _HYBRID, _SCRYPT}}))
    raise KeyUnavailableError(
        f"none of the {len(identities)} identities at hand opens this object (it is encrypted for:"
        f" {kinds or 'kinds of keys that are not known here'}); add the identity it was written for to identity_file"
    )


def parse_recipient(text: str) -> X25519Recipient | HybridRecipient:
    """The recipient of a text. Raises `ConfigError` for another text, which is shown only where it is no secret."""
    prefix, data = _decode(text, "a recipient")
    if prefix == "age" and len(data) == _SECRET:
        return X25519Recipient(data)
    if prefix == "age1pq" and len(data) == _HYBRID_PUBLIC:
        _require_hybrid()
        return HybridRecipient(data)
    if prefix.startswith("AGE-SECRET-KEY-"):
        raise ConfigError("a recipient is a public key, age1...; this is an identity, which is secret")
    raise ConfigError("a recipient is a public key of the kinds age1... or age1pq1...; plug-ins are not supported")


def parse_identity(text: Secret) -> X25519Identity | HybridIdentity:
    """The identity of a text. Raises `ConfigError`, without the text, for another."""
    prefix, data = _decode(text.reveal(), "an identity")
    if len(data) == _SECRET and prefix == "AGE-SECRET-KEY-":
        return X25519Identity(text)
    if len(data) == _SECRET and prefix == "AGE-SECRET-KEY-PQ-":
        _require_hybrid()
        return HybridIdentity(text)
    raise ConfigError("an identity is a secret key, AGE-SECRET-KEY-1... or AGE-SECRET-KEY-PQ-1...")


def generate_identity(*, hybrid: bool = False) -> X25519Identity | HybridIdentity:
    """A new identity, of the post-quantum kind where ``hybrid`` is set."""
    if hybrid:
        _require_hybrid()
        return HybridIdentity(Secret(bech32.encode("AGE-SECRET-KEY-PQ-", os.urandom(_SECRET))))
    return X25519Identity(Secret(bech32.encode("AGE-SECRET-KEY-", os.urandom(_SECRET))))


def _require_hybrid() -> None:
    if not primitives.has_hybrid():
        raise ConfigError("post-quantum keys need a newer library: pip install -U 'mediagit-storage[encrypt]'")


def _decode(text: str, what: str) -> tuple[str, bytes]:
    try:
        return bech32.decode(text)
    except ValueError as error:
        raise ConfigError(f"{what} cannot be read: {error}") from None


def _share(stanza: Stanza, size: int) -> bytes:
    if len(stanza.arguments) != 1:
        raise HeaderError("the header is malformed: a recipient has not the one argument that it should")
    share = _decoded(stanza.arguments[0], size)
    _check_body(stanza)
    return share


def _check_body(stanza: Stanza) -> None:
    if len(stanza.body) != FILE_KEY + TAG:
        raise HeaderError("the header is malformed: a wrapped file key has the wrong length")


def _decoded(text: str, size: int) -> bytes:
    try:
        data = b64decode(text)
    except ValueError as error:
        raise HeaderError(f"the header is malformed: {error}") from None
    if len(data) != size:
        raise HeaderError(f"the header is malformed: {len(data)} bytes stand where {size} should")
    return data


def secret_bytes(secret: Secret, what: str) -> bytes:
    """The UTF-8 of a secret. Raises `ConfigError` where it has none, without an error below that would show it."""
    text = secret.reveal()
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigError(f"{what} is not UTF-8")
    return text.encode("utf-8")


def _scrypt(passphrase: Secret, salt: bytes, work: int) -> bytes:
    count = 1 << work
    return hashlib.scrypt(
        secret_bytes(passphrase, "the passphrase"),
        salt=b"age-encryption.org/v1/scrypt" + salt,
        n=count,
        r=8,
        p=1,
        # 128 * r * n for the table, and a little for the rest.
        maxmem=128 * 8 * (count + 64),
        dklen=32,
    )
