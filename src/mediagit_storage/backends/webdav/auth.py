"""Who is asking: Basic (RFC 7617) and Digest (RFC 7616, with MD5 and SHA-256), chosen by what the server challenges with.

`digest_response` and `parse_challenges` are pure. `DavSigning` holds the challenge of the moment for all threads.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from mediagit_storage.errors import ConfigError, UnauthenticatedError
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.client import Signing
from mediagit_storage.http.response import Response
from mediagit_storage.secrets import Secret

__all__ = ["AuthName", "Challenge", "DavSigning", "basic_value", "digest_response", "digest_value", "parse_challenges"]

AuthName = Literal["auto", "basic", "digest"]

_PARAMETER: Final = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))\s*(?:,|$)\s*"
)
_SCHEME: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s+|$|(?=,))")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*\s*(?:,|$)\s*")
#: The better one last.
_ALGORITHMS: Final = ("MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS")


class Challenge(NamedTuple):
    """One way to prove who is asking that a 401 offers; names in lower case."""

    scheme: str
    parameters: dict[str, str]

    @property
    def algorithm(self) -> str:
        """Of a Digest, in capitals."""
        return self.parameters.get("algorithm", "MD5").upper()

    @property
    def usable(self) -> bool:
        """Whether this library can answer it."""
        if self.scheme == "basic":
            return True
        qop = self.parameters.get("qop")
        offers = qop is None or "auth" in [each.strip().lower() for each in qop.split(",")]
        return self.scheme == "digest" and "nonce" in self.parameters and self.algorithm in _ALGORITHMS and offers


def parse_challenges(field: str | None) -> list[Challenge]:
    """The challenges of a ``www-authenticate`` field, which may hold several. What cannot be read ends the list."""
    text = (field or "").strip()
    found: list[Challenge] = []
    while text:
        scheme = _SCHEME.match(text)
        if scheme is None:
            break
        text = text[scheme.end() :].lstrip(", ")
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(text):
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(name.lower(), value)
            text = text[parameter.end() :]
        if not parameters and (blob := _TOKEN68.match(text)) and "=" in blob[0]:
            text = text[blob.end() :]
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


def basic_value(username: str, password: str) -> str:
    """The value of ``authorization`` for Basic, in UTF-8."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


def digest_response(
    challenge: Challenge, username: str, password: str, method: str, uri: str, *, nc: str, cnonce: str
) -> str:
    """The proof itself: hexadecimal digits (RFC 7616, 3.4.1; without ``qop`` that of RFC 2069)."""
    parameters = challenge.parameters
    hashed = _hash(challenge.algorithm)
    nonce = parameters["nonce"]
    secret = hashed(f"{username}:{parameters.get('realm', '')}:{password}")
    if challenge.algorithm.endswith("-SESS"):
        secret = hashed(f"{secret}:{nonce}:{cnonce}")
    asked = hashed(f"{method}:{uri}")
    if "qop" not in parameters:
        return hashed(f"{secret}:{nonce}:{asked}")
    return hashed(f"{secret}:{nonce}:{nc}:{cnonce}:auth:{asked}")


def digest_value(
    challenge: Challenge, username: str, password: str, method: str, uri: str, *, count: int, cnonce: str
) -> str:
    """The value of ``authorization`` for Digest; ``count`` is how often this nonce is used, from 1."""
    parameters, nc = challenge.parameters, f"{count:08x}"
    proof = digest_response(challenge, username, password, method, uri, nc=nc, cnonce=cnonce)
    shown = username
    hidden = parameters.get("userhash", "").lower() == "true"
    if hidden:
        shown = _hash(challenge.algorithm)(f"{username}:{parameters.get('realm', '')}")
    parts = [
        f"username={_quoted(shown)}",
        f"realm={_quoted(parameters.get('realm', ''))}",
        f"nonce={_quoted(parameters['nonce'])}",
        f"uri={_quoted(uri)}",
        f"response={_quoted(proof)}",
    ]
    if "algorithm" in parameters:
        parts.append(f"algorithm={parameters['algorithm']}")
    if "opaque" in parameters:
        parts.append(f"opaque={_quoted(parameters['opaque'])}")
    if "qop" in parameters:
        parts += ["qop=auth", f"nc={nc}", f"cnonce={_quoted(cnonce)}"]
    elif challenge.algorithm.endswith("-SESS"):
        parts.append(f"cnonce={_quoted(cnonce)}")
    if hidden:
        parts.append("userhash=true")
    return "Digest " + ", ".join(parts)


def _hash(algorithm: str) -> Callable[[str], str]:
    if algorithm.startswith("SHA-256"):
        return lambda text: hashlib.sha256(text.encode()).hexdigest()
    return lambda text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class DavSigning(Signing):
    """Name and password, sent as the server wants them.

    ``auto`` sends Basic at once where nobody can listen (``private``: TLS, or this machine) and otherwise waits for the
    challenge; a server that wants Digest gets Digest from then on. ``basic`` and ``digest`` do nothing else.
    """

    refreshable = True

    def __init__(self, username: Secret, password: Secret, auth: AuthName, *, private: bool) -> None:
        if ":" in username.reveal():
            raise ConfigError("a user name for WebDAV holds no ':'")
        if not (username.reveal() + password.reveal()).isprintable():
            raise ConfigError("user name and password hold no control characters")
        self._username = username
        self._password = password
        self._auth = auth
        self._lock = threading.Lock()
        self._digest: Challenge | None = None
        self._count = 0
        basic = auth == "basic" or (auth == "auto" and private)
        self._basic = basic_value(username.reveal(), password.reveal()) if basic else None
        #: Whether the server has accepted anything yet, or nothing else can be tried.
        self.settled = auth == "basic"

    def sign(self, call: Call) -> tuple[str, Fields]:
        """The same query, and the fields with the proof."""
        value = self._value(call.method, f"{call.path}?{call.query}" if call.query else call.path)
        return call.query, call.fields if value is None else [*call.fields, ("authorization", value)]

    def _value(self, method: str, uri: str) -> str | None:
        with self._lock:
            challenge = self._digest
            if challenge is None:
                return self._basic
            self._count += 1
            count = self._count
        username, password = self._username.reveal(), self._password.reveal()
        return digest_value(challenge, username, password, method, uri, count=count, cnonce=secrets.token_hex(16))

    def refresh(self, response: Response) -> None:
        """Take up what a 401 asks for. Raises `UnauthenticatedError` where that is what was sent already."""
        offered = [each for each in parse_challenges(response.headers.get("www-authenticate")) if each.usable]
        digests = [each for each in offered if each.scheme == "digest"]
        sent = next((value for name, value in response.request.headers if name == "authorization"), "")
        if digests and self._auth != "basic":
            best = max(digests, key=lambda each: _ALGORITHMS.index(each.algorithm))
            with self._lock:
                self._digest, self._count = best, 0
            return
        if self._auth != "digest" and any(each.scheme == "basic" for each in offered) and not sent:
            with self._lock:
                self._basic = basic_value(self._username.reveal(), self._password.reveal())
            return
        if sent:
            raise UnauthenticatedError(WRONG)
        wanted = "Digest" if self._auth == "digest" else "Basic or Digest"
        names = ", ".join(sorted({each.scheme for each in parse_challenges(response.headers.get("www-authenticate"))}))
        raise UnauthenticatedError(
            f"the server asks for {names or 'nothing known'}, and this storage can only do {wanted}"
        )


#: What a refused name or password means.
WRONG: Final = "the server does not accept the user name or password; check WEBDAV_USERNAME and WEBDAV_PASSWORD"
