"""Google Cloud CDN: signed URLs, prefixes and cookies, and invalidations by path, folder and tag.

Sources: "Use signed URLs", "Use signed cookies" and "Cache invalidation overview" of the guides of Cloud CDN;
``urlMaps.invalidateCache`` of the reference of Compute Engine.
"""

from __future__ import annotations

import base64
import hmac
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from mediagit_storage.backends.gcs.credentials import GivenToken, TokenTransport, fetched_token, read_account
from mediagit_storage.cdn.api import (
    ApiClient,
    ApiFailure,
    PurgeCall,
    Ticket,
    chunks,
    json_call,
    json_object,
    open_client,
)
from mediagit_storage.cdn.config import CDNConfig
from mediagit_storage.cdn.provider import ApiProvider, Cookie, Grant, PurgeKind, Targets
from mediagit_storage.errors import ConfigError, IntegrityError, UnsupportedError
from mediagit_storage.http.call import Call
from mediagit_storage.http.client import Signing
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Rules
from mediagit_storage.secrets import SecretValue, resolve_secret
from mediagit_storage.types import JSON

__all__ = ["GoogleCDN", "GoogleCDNConfig", "signature", "signed_policy"]

_KEY_BYTES: Final = 16
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}").fullmatch
_RESOURCE: Final = re.compile(r"[a-z]([-a-z0-9:.]{0,61}[a-z0-9])?").fullmatch
_OPERATION: Final = re.compile(r"[A-Za-z0-9_-]{1,256}").fullmatch
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
#: Tags of one request.
_MOST_TAGS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleCDNConfig(CDNConfig):
    """The options of `GoogleCDN`: those of `CDNConfig`, and

    ==================== ==============================================================================================
    ``key_name``         the name of the signing key, with ``key``
    ``key``              the key: 16 bytes in base64url, as it was given to ``gcloud``
    ``project``          with ``url_map``, for purging: whose copies
    ``only_host``        purge for the host of ``base_url`` only, and not for all hosts of the load balancer
    ``credentials_file`` or ``token``: who purges; without them what google-auth finds (extra ``gcs``)
    ``api_url``          the API, where it is another one
    ==================== ==============================================================================================
    """

    ENVIRONMENT: ClassVar[Mapping[str, str]] = {"credentials_file": "GOOGLE_APPLICATION_CREDENTIALS"}
    ENVIRONMENT_YIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = {"credentials_file": ("token",)}

    key_name: str | None = None
    key: SecretValue | None = None
    project: str | None = None
    url_map: str | None = None
    only_host: bool = False
    credentials_file: str | None = None
    token: SecretValue | None = None
    api_url: str = "https://compute.googleapis.com"

    def check(self) -> None:
        """Refuse what cannot be."""
        CDNConfig.check(self)
        if (self.key_name is None) != (self.key is None):
            raise ConfigError("key_name and key belong together: give both or none")
        if self.key_name is not None and not _KEY_NAME(self.key_name):
            raise ConfigError("key_name is 1 to 63 letters, digits, _ and -")
        for name in ("project", "url_map"):
            text = getattr(self, name)
            if text is not None and not _RESOURCE(text):
                raise ConfigError(f"{name} is lower-case letters, digits and -")


