"""Signed links of our own: whoever has one can do one thing with one object until it expires.

``/-/o/KEY?mgs-expires=SECONDS&mgs-signature=HEX``, with ``mgs-disposition=TEXT`` between the two where the answer is to
say so. The signature is HMAC-SHA256 over the words ``mgs-link-1``, the method, the target up to the signature, and so
the key, the time and the disposition in the one spelling that they have here: a link in any other spelling is refused.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import quote, unquote_to_bytes

from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.errors import ConfigError, InvalidKeyError
from mediagit_storage.keys import check_readable_key
from mediagit_storage.secrets import Secret
from mediagit_storage.serve.targets import BadTargetError, key_in

__all__ = ["OBJECTS", "LinkMethod", "Signer", "disposition_of", "object_path"]

#: Where every object can be reached, whatever its key.
OBJECTS: Final = "/-/o/"
LinkMethod = Literal["GET", "PUT", "DELETE"]

_SECRET_LENGTH: Final = 32
#: The last second that a link has room for.
_LATEST: Final = 10**12 - 1
_QUERY: Final = re.compile(
    r"mgs-expires=(?P<expires>[1-9][0-9]{0,11})(?:&mgs-disposition=(?P<disposition>[^&]+))?"
    r"&mgs-signature=(?P<signature>[0-9a-f]{64})"
)


def object_path(key: str) -> str:
    """The path of an object, in the one spelling that links have: everything but ``A-Za-z0-9_.-~/`` is escaped."""
    return OBJECTS + quote(key, safe="/", errors="surrogateescape")


class Signer:
    """Signs with the first of its secrets and believes all of them, so that they can be changed one after the other."""

    def __init__(self, secrets: Sequence[Secret], *, clock: Clock = SYSTEM_CLOCK) -> None:
        if not secrets:
            raise ConfigError("signing links needs at least one secret")
        if any(len(each.reveal()) < _SECRET_LENGTH for each in secrets):
            raise ConfigError(f"a secret that signs links has at least {_SECRET_LENGTH} characters")
        self._secrets = tuple(each.reveal().encode() for each in secrets)
        self._clock = clock

    def sign(self, key: str, *, expires: int, method: LinkMethod = "GET", disposition: str | None = None) -> str:
        """The path and query of a link that works for ``expires`` seconds. A link to get answers HEAD as well.

        ``disposition`` is the Content-Disposition of what is got. Raises `ConfigError` and `InvalidKeyError`.
        """
        check_readable_key(key)
        try:
            key_in(object_path(key)[len(OBJECTS) :])
        except BadTargetError as error:
            raise InvalidKeyError(f"a gateway gives out no object of that name: {error}", key=key) from None
        until = self._clock.now_ns() // 1_000_000_000 + expires
        if expires < 1 or until > _LATEST:
            raise ConfigError("a link works for 1 second to some 30,000 years: expires counts the seconds")
        if disposition is not None and (method != "GET" or not _is_header(disposition)):
            raise ConfigError("a disposition is for links that get, and is printable ASCII")
        target = f"{object_path(key)}?mgs-expires={until}"
        if disposition is not None:
            target += f"&mgs-disposition={quote(disposition, safe='')}"
        return f"{target}&mgs-signature={_signature(self._secrets[0], method, target)}"

    def allows(self, method: str, path: str, query: str) -> bool:
        """Whether a request is what a link lends the right to, now. ``path`` and ``query`` as they came, undecoded."""
        found = _QUERY.fullmatch(query)
        if found is None or not (path.isascii() and query.isascii()):
            return False
        signed = f"{path}?{query[: found.start('signature') - len('&mgs-signature=')]}"
        lent = "GET" if method == "HEAD" else method
        expected = [_signature(secret, lent, signed) for secret in self._secrets]
        # All are compared, so that the time tells nothing of which one it was.
        known = [hmac.compare_digest(each, found["signature"]) for each in expected]
        return any(known) and int(found["expires"]) > self._clock.now_ns() // 1_000_000_000

    def __repr__(self) -> str:
        return f"<Signer of {len(self._secrets)} secrets>"


def disposition_of(query: str) -> str | None:
    """The Content-Disposition that a link asks for; only of one that is allowed."""
    found = _QUERY.fullmatch(query)
    if found is None or found["disposition"] is None:
        return None
    return unquote_to_bytes(found["disposition"]).decode("ascii")


def _signature(secret: bytes, method: str, target: str) -> str:
    return hmac.digest(secret, f"mgs-link-1\n{method}\n{target}".encode("ascii"), "sha256").hex()


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and bool(text)
