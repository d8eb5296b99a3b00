"""Cloudflare: URLs for its token authentication, and purging by URL, folder and tag.

Sources: "Configure token authentication" of the docs of its WAF; "HMAC validation" of those of its rules language;
"Purge cache" of those of its cache.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from mediagit_storage.cdn.api import (
    ApiClient,
    ApiFailure,
    FieldSigning,
    PurgeCall,
    Ticket,
    chunks,
    json_call,
    json_object,
    open_client,
)
from mediagit_storage.cdn.config import CDNConfig
from mediagit_storage.cdn.provider import ApiProvider, Grant, PurgeKind, Targets
from mediagit_storage.errors import ConfigError, IntegrityError, UnsupportedError
from mediagit_storage.http.encoding import encode_value
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Rules
from mediagit_storage.secrets import SecretValue, resolve_secret

__all__ = ["Cloudflare", "CloudflareConfig", "message_mac"]

_ZONE: Final = re.compile(r"[0-9a-f]{32}").fullmatch
_PARAMETER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*").fullmatch
#: "Purge cache", the table of limits; the page of prefixes says 30, which every plan takes.
_MOST_FILES: Final = 100
_MOST_OTHERS: Final = 30
_MOST_SLASHES: Final = 31
_LONGEST_TAG: Final = 1024
#: Ten digits: the seconds that the rules language reads as a time.
_FIRST, _LAST = 10**9, 10**10


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudflareConfig(CDNConfig):
    """The options of `Cloudflare`: those of `CDNConfig`, and

    ==================== ==============================================================================================
    ``token_key``        the secret in the rule with ``is_timed_hmac_valid_v0``
    ``token_ttl``        the seconds in that rule: no link lives longer
    ``token_parameter``  the name of the query parameter: with ``verify`` the rule's separator has 8 characters
    ``url_safe``         the rule has the flag ``'s'``: base64url without padding
    ``zone_id``          for purging: whose copies
    ``api_token``        who purges: a token with the permission Cache Purge
    ``api_url``          the API, where it is another one
    ==================== ==============================================================================================
    """

    ENVIRONMENT: ClassVar[Mapping[str, str]] = {"api_token": "CLOUDFLARE_API_TOKEN"}

    token_key: SecretValue | None = None
    token_ttl: int = 10_800
    token_parameter: str = "verify"  # noqa: S105  # the parameter's name
    url_safe: bool = False
    zone_id: str | None = None
    api_token: SecretValue | None = None
    api_url: str = "https://api.cloudflare.com"

    def check(self) -> None:
        """Refuse what cannot be."""
        CDNConfig.check(self)
        if self.token_ttl < 1:
            raise ConfigError("token_ttl is at least one second")
        if not _PARAMETER(self.token_parameter):
            raise ConfigError("token_parameter is a letter, and letters, digits, _ and - after it")
        if self.zone_id is not None and not _ZONE(self.zone_id):
            raise ConfigError("zone_id is 32 hexadecimal digits")


class Cloudflare(ApiProvider):
    """A zone of Cloudflare's."""

    name = "cloudflare"
    purges: ClassVar[frozenset[PurgeKind]] = frozenset({"key", "prefix", "tag"})

    def __init__(self, config: CloudflareConfig, *, rules: Rules | None = None) -> None:
        super().__init__()
        self._config = config
        self._rules = rules
        self._shown = config.shown_at()
        self.base = self._shown
        self.max_expires = min(config.max_expires, config.token_ttl)

    # ---- signing

    def sign(self, path: str, grant: Grant) -> str:
        """The URL with a token.

        A rule of Cloudflare's counts ``token_ttl`` seconds from the time in the token; for a shorter life that time is
        as much earlier.
        """
        if grant.starts is not None or grant.client is not None:
            self.refuse("signs neither a start nor an address")
        if self._config.token_key is None:
            raise ConfigError("signing for Cloudflare needs token_key, the secret of the rule")
        issued = grant.ends - self._config.token_ttl
        if not _FIRST <= issued < _LAST:
            raise ConfigError("a token of Cloudflare has a time of ten digits")
        secret = resolve_secret(self._config.token_key).reveal().encode()
        mac = message_mac(secret, path, issued, url_safe=self._config.url_safe)
        return f"{self._shown.url(path)}?{self._config.token_parameter}={issued}-{mac}"

    # ---- purging

    def purge_calls(self, targets: Targets) -> Sequence[PurgeCall]:
        """Requests of at most 100 URLs, 30 folders or 30 tags. Prefixes that are no folders are refused."""
        shown = self._shown
        folders = [shown.host + self._folder(prefix) for prefix in targets.prefixes]
        tags = [_checked_tag(tag) for tag in targets.tags]
        groups = (
            ("files", [shown.url(path) for path in targets.paths], _MOST_FILES),
            ("prefixes", folders, _MOST_OTHERS),
            ("tags", tags, _MOST_OTHERS),
        )
        return [
            PurgeCall(json_call("POST", self._place(), {name: [*some]}), some)
            for name, items, most in groups
            for some in chunks([*dict.fromkeys(items)], most)
        ]

    def _folder(self, prefix: str) -> str:
        if not prefix.endswith("/"):
            self.refuse("purges whole folders: a prefix ends with /")
        if prefix.count("/") > _MOST_SLASHES:
            self.refuse(f"purges folders of {_MOST_SLASHES} levels at most")
        return prefix.rstrip("/")

    def _place(self) -> str:
        if self._config.zone_id is None:
            raise ConfigError("purging Cloudflare needs zone_id")
        return f"/client/v4/zones/{self._config.zone_id}/purge_cache"

    def ticket(self, response: Response) -> Ticket:
        """Done: a purge takes effect at once."""
        result = json_object(response).get("result")
        found = result.get("id") if isinstance(result, dict) else None
        return Ticket(found if isinstance(found, str) else "", done=True)

    def connect(self) -> ApiClient:
        """The API, with its token."""
        if self._config.api_token is None:
            raise ConfigError("purging Cloudflare needs api_token, or CLOUDFLARE_API_TOKEN in the environment")
        signing = FieldSigning("authorization", resolve_secret(self._config.api_token), "Bearer ")
        return open_client(self._config.api_url, self._config, self._rules, lambda _host: signing, read=_failure)


def message_mac(secret: bytes, message: str, issued: int, *, url_safe: bool = False) -> str:
    """HMAC-SHA256 of the message and the time, as ``is_timed_hmac_valid_v0`` reads it."""
    mac = hmac.digest(secret, f"{message}{issued}".encode("ascii"), "sha256")
    if url_safe:
        return base64.urlsafe_b64encode(mac).decode("ascii").rstrip("=")
    return encode_value(base64.b64encode(mac).decode("ascii"))


def _checked_tag(tag: str) -> str:
    if not tag or not tag.isascii() or not tag.isprintable() or set(tag) & set(" ,") or len(tag) > _LONGEST_TAG:
        raise UnsupportedError(f"a tag of Cloudflare is 1 to {_LONGEST_TAG:,} visible ASCII characters without commas")
    return tag


def _failure(response: Response) -> ApiFailure | None:
    """Of a failed request: also of one with the status of a success, whose words say otherwise."""
    try:
        found = json_object(response)
    except IntegrityError:
        return ApiFailure() if response.status >= 400 else ApiFailure("NoJSON", "the answer is no JSON object")
    if response.status < 400 and found.get("success") is True:
        return None
    errors = found.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return ApiFailure(str(first.get("code", "")), str(first.get("message", "")))