class GoogleCDN(ApiProvider):
    """A load balancer of Google's with Cloud CDN. ``reference`` makes the ids of requests, by which a repeated one is known."""

    name = "google"
    purges: ClassVar[frozenset[PurgeKind]] = frozenset({"key", "prefix", "tag"})
    #: "Cache invalidation overview": 500 a minute. Faster, a purge of more would fail at the same place each time.
    pace = 60 / 500

    def __init__(
        self,
        config: GoogleCDNConfig,
        *,
        rules: Rules | None = None,
        reference: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        super().__init__()
        self._config = config
        self._rules = rules
        self._reference = reference
        self._tokens: TokenTransport | None = None
        self._shown = config.shown_at()
        self.base = self._shown
        self.max_expires = config.max_expires

    # ---- signing

    def sign(self, path: str, grant: Grant) -> str:
        """The URL with ``Expires``, ``KeyName`` and ``Signature``."""
        name, key = self._key(grant)
        unsigned = f"{self._shown.url(path)}?Expires={grant.ends}&KeyName={name}"
        return f"{unsigned}&Signature={signature(key, unsigned)}"

    def sign_within(self, path: str, prefix: str, grant: Grant) -> str:
        """The URL with ``URLPrefix`` in addition: only that is signed, and may be added to every URL below."""
        name, key = self._key(grant)
        return f"{self._shown.url(path)}?{signed_policy(key, self._shown.url(prefix), grant.ends, name, '&')}"

    def cookies(self, path: str, grant: Grant) -> Sequence[Cookie]:
        """Refused: a cookie for ``a`` would open ``ab``, too."""
        self.refuse("makes cookies for prefixes only: name the prefix that they are for")

    def cookies_within(self, prefix: str, grant: Grant) -> Sequence[Cookie]:
        """One cookie for everything that begins with the prefix."""
        name, key = self._key(grant)
        value = signed_policy(key, self._shown.url(prefix), grant.ends, name, ":")
        folder = prefix[: prefix.rfind("/") + 1]
        secure = self._shown.endpoint.scheme == "https"
        return [Cookie("Cloud-CDN-Cookie", value, folder, secure=secure, ends=grant.ends)]

    def _key(self, grant: Grant) -> tuple[str, bytes]:
        if grant.starts is not None or grant.client is not None:
            self.refuse("signs neither a start nor an address")
        config = self._config
        if config.key_name is None or config.key is None:
            raise ConfigError("signing for Cloud CDN needs key_name and key")
        text = resolve_secret(config.key).reveal().strip()
        try:
            key = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise ConfigError("key is 16 bytes in base64url, with its '==' at the end")
        return config.key_name, key

    # ---- purging

    def purge_calls(self, targets: Targets) -> Sequence[PurgeCall]:
        """One request a path or folder, and one for ten tags. Prefixes that are no folders are refused."""
        for prefix in targets.prefixes:
            if not prefix.endswith("/"):
                self.refuse("purges whole folders: a prefix ends with /")
        for tag in targets.tags:
            if not tag or not tag.isascii() or not tag.isprintable() or set(tag) & set(" ,"):
                raise UnsupportedError("a tag of Cloud CDN is visible ASCII characters without commas")
        paths = dict.fromkeys([*targets.paths, *(f"{prefix}*" for prefix in targets.prefixes)])
        tags = chunks([*dict.fromkeys(targets.tags)], _MOST_TAGS)
        return [
            *(PurgeCall(self._call({"path": path}), (path,)) for path in paths),
            *(PurgeCall(self._call({"cacheTags": [*some]}), some) for some in tags),
        ]

    def _call(self, rule: dict[str, JSON]) -> Call:
        place = f"{self._project()}/global/urlMaps/{self._config.url_map}/invalidateCache"
        if self._config.only_host:
            rule["host"] = self._shown.host
        return json_call("POST", place, rule, f"requestId={self._reference()}")

    def _project(self) -> str:
        if self._config.project is None or self._config.url_map is None:
            raise ConfigError("purging Cloud CDN needs project and url_map")
        return f"/compute/v1/projects/{self._config.project}"

    def ticket(self, response: Response) -> Ticket:
        """The operation that an answer tells of; one that failed is an error."""
        found = json_object(response)
        name = found.get("name")
        if not isinstance(name, str) or not _OPERATION(name):
            raise IntegrityError("the answer of Compute Engine tells of no operation")
        return Ticket(name, done=found.get("status") == "DONE")

    def poll(self, ticket: Ticket) -> Call:
        """Ask for an operation again."""
        return Call("GET", f"{self._project()}/global/operations/{ticket.id}")

    def connect(self) -> ApiClient:
        """The API of Compute Engine, with an access token."""
        signing = self._signing()
        return open_client(self._config.api_url, self._config, self._rules, lambda _host: signing, read=_failure)

    def _signing(self) -> Signing:
        config = self._config
        if config.token is not None:
            return GivenToken(resolve_secret(config.token))
        path = config.credentials_file
        account = None if path is None else read_account(path, "credentials_file")
        self._tokens = TokenTransport(config.transport_options())
        return fetched_token(path, account, self._tokens, _SCOPES)

    def close(self) -> None:
        """Close the connections."""
        super().close()
        if self._tokens is not None:
            self._tokens.close()


def signature(key: bytes, text: str) -> str:
    """HMAC-SHA1 in base64url, its padding included."""
    return base64.urlsafe_b64encode(hmac.digest(key, text.encode("ascii"), "sha1")).decode("ascii")


def signed_policy(key: bytes, url_prefix: str, ends: int, key_name: str, separator: str) -> str:
    """The parameters that allow all URLs with a prefix, joined by ``&`` for URLs and by ``:`` for cookies."""
    encoded = base64.urlsafe_b64encode(url_prefix.encode("ascii")).decode("ascii")
    text = separator.join((f"URLPrefix={encoded}", f"Expires={ends}", f"KeyName={key_name}"))
    return f"{text}{separator}Signature={signature(key, text)}"


def _failure(response: Response) -> ApiFailure | None:
    """Of a failed request, or of an operation that ended badly."""
    try:
        found = json_object(response)
    except IntegrityError:
        return ApiFailure() if response.status >= 400 else None
    error = found.get("error")
    if response.status < 400 and not error:
        return None
    inside = error if isinstance(error, dict) else {}
    errors = inside.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    code, message = first.get("reason") or first.get("code") or "", inside.get("message") or first.get("message") or ""
    return ApiFailure(str(code), str(message))
