"""What may be shown of a request: URLs without signatures and passwords, headers without credentials."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mediagit_storage.secrets import REDACTED, Secret

__all__ = ["is_secret_header", "one_line", "redact_answer", "redact_headers", "redact_text", "redact_url"]

#: Query parameters whose values let their holder in (S3, GCS and CloudFront links, Azure's SAS, OAuth), in lower case.
_SECRET_PARAMETERS: Final = frozenset(
    {
        "x-amz-signature", "x-amz-credential", "x-amz-security-token", "x-goog-signature", "x-goog-credential",
        "awsaccesskeyid", "googleaccessid", "signature", "policy", "key-pair-id",
        "sig", "skoid", "sktid", "code", "token", "access_token", "refresh_token", "client_secret", "assertion",
        "key", "api_key", "apikey", "password", "secret", "auth", "authorization", "hdnts", "hdnea", "upload_id",
    }
)  # fmt: skip

_SECRET_HEADERS: Final = frozenset(
    {
        "authorization", "proxy-authorization", "cookie", "set-cookie", "www-authenticate", "proxy-authenticate",
        "x-amz-security-token", "x-ms-encryption-key", "x-ms-copy-source-authorization", "x-goog-iam-authorization-token",
        "x-auth-token", "x-api-key", "fastly-key",
    }
)  # fmt: skip
#: Keys that customers send along (SSE-C) end like this; the checksum of such a key is no secret, but nobody needs it.
_SECRET_HEADER: Final = re.compile(r"customer-key(-md5)?$|encryption-key(-sha256)?$|secret|password|session-token$")
_SECRET_WORD: Final = re.compile(r"signature|secret|password|credential|token$")

#: What a server may say again of a request in the words of its refusal: signatures, tokens, keys, with what names them.
_REPEATED: Final = re.compile(
    r"(?i)((?:x-amz-signature|x-amz-security-token|x-amz-credential|awsaccesskeyid|x-goog-signature|signature|\bsig"
    r"|accountkey|encryption-key|access_token|upload_id|authorization)[\"']?\s*[=:]\s*[\"']?(?:(?:basic|bearer)\s+)?"
    r"|\bbearer\s+(?=\S{12})|\bsharedkey(?:lite)?\s+[a-z0-9]+(?::|[\s=]+(?=\S{12})))[^\s&,\"'<>]+"
)
#: A shorter text is too likely to be a part of another word.
_SHORTEST: Final = 4

_USERINFO: Final = re.compile(r"(?<=://)[^/?#\s]*@")
_URL: Final = re.compile(r"https?://[^\s'\"<>]+", re.IGNORECASE)


def redact_url(url: str) -> str:
    """``url`` with passwords and the values of signature-like parameters replaced; the rest stays readable."""
    shown = _USERINFO.sub(f"{REDACTED}@", url)
    base, mark, query = shown.partition("?")
    if not mark:
        return shown
    return base + mark + "&".join(_redact_parameter(each) for each in query.split("&"))


def redact_text(text: str) -> str:
    """Free text, such as a library's message, with every URL in it redacted."""
    return _URL.sub(lambda found: redact_url(found.group()), _USERINFO.sub(f"{REDACTED}@", text))


def redact_answer(text: str, secrets: Iterable[Secret] = ()) -> str:
    """A server's own words, without the credentials of the request that it may repeat; ``secrets`` are those known."""
    for secret in secrets:
        known = secret.reveal()
        if len(known) >= _SHORTEST:
            text = text.replace(known, REDACTED)
    return _REPEATED.sub(rf"\1{REDACTED}", text)


def one_line(text: str, most: int) -> str:
    """A server's own words as one line without control characters, of at most ``most`` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * most]).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def is_secret_header(name: str) -> bool:
    """Whether the value of this header must not be shown."""
    lower = name.lower()
    return lower in _SECRET_HEADERS or _SECRET_HEADER.search(lower) is not None


def redact_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Headers for a log or ``repr``: those that carry credentials keep their name only."""
    return tuple((name, REDACTED if is_secret_header(name) else redact_text(value)) for name, value in headers)


def _redact_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    lower = name.lower().replace("%2d", "-").replace("%5f", "_")
    secret = lower in _SECRET_PARAMETERS or _SECRET_WORD.search(lower) is not None
    # Listings page by tokens that are no secret and that people need to see.
    if lower in {"continuation-token", "nextmarker", "pagetoken"}:
        secret = False
    return f"{name}={REDACTED}" if equals and secret else parameter
