"""Fastly: purging by URL and by surrogate key. Source: "Purging" of the API reference of Fastly."""

from __future__ import annotations

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
from mediagit_storage.cdn.provider import ApiProvider, PurgeKind, Targets
from mediagit_storage.errors import ConfigError, IntegrityError, UnsupportedError
from mediagit_storage.http.call import Call
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Rules
from mediagit_storage.secrets import SecretValue, resolve_secret
from mediagit_storage.types import JSON

__all__ = ["Fastly", "FastlyConfig"]

_SERVICE: Final = re.compile(r"[A-Za-z0-9]{1,64}").fullmatch
_MOST_TAGS: Final = 256
_SOFT: Final = ("fastly-soft-purge", "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class FastlyConfig(CDNConfig):
    """The options of `Fastly`: those of `CDNConfig`, and

    ==================== ==============================================================================================
    ``api_token``        who purges
    ``service_id``       for tags, which Fastly calls surrogate keys: whose copies
    ``soft``             copies become stale, and may be given out until the origin has answered
    ``api_url``          the API, where it is another one
    ==================== ==============================================================================================
    """

    ENVIRONMENT: ClassVar[Mapping[str, str]] = {"api_token": "FASTLY_API_TOKEN"}

    api_token: SecretValue | None = None
    service_id: str | None = None
    soft: bool = False
    api_url: str = "https://api.fastly.com"

    def check(self) -> None:
        """Refuse what cannot be."""
        CDNConfig.check(self)
        if self.service_id is not None and not _SERVICE(self.service_id):
            raise ConfigError("service_id is letters and digits")


class Fastly(ApiProvider):
    """A service of Fastly's. It signs nothing: that is for the VCL of each service."""

    name = "fastly"
    purges: ClassVar[frozenset[PurgeKind]] = frozenset({"key", "tag"})

    def __init__(self, config: FastlyConfig, *, rules: Rules | None = None) -> None:
        super().__init__()
        self._config = config
        self._rules = rules
        self._shown = config.shown_at()
        self.base = self._shown
        self.max_expires = config.max_expires

    def purge_calls(self, targets: Targets) -> Sequence[PurgeCall]:
        """One request a URL, and one for 256 tags."""
        soft = [_SOFT] if self._config.soft else []
        for tag in targets.tags:
            if not tag or not tag.isascii() or not tag.isprintable() or " " in tag:
                raise UnsupportedError("a surrogate key of Fastly is visible ASCII characters")
        calls = [
            PurgeCall(Call("POST", f"/purge/{self._shown.host}{path}", "", [*soft]), (self._shown.url(path),))
            for path in dict.fromkeys(targets.paths)
        ]
        for some in chunks([*dict.fromkeys(targets.tags)], _MOST_TAGS):
            body: JSON = {"surrogate_keys": [*some]}
            call = json_call("POST", f"/service/{self._service()}/purge", body)
            calls.append(PurgeCall(call._replace(fields=[*call.fields, *soft]), some))
        return calls

    def _service(self) -> str:
        if self._config.service_id is None:
            raise ConfigError("purging Fastly by tag needs service_id")
        return self._config.service_id

    def ticket(self, response: Response) -> Ticket:
        """Done: a purge takes effect at once."""
        found = json_object(response).get("id")
        return Ticket(found if isinstance(found, str) else "", done=True)

    def connect(self) -> ApiClient:
        """The API, with its token."""
        if self._config.api_token is None:
            raise ConfigError("purging Fastly needs api_token, or FASTLY_API_TOKEN in the environment")
        signing = FieldSigning("fastly-key", resolve_secret(self._config.api_token))
        return open_client(self._config.api_url, self._config, self._rules, lambda _host: signing, read=_failure)


def _failure(response: Response) -> ApiFailure | None:
    if response.status < 400:
        return None
    try:
        found = json_object(response)
    except IntegrityError:
        return ApiFailure()
    return ApiFailure("", f"{found.get('msg') or ''} {found.get('detail') or ''}".strip())
