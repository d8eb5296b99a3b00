"""nginx with ``secure_link``: links that the server checks by itself, without a line of code.

Source: the documentation of ``ngx_http_secure_link_module``. The server is told::

    location / {
      secure_link $arg_md5,$arg_expires;
      secure_link_md5 "$secure_link_expires$uri SECRET";      # or "$secure_link_expires$uri$remote_addr SECRET"
      if ($secure_link = "") { return 403; }
      if ($secure_link = "0") { return 410; }
    }

``$uri`` is the decoded path, and by default nginx makes one slash of several: with ``merge_slashes off;`` a key like
``a//b`` is what it is.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from mediagit_storage.cdn.config import CDNConfig
from mediagit_storage.cdn.provider import Grant, Provider
from mediagit_storage.errors import ConfigError
from mediagit_storage.secrets import SecretValue, resolve_secret

__all__ = ["NginxCDN", "NginxConfig", "secure_link_md5"]

_PARAMETER: Final = re.compile(r"[a-z][a-z0-9_]*").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxConfig(CDNConfig):
    """The options of `NginxCDN`: those of `CDNConfig`, and

    ==================== ==============================================================================================
    ``secret``           the text at the end of ``secure_link_md5``, after a blank
    ``bind_client``      ``$remote_addr`` stands before that blank: every link is for one address
    ``md5_parameter`` ``expires_parameter``: the names behind ``$arg_``
    ==================== ==============================================================================================
    """

    secret: SecretValue
    bind_client: bool = False
    md5_parameter: str = "md5"
    expires_parameter: str = "expires"

    def check(self) -> None:
        """Refuse what cannot be."""
        CDNConfig.check(self)
        names = (self.md5_parameter, self.expires_parameter)
        if not all(_PARAMETER(name) for name in names) or len(set(names)) < len(names):
            raise ConfigError("md5_parameter and expires_parameter are two names of lower-case letters, digits and _")


class NginxCDN(Provider):
    """An nginx that checks links with ``secure_link``."""

    name = "nginx"

    def __init__(self, config: NginxConfig) -> None:
        self._config = config
        self._shown = config.shown_at()
        self.base = self._shown
        self.max_expires = config.max_expires

    def sign(self, path: str, grant: Grant) -> str:
        """The URL with its MD5 and its end."""
        if grant.starts is not None:
            self.refuse("signs no start")
        config = self._config
        digest = secure_link_md5(resolve_secret(config.secret).reveal(), path, grant.ends, self._address(grant))
        return f"{self._shown.url(path)}?{config.md5_parameter}={digest}&{config.expires_parameter}={grant.ends}"

    def _address(self, grant: Grant) -> str:
        if not self._config.bind_client:
            if grant.client is not None:
                self.refuse("binds links to an address only with bind_client, as its configuration says")
            return ""
        if grant.client is None or grant.client.num_addresses != 1:
            self.refuse("binds every link to one address, as bind_client says: give that address")
        return str(grant.client.network_address)


def secure_link_md5(secret: str, path: str, ends: int, client: str = "") -> str:
    """What nginx expects for an encoded path: base64url without padding of the MD5 that it computes."""
    text = str(ends).encode() + unquote_to_bytes(path) + f"{client} {secret}".encode()
    # The scheme is nginx's own; it knows no other digest.
    digest = hashlib.md5(text, usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
