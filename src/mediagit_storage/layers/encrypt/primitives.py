"""The one door to the library ``cryptography`` (the extra ``encrypt``): sealing, key agreement, hybrid wrapping.

It is imported when a key is first used, not when this module is. Nothing here keeps a key.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from mediagit_storage.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

__all__ = [
    "HYBRID_SHARE",
    "chacha20_poly1305",
    "has_hybrid",
    "hybrid_open",
    "hybrid_public",
    "hybrid_seal",
    "open_once",
    "require_library",
    "seal_once",
    "x25519",
    "x25519_key",
    "x25519_public",
]

_ZERO_NONCE: Final = bytes(12)
_HYBRID_INFO: Final = b"age-encryption.org/mlkem768x25519"
#: Bytes of a hybrid recipient's two parts, and of the share that encapsulates for it.
_MLKEM_PUBLIC: Final = 1184
HYBRID_SHARE: Final = 1120


def require_library() -> None:
    """Raise the `ConfigError` that names the extra, unless the library is there and new enough."""
    try:
        # Not at the top: it is an extra, and slow to import.
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415

        found = hasattr(ChaCha20Poly1305, "encrypt_into")
    except ImportError:
        found = False
    if not found:
        raise ConfigError("the layer 'encrypt' needs the extra 'encrypt': pip install 'mediagit-storage[encrypt]'")


def chacha20_poly1305(key: bytes) -> ChaCha20Poly1305:
    """The cipher under a key of 32 bytes."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415

    return ChaCha20Poly1305(key)


def seal_once(key: bytes, plain: bytes) -> bytes:
    """Encrypt under a key that is used this once, so with a nonce of zeros."""
    return chacha20_poly1305(key).encrypt(_ZERO_NONCE, plain, None)


def open_once(key: bytes, sealed: bytes) -> bytes | None:
    """Undo `seal_once`; None where the key is another."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415

    try:
        return chacha20_poly1305(key).decrypt(_ZERO_NONCE, sealed, None)
    except InvalidTag:
        return None


def x25519_key(secret: bytes) -> X25519PrivateKey:
    """The key of a secret of 32 bytes. Making it takes as long as an agreement: keep it where it is needed again."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

    return X25519PrivateKey.from_private_bytes(secret)


def x25519(key: X25519PrivateKey, public: bytes) -> bytes | None:
    """The shared secret (RFC 7748); None where it is all zeros, which only a malicious public key brings about."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415

    try:
        return key.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return None


def x25519_public(key: X25519PrivateKey) -> bytes:
    """The public key of a secret one."""
    return key.public_key().public_bytes_raw()


def has_hybrid() -> bool:
    """Whether the library has ML-KEM, which the post-quantum kind of keys needs."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415

    try:
        hybrid_public(bytes(32))
    except (ImportError, AttributeError, UnsupportedAlgorithm):
        return False
    return True


def hybrid_public(seed: bytes) -> bytes:
    """The public key of a hybrid seed: that of ML-KEM-768, then that of X25519."""
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey  # noqa: PLC0415

    mlkem, curve = _hybrid_parts(seed)
    return MLKEM768PrivateKey.from_seed_bytes(mlkem).public_key().public_bytes_raw() + x25519_public(x25519_key(curve))


def hybrid_seal(public: bytes, plain: bytes) -> tuple[bytes, bytes]:
    """Encrypt to a hybrid public key by HPKE (RFC 9180, base mode): the share and the sealed text.

    Raises `ValueError` for a key that is none.
    """
    sealed = _suite().encrypt(plain, _hybrid_recipient(public), _HYBRID_INFO)
    return sealed[:HYBRID_SHARE], sealed[HYBRID_SHARE:]


def hybrid_open(seed: bytes, share: bytes, sealed: bytes) -> bytes | None:
    """Undo `hybrid_seal`; None where it was made for another key."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415

    try:
        return _suite().decrypt(share + sealed, _hybrid_identity(seed), _HYBRID_INFO)
    except (InvalidTag, ValueError):
        return None


def _hybrid_parts(seed: bytes) -> tuple[bytes, bytes]:
    """The seed of the ML-KEM key and the X25519 secret that a hybrid seed stands for (filippo.io/hpke-pq)."""
    expanded = hashlib.shake_256(seed).digest(96)
    return expanded[:64], expanded[64:]


def _hybrid_identity(seed: bytes) -> MLKEM768X25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey  # noqa: PLC0415

    mlkem, curve = _hybrid_parts(seed)
    return MLKEM768X25519PrivateKey(MLKEM768PrivateKey.from_seed_bytes(mlkem), x25519_key(curve))


def _hybrid_recipient(public: bytes) -> MLKEM768X25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey  # noqa: PLC0415

    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC]),
        X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC:]),
    )


def _suite() -> Suite:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite  # noqa: PLC0415

    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
