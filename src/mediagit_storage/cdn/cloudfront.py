"""Amazon CloudFront: signed URLs and cookies, and invalidations by path, prefix and tag."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, get_args

from mediagit_storage.backends.s3.credentials import (
    ChainProvider,
    CredentialProvider,
    StaticProvider,
    botocore_credentials,
)
from mediagit_storage.cdn.addresses import rfc1738_path
from mediagit_storage.cdn.api import ApiClient, ApiFailure, PurgeCall, Ticket, chunks, open_client
from mediagit_storage.cdn.cloudfront_signing import (
    HashName,
    Sign,
    canned_parameters,
    custom_parameters,
    private_key_signer,
)
from mediagit_storage.cdn.config import CDNConfig
from mediagit_storage.cdn.provider import ApiProvider, Cookie, Grant, PurgeKind, Targets
from mediagit_storage.clock import SYSTEM_CLOCK, Clock
from mediagit_storage.errors import ConfigError, IntegrityError, UnsupportedError
from mediagit_storage.http.call import Call, Fields
from mediagit_storage.http.client import Signing
from mediagit_storage.http.encoding import parse_http_date
from mediagit_storage.http.refusals import error_fields
from mediagit_storage.http.response import Response
from mediagit_storage.http.retry import Rules
from mediagit_storage.http.sigv4 import Credentials, Signer
from mediagit_storage.http.xml import element, escape, parse_records
from mediagit_storage.secrets import Secret, SecretValue, resolve_secret

__all__ = ["CloudFront", "CloudFrontConfig"]

_API: Final = "/2020-05-31/distribution"
_NAMESPACE: Final = "http://cloudfront.amazonaws.com/doc/2020-05-31/"
#: In progress at one time for a distribution: "Concurrent invalidation request maximum" of the Developer Guide.
_MOST_PATHS: Final = 3000
_MOST_WILDCARDS: Final = 15
#: "What you need to know when invalidating files" and "... tags".
_LONGEST_PATH: Final = 4000
_LONGEST_TAG: Final = 256
#: Work that is still in progress fills the limits above: it is over in minutes, and no repeating now would help.
_FULL: Final = frozenset({"TooManyInvalidationsInProgress"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudFrontConfig(CDNConfig):
    """The options of `CloudFront`: those of `CDNConfig`, and

    ==================== ==============================================================================================
    ``key_pair_id``      the id of the public key, with ``private_key`` for signing
    ``private_key``      the private key in PEM: RSA with 2,048 bits, or ECDSA on P-256
    ``hash_algorithm``   ``sha1``, which CloudFront takes always, or ``sha256``
    ``distribution_id``  for purging: whose copies
    ``access_key_id``    with ``secret_access_key`` and ``session_token``: who purges. Without them botocore's chain is
                         asked (extra ``aws``); ``aws_profile`` names one of its profiles
    ``api_url`` ``region`` the API, where it is another one (China)
    ==================== ==============================================================================================
    """

    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "session_token": "AWS_SESSION_TOKEN",
        "secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "access_key_id": "AWS_ACCESS_KEY_ID",
        "aws_profile": "AWS_PROFILE",
    }
    #: The environment's keys are taken together or not at all: the id comes last, so that it does not stop the others.
    ENVIRONMENT_YIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "session_token": ("access_key_id", "aws_profile"),
        "secret_access_key": ("access_key_id", "aws_profile"),
        "access_key_id": ("aws_profile",),
    }

    key_pair_id: str | None = None
    private_key: SecretValue | None = None
    hash_algorithm: HashName = "sha1"
    distribution_id: str | None = None
    access_key_id: SecretValue | None = None
    secret_access_key: SecretValue | None = None
    session_token: SecretValue | None = None
    aws_profile: str | None = None
    api_url: str = "https://cloudfront.amazonaws.com"
    region: str = "us-east-1"

    def check(self) -> None:
        """Refuse what cannot be."""
        CDNConfig.check(self)
        if (self.key_pair_id is None) != (self.private_key is None):
            raise ConfigError("key_pair_id and private_key belong together: give both or none")
        if self.hash_algorithm not in get_args(HashName):
            raise ConfigError("hash_algorithm is sha1 or sha256")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ConfigError("access_key_id and secret_access_key belong together: give both or none")
        for name in ("key_pair_id", "distribution_id"):
            text = getattr(self, name)
            if text is not None and not (text.isascii() and text.isalnum()):
                raise ConfigError(f"{name} is letters and digits")

    def credentials(self) -> CredentialProvider:
        """Who purges. Looks nothing up yet."""
        if self.access_key_id is None or self.secret_access_key is None:
            profile = self.aws_profile
            return ChainProvider(lambda: botocore_credentials(profile))
        token = None if self.session_token is None else resolve_secret(self.session_token)
        key_id = resolve_secret(self.access_key_id).reveal()
        return StaticProvider(Credentials(key_id, resolve_secret(self.secret_access_key), token), "given")


class CloudFront(ApiProvider):
    """A distribution. ``reference`` makes the names by which a repeated request for one invalidation is known again."""

    name = "cloudfront"
    purges: ClassVar[frozenset[PurgeKind]] = frozenset({"key", "prefix", "tag"})

    def __init__(
        self,
        config: CloudFrontConfig,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rules: Rules | None = None,
        reference: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        super().__init__()
        self._config = config
        self._clock = clock
        self._rules = rules
        self._reference = reference
        self._signer: Sign | None = None
        self._shown = config.shown_at()
        self.base = self._shown
        self.max_expires = config.max_expires

    # ---- signing

    def sign(self, path: str, grant: Grant) -> str:
        """By a canned policy where that says it all, else by one that travels along."""
        url = self._shown.url(path)
        return _joined(url, self._parameters(url, grant))

    def sign_within(self, path: str, prefix: str, grant: Grant) -> str:
        """By a policy for the prefix and a wildcard."""
        return _joined(self._shown.url(path), self._custom(self._shown.url(prefix) + "*", grant))

    def cookies(self, path: str, grant: Grant) -> Sequence[Cookie]:
        """Three or four cookies for one URL."""
        return self._cookies(self._parameters(self._shown.url(path), grant), path)

    def cookies_within(self, prefix: str, grant: Grant) -> Sequence[Cookie]:
        """Three or four cookies for the prefix and a wildcard."""
        return self._cookies(self._custom(self._shown.url(prefix) + "*", grant), prefix)

    def _parameters(self, url: str, grant: Grant) -> Mapping[str, str]:
        if grant.starts is not None or grant.client is not None:
            return self._custom(url, grant)
        key_id, sign = self._key()
        return canned_parameters(url, grant.ends, key_id, sign, self._config.hash_algorithm)

    def _custom(self, resource: str, grant: Grant) -> Mapping[str, str]:
        key_id, sign = self._key()
        return custom_parameters(resource, grant, key_id, sign, self._config.hash_algorithm)

    def _key(self) -> tuple[str, Sign]:
        config = self._config
        if config.key_pair_id is None or config.private_key is None:
            raise ConfigError("signing for CloudFront needs key_pair_id and private_key")
        if self._signer is None:
            self._signer = private_key_signer(resolve_secret(config.private_key), config.hash_algorithm)
        return config.key_pair_id, self._signer

    def _cookies(self, parameters: Mapping[str, str], path: str) -> Sequence[Cookie]:
        # Without an end of their own, as CloudFront recommends: they go when the browser is closed.
        secure = self._shown.endpoint.scheme == "https"
        folder = path[: path.rfind("/") + 1]
        return [Cookie(f"CloudFront-{name}", value, folder, secure=secure) for name, value in parameters.items()]

    # ---- purging

    def purge_calls(self, targets: Targets) -> Sequence[PurgeCall]:
        """Invalidations of at most 3,000 paths and tags, or 15 prefixes, each.

        CloudFront keeps a URL as it was asked for, and its guide spells paths in another way than links do: where the
        two differ, both are asked for.
        """
        plain = dict.fromkeys(spelled for path in targets.paths for spelled in (path, rfc1738_path(path)))
        wild = dict.fromkeys(f"{spelled}*" for prefix in targets.prefixes for spelled in (prefix, rfc1738_path(prefix)))
        for path in (*plain, *wild):
            if len(path) > _LONGEST_PATH:
                raise UnsupportedError(f"CloudFront takes paths of {_LONGEST_PATH:,} characters at most")
        tags = dict.fromkeys(f"#{_checked_tag(tag)}" for tag in targets.tags)
        batches = [*chunks([*plain, *tags], _MOST_PATHS), *chunks([*wild], _MOST_WILDCARDS)]
        return [PurgeCall(self._invalidation(items), items) for items in batches]

    def _invalidation(self, items: Sequence[str]) -> Call:
        paths = element("Quantity", str(len(items))) + element(
            "Items", "".join(element("Path", escape(i)) for i in items)
        )
        batch = element("Paths", paths) + element("CallerReference", self._reference())
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><InvalidationBatch xmlns="{_NAMESPACE}">{batch}</InvalidationBatch>'
        )
        return Call("POST", f"{self._place()}/invalidation", "", [("content-type", "text/xml")], body.encode())

    def ticket(self, response: Response) -> Ticket:
        """The invalidation that an answer tells of."""
        document = parse_records(response.body)
        name = document.fields.get("Id", "")
        if document.root != "Invalidation" or not (name.isascii() and name.isalnum()):
            raise IntegrityError("CloudFront's answer tells of no invalidation")
        return Ticket(name, done=document.fields.get("Status", "").lower() == "completed")

    def poll(self, ticket: Ticket) -> Call:
        """Ask for an invalidation again."""
        return Call("GET", f"{self._place()}/invalidation/{ticket.id}")

    def _place(self) -> str:
        if self._config.distribution_id is None:
            raise ConfigError("purging CloudFront needs distribution_id")
        return f"{_API}/{self._config.distribution_id}"

    def connect(self) -> ApiClient:
        """The API, signed for with Signature Version 4."""
        config = self._config
        provider = config.credentials()
        return open_client(
            config.api_url,
            config,
            self._rules,
            lambda host: _AwsSigning(provider, config.region, host, self._clock),
            read=_failure,
            slow=_FULL,
        )


class _AwsSigning(Signing):
    """Signature Version 4 with the body's hash, which every service but S3 asks for."""

    keeps_time = True

    def __init__(self, provider: CredentialProvider, region: str, host: str, clock: Clock) -> None:
        self._provider = provider
        self.refreshable = provider.refreshable
        self._region = region
        self._host = host
        self._clock = clock
        self._offset = 0
        self._credentials: Credentials | None = None

    def sign(self, call: Call) -> tuple[str, Fields]:
        """The fields of a request with those that sign it."""
        credentials = self._credentials = self._provider.current()
        signer = Signer(credentials, region=self._region, host=self._host, service="cloudfront")
        body = call.body if isinstance(call.body, bytes) else b""
        now = self._clock.now_ns() // 1_000_000_000 + self._offset
        payload = hashlib.sha256(body).hexdigest()
        added = signer.sign(call.method, call.path, call.query, call.fields, payload=payload, now=now)
        return call.query, [*call.fields, *added]

    def secrets(self) -> Iterable[Secret]:
        """Those of the credentials in use."""
        found = self._credentials
        return () if found is None else [each for each in (found.secret_access_key, found.session_token) if each]

    def refresh(self, response: Response) -> None:
        """The credentials in use were refused as too old."""
        if self._credentials is not None:
            self._provider.refresh(self._credentials)

    def set_clock(self, response: Response) -> None:
        """Sign with the server's time from now on."""
        date = response.headers.get("date")
        if date is not None:
            self._offset = round(parse_http_date(date).timestamp() - self._clock.now_ns() / 1e9)


def _joined(url: str, parameters: Mapping[str, str]) -> str:
    # Every value is made of letters that stay as they are.
    return f"{url}?{'&'.join(f'{name}={value}' for name, value in parameters.items())}"


def _checked_tag(tag: str) -> str:
    fine = tag.isascii() and tag.isprintable() and not set(tag) & set(" ,") and 0 < len(tag) <= _LONGEST_TAG
    if not fine:
        raise UnsupportedError(f"a tag of CloudFront is 1 to {_LONGEST_TAG} visible ASCII characters without commas")
    return tag


def _failure(response: Response) -> ApiFailure | None:
    if response.status < 400:
        return None
    fields = error_fields(response.body)
    return ApiFailure(fields.get("Code", ""), fields.get("Message", ""))
