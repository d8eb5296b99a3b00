"""Signed URLs and cookies of CloudFront: policies, and their signatures. No I/O, no clock.

Source: "Create a signed URL using a canned policy", "... using a custom policy", "Set signed cookies ..." and "Specify
signers" of the Amazon CloudFront Developer Guide: RSA keys of 2,048 bits or ECDSA keys on P-256; SHA-1, or SHA-256 where
``Hash-Algorithm`` says so.
"""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network
from types import ModuleType
from typing import Final, Literal, TypeAlias

from mediagit_storage.cdn.provider import Grant
from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.secrets import Secret

__all__ = ["HashName", "Sign", "canned_parameters", "custom_parameters", "policy", "private_key_signer", "web_base64"]

HashName = Literal["sha1", "sha256"]
#: The signature of a message.
Sign: TypeAlias = Callable[[bytes], bytes]

_RSA_BITS: Final = 2048
#: Base64 in letters that need no encoding in a URL, as CloudFront spells it.
_LETTERS: Final = bytes.maketrans(b"+=/", b"-_~")
_MISSING: Final = "signing for CloudFront needs the extra 'encrypt': pip install 'mediagit-storage[encrypt]'"


def web_base64(data: bytes) -> str:
    """Base64 as it stands in URLs and cookies of CloudFront."""
    return base64.b64encode(data).translate(_LETTERS).decode("ascii")


def policy(resource: str, grant: Grant) -> str:
    """The policy that allows ``resource``, a URL in which ``*`` is any text and ``?`` any character.

    The form without start and address is also that of a canned policy, to the byte. Raises `UnsupportedError` for a
    range of IPv6 addresses, which CloudFront does not take.
    """
    condition: dict[str, object] = {"DateLessThan": {"AWS:EpochTime": grant.ends}}
    if grant.client is not None:
        if not isinstance(grant.client, IPv4Network):
            raise UnsupportedError("CloudFront binds links to IPv4 addresses only")
        condition["IpAddress"] = {"AWS:SourceIp": str(grant.client)}
    if grant.starts is not None:
        condition["DateGreaterThan"] = {"AWS:EpochTime": grant.starts}
    return json.dumps({"Statement": [{"Resource": resource, "Condition": condition}]}, separators=(",", ":"))


def canned_parameters(url: str, ends: int, key_pair_id: str, sign: Sign, hash_name: HashName) -> Mapping[str, str]:
    """What is added to a URL, or set as cookies, for exactly this URL until ``ends``."""
    signature = web_base64(sign(policy(url, Grant(ends)).encode()))
    return _with_hash({"Expires": str(ends), "Signature": signature, "Key-Pair-Id": key_pair_id}, hash_name)


def custom_parameters(
    resource: str, grant: Grant, key_pair_id: str, sign: Sign, hash_name: HashName
) -> Mapping[str, str]:
    """The same for a policy of one's own, which travels along."""
    text = policy(resource, grant).encode()
    found = {"Policy": web_base64(text), "Signature": web_base64(sign(text)), "Key-Pair-Id": key_pair_id}
    return _with_hash(found, hash_name)


def _with_hash(parameters: dict[str, str], hash_name: HashName) -> Mapping[str, str]:
    return parameters if hash_name == "sha1" else {**parameters, "Hash-Algorithm": "SHA256"}


def private_key_signer(pem: Secret, hash_name: HashName) -> Sign:
    """What signs with a private key in PEM. Raises `ConfigError`, which shows nothing of it, for any other key."""
    serialization, hashes = _crypto("serialization"), _crypto("hashes")
    rsa, ec, padding = _crypto("asymmetric.rsa"), _crypto("asymmetric.ec"), _crypto("asymmetric.padding")
    try:
        key = serialization.load_pem_private_key(pem.reveal().encode(), None)
    except (ValueError, TypeError, UnicodeEncodeError):
        raise ConfigError("private_key is no private key in PEM without a passphrase") from None
    # What is hashed is our own policy: SHA-1 is what CloudFront takes unless told otherwise.
    digest = hashes.SHA1() if hash_name == "sha1" else hashes.SHA256()
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size == _RSA_BITS:
        return lambda message: bytes(key.sign(message, padding.PKCS1v15(), digest))
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return lambda message: bytes(key.sign(message, ec.ECDSA(digest)))
    raise ConfigError("CloudFront takes RSA keys of 2,048 bits and ECDSA keys on P-256; private_key is another")


def _crypto(name: str) -> ModuleType:
    try:
        # Not at the top: it is an extra, and slow to import.
        return importlib.import_module(f"cryptography.hazmat.primitives.{name}")
    except ImportError:
        raise ConfigError(_MISSING) from None
