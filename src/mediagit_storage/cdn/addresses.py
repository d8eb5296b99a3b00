"""Where a CDN shows the objects of a storage: keys as URLs, exactly, and nothing that a client would rewrite. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from mediagit_storage.errors import ConfigError, InvalidKeyError
from mediagit_storage.http.encoding import encode_path
from mediagit_storage.http.endpoint import Endpoint, parse_endpoint
from mediagit_storage.keys import check_readable_key

__all__ = ["Base", "base_of", "checked_origin_path", "rfc1738_path"]

#: Programs fold these out of a URL, also when they are encoded: it would lead to another object.
_FOLDED = frozenset({".", ".."})
#: What RFC 1738 calls safe in a path (section 2.2), or keeps for a purpose, and what `encode_path` encodes all the same.
_PLAIN_THERE = {f"%{ord(character):02X}": character for character in "!$&'()+,:;=@"}


@dataclass(frozen=True, slots=True)
class Base:
    """The URL below which a CDN shows the objects of a storage whose keys begin with ``origin_path``.

    A key becomes percent-encoded UTF-8 in which only letters, digits and ``-._~/`` stay as they are.
    """

    endpoint: Endpoint
    origin_path: str = ""

    @property
    def host(self) -> str:
        """Host and port."""
        return self.endpoint.host

    def path(self, key: str) -> str:
        """The path of the URL of an object, encoded.

        Raises `InvalidKeyError` for a key with ``.`` or ``..`` as a segment (every client would fold it into another
        one) and for one that the CDN does not show.
        """
        check_readable_key(key)
        if not _FOLDED.isdisjoint(key.split("/")):
            raise InvalidKeyError(
                "a key with the segment '.' or '..' has no URL: clients fold it into another", key=key
            )
        if not key.startswith(self.origin_path) or key == self.origin_path:
            raise InvalidKeyError(f"the CDN shows only what is below {self.origin_path!r} (origin_path)", key=key)
        return self.prefix_path(key)

    def prefix_path(self, prefix: str) -> str:
        """The path that the URLs of all keys with a prefix begin with. A prefix is a raw text: ``ab`` is of ``abc``."""
        if prefix:
            check_readable_key(prefix)
            if "\udc80" <= prefix[-1] <= "\udcff":
                # A byte that is no character by itself: characters of other keys begin with it.
                raise InvalidKeyError("a prefix ends with a whole character; this one is cut within", key=prefix)
        if not _FOLDED.isdisjoint(prefix.split("/")):
            raise InvalidKeyError("a prefix with the segment '.' or '..' has no URL", key=prefix)
        inside = self.origin_path
        if inside.startswith(prefix):
            return f"{self.endpoint.base}/"
        if not prefix.startswith(inside):
            raise InvalidKeyError(f"the CDN shows only what is below {inside!r} (origin_path)", key=prefix)
        return f"{self.endpoint.base}/{encode_path(prefix[len(inside) :])}"

    def url(self, path: str) -> str:
        """The URL with an encoded path."""
        return self.endpoint.origin + path


def base_of(url: str, origin_path: str = "", *, allow_http: bool = False) -> Base:
    """The base that a URL like ``https://cdn.example.org/media`` is. Raises `ConfigError` for anything else."""
    try:
        endpoint = parse_endpoint(url, allow_http=allow_http)
    except ConfigError as error:
        raise ConfigError(f"base_url: {error.message}") from None
    if not _FOLDED.isdisjoint(endpoint.base.split("/")):
        raise ConfigError("base_url: a path with the segment '.' or '..' is folded by clients; write it without")
    return Base(endpoint, checked_origin_path(origin_path))


def checked_origin_path(text: str) -> str:
    """The folder of the storage that the CDN shows, with a ``/`` at its end; nothing for all of it."""
    folder = text.strip("/")
    return f"{folder}/" if folder else ""


def rfc1738_path(path: str) -> str:
    """The same encoded path as those spell it who encode only what RFC 1738 calls unsafe: ``a%2Bb~`` is ``a+b%7E``."""
    for encoded, plain in _PLAIN_THERE.items():
        path = path.replace(encoded, plain)
    return path.replace("~", "%7E")
