"""From an answer of S3 to this library's errors: one table of codes, one of statuses, each row saying what to do.

A status alone decides only where the answer has no code (HEAD has no body, proxies have their own). 403 is never read
as "not found", and a code that is in no table is kept in the message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CapacityError,
    ChecksumError,
    ConfigError,
    ConnectionLostError,
    IntegrityError,
    InvalidKeyError,
    InvalidRangeError,
    LimitExceededError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    StorageError,
    StorageTimeoutError,
    ThrottledError,
    TruncatedError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.http.call import Condition, Subject
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.redact import redact_answer
from mediagit_storage.http.xml import Document, parse_records

__all__ = [
    "CODES",
    "MAX_MESSAGE",
    "STATUSES",
    "Failure",
    "Recovery",
    "Row",
    "failure_in_success",
    "failure_of_item",
    "read_failure",
    "row_of",
    "translate",
]

#: How much of an answer an error message shows, in characters.
MAX_MESSAGE: Final = 2048

#: How much of an error's body is read at all, in bytes.
_MAX_BODY: Final = 256 * 1024


class Recovery(Enum):
    """What may help before the error is raised."""

    NONE = "none"
    #: The same request once more, after a pause.
    AGAIN = "again"
    #: The same, after a longer pause: the server asks for fewer requests.
    SLOWER = "slower"
    #: Sign once more with the server's own time (its ``Date`` field).
    RESIGN = "resign"
    #: Fetch new credentials, then once more.
    REFRESH = "refresh"
    #: Sign once more for the region that the answer names.
    REGION = "region"


class Row(NamedTuple):
    """What a code or status becomes, what the reader should do, and what may help."""

    kind: type[StorageError]
    advice: str
    recovery: Recovery = Recovery.NONE


class Failure(NamedTuple):
    """What an answer says about what went wrong. ``code`` is empty where it has none."""

    status: int
    code: str = ""
    message: str = ""
    request_id: str = ""
    #: The region that the bucket is really in, where the answer names it.
    region: str | None = None
    #: Seconds, as the Retry-After field says, where it is a number.
    retry_after: float | None = None
    #: Whether the newest version is a deletion mark.
    deleted: bool = False


_KEYS: Final = "check the access key and its secret"
_CLOCK: Final = "set this machine's clock"
_NEW_TOKEN: Final = "the session token has expired or is wrong; sign in again"  # noqa: S105  # advice, not a token
_POLICY: Final = "ask the bucket's owner for the permission"
_LATER: Final = "try again later"
_SLOWER: Final = "the service asks for fewer requests; try again later or lower the concurrency"
_REGION: Final = "set the region that the bucket is in"
_RESEND: Final = "the data were changed on the way; nothing was stored; try again"

CODES: Final[Mapping[str, Row]] = {
    # What is not there.
    "NoSuchKey": Row(NotFoundError, "the object is not there"),
    "NoSuchVersion": Row(NotFoundError, "this version of the object is not there"),
    "NoSuchBucket": Row(BucketNotFoundError, "the bucket is not there; check its name and region, or create it"),
    "NoSuchUpload": Row(StorageError, "the upload was completed or aborted meanwhile; start it again"),
    # Who is asking.
    "InvalidAccessKeyId": Row(UnauthenticatedError, _KEYS),
    "SignatureDoesNotMatch": Row(UnauthenticatedError, f"{_KEYS}, the region and the endpoint"),
    "AuthorizationHeaderMalformed": Row(ConfigError, _REGION, Recovery.REGION),
    "AuthorizationQueryParametersError": Row(ConfigError, f"{_REGION}, and an expiry of at most seven days"),
    "MissingSecurityHeader": Row(UnauthenticatedError, _KEYS),
    "MissingAuthenticationToken": Row(UnauthenticatedError, "give credentials: the request was not signed"),
    "CredentialsNotSupported": Row(UnauthenticatedError, _KEYS),
    "RequestTimeTooSkewed": Row(UnauthenticatedError, _CLOCK, Recovery.RESIGN),
    "RequestExpired": Row(UnauthenticatedError, _CLOCK, Recovery.RESIGN),
    "ExpiredToken": Row(UnauthenticatedError, _NEW_TOKEN, Recovery.REFRESH),
    "ExpiredTokenException": Row(UnauthenticatedError, _NEW_TOKEN, Recovery.REFRESH),
    "TokenRefreshRequired": Row(UnauthenticatedError, _NEW_TOKEN, Recovery.REFRESH),
    "InvalidToken": Row(UnauthenticatedError, _NEW_TOKEN, Recovery.REFRESH),
    "InvalidTokenId": Row(UnauthenticatedError, _NEW_TOKEN, Recovery.REFRESH),
    "UnrecognizedClientException": Row(UnauthenticatedError, _KEYS),
    # What is allowed.
    "AccessDenied": Row(PermissionDeniedError, _POLICY),
    "AccountProblem": Row(PermissionDeniedError, "look into the account with the provider"),
    "AllAccessDisabled": Row(PermissionDeniedError, "the provider has switched the bucket off"),
    "NotSignedUp": Row(PermissionDeniedError, "sign up for the service"),
    "InvalidPayer": Row(PermissionDeniedError, "the bucket's owner wants you to pay: set request_payer"),
    "InvalidObjectState": Row(UnsupportedError, "the object is archived; restore it with the provider's tools first"),
    "KMS.DisabledException": Row(PermissionDeniedError, "the encryption key is disabled"),
    "KMS.NotFoundException": Row(ConfigError, "the encryption key is not there; check kms_key_id"),
    "KMS.ThrottlingException": Row(ThrottledError, _SLOWER, Recovery.SLOWER),
    # Where the bucket is.
    "PermanentRedirect": Row(ConfigError, _REGION, Recovery.REGION),
    "Redirect": Row(ConfigError, _REGION, Recovery.REGION),
    "TemporaryRedirect": Row(UnavailableError, "the bucket is being moved; try again later", Recovery.REGION),
    "IllegalLocationConstraintException": Row(ConfigError, _REGION, Recovery.REGION),
    "InvalidLocationConstraint": Row(ConfigError, "the service has no such region"),
    "InvalidRegion": Row(ConfigError, "the service has no such region", Recovery.REGION),
    # Conditions and ranges.
    "PreconditionFailed": Row(PreconditionError, "the object is not the one that the condition names"),
    "NotModified": Row(NotModifiedError, "your copy of the object is current"),
    "ConditionalRequestConflict": Row(
        UnavailableError, "somebody wrote the object meanwhile; try again", Recovery.AGAIN
    ),
    "OperationAborted": Row(UnavailableError, "something else is being done to the bucket; try again", Recovery.AGAIN),
    "InvalidRange": Row(InvalidRangeError, "the range is not inside the object"),
    # Limits.
    "EntityTooLarge": Row(LimitExceededError, "send it in parts, or in smaller ones"),
    "EntityTooSmall": Row(LimitExceededError, "a part other than the last is smaller than the service takes"),
    "MaxMessageLengthExceeded": Row(LimitExceededError, "the request is larger than the service takes"),
    "MetadataTooLarge": Row(LimitExceededError, "shorten the metadata"),
    "MaxPostPreDataLengthExceededError": Row(LimitExceededError, "shorten the metadata"),
    "RequestHeaderSectionTooLarge": Row(LimitExceededError, "shorten the metadata or the key"),
    "TooManyParts": Row(LimitExceededError, "set a larger part_size"),
    "TooManyBuckets": Row(CapacityError, "delete a bucket, or ask the provider for more"),
    "QuotaExceeded": Row(CapacityError, "the quota is used up; free some space or ask for more"),
    "StorageQuotaExceeded": Row(CapacityError, "the quota is used up; free some space or ask for more"),
    "XMinioAdminBucketQuotaExceeded": Row(CapacityError, "the bucket's quota is used up; free some space or raise it"),
    "XMinioStorageFull": Row(CapacityError, "the server's disks are full; free some space"),
    "InsufficientStorage": Row(CapacityError, "the server's disks are full; free some space"),
    "CapExceeded": Row(CapacityError, "the account's cap is reached; raise it with the provider"),
    # Keys and options.
    "KeyTooLongError": Row(InvalidKeyError, "choose a shorter key"),
    "XMinioInvalidObjectName": Row(InvalidKeyError, "the server takes no such key; choose another"),
    "InvalidURI": Row(InvalidKeyError, "the server takes no such key; choose another"),
    "InvalidBucketName": Row(ConfigError, "check the bucket's name"),
    "InvalidStorageClass": Row(ConfigError, "the service has no such storage class"),
    "InvalidTag": Row(ConfigError, "check the tags: at most 10, names of 128 and values of 256 characters"),
    "InvalidEncryptionAlgorithmError": Row(ConfigError, "the service has no such encryption"),
    "InvalidRetentionPeriod": Row(ConfigError, "the retention must end in the future"),
    "ObjectLockConfigurationNotFoundError": Row(ConfigError, "the bucket was created without object lock"),
    "NoSuchObjectLockConfiguration": Row(ConfigError, "the object has no retention"),
    "NotImplemented": Row(UnsupportedError, "the service cannot do that"),
    "XNotImplemented": Row(UnsupportedError, "the service cannot do that"),
    "MethodNotAllowed": Row(UnsupportedError, "the service does not do that here"),
    # Buckets that exist.
    "BucketAlreadyOwnedByYou": Row(AlreadyExistsError, "the bucket is yours already"),
    "BucketAlreadyExists": Row(AlreadyExistsError, "somebody has a bucket of that name; choose another"),
    # What arrived damaged.
    "BadDigest": Row(ChecksumError, _RESEND, Recovery.AGAIN),
    "XAmzContentChecksumMismatch": Row(ChecksumError, _RESEND, Recovery.AGAIN),
    "XAmzContentSHA256Mismatch": Row(ChecksumError, _RESEND, Recovery.AGAIN),
    "InvalidDigest": Row(ChecksumError, "the checksum has a form that the service does not take"),
    "IncompleteBody": Row(ConnectionLostError, "the body did not arrive whole; try again", Recovery.AGAIN),
    "InvalidPart": Row(IntegrityError, "a part is missing or another one than was sent; nothing was stored"),
    "InvalidPartOrder": Row(IntegrityError, "the parts are out of order; nothing was stored"),
    # What passes.
    "RequestTimeout": Row(StorageTimeoutError, "the body came too slowly; try again", Recovery.AGAIN),
    "InternalError": Row(UnavailableError, _LATER, Recovery.AGAIN),
    "ServiceUnavailable": Row(UnavailableError, _LATER, Recovery.AGAIN),
    "ServerBusy": Row(ThrottledError, _SLOWER, Recovery.SLOWER),
    "XMinioServerNotInitialized": Row(UnavailableError, "the server is starting; try again", Recovery.AGAIN),
    "SlowDown": Row(ThrottledError, _SLOWER, Recovery.SLOWER),
    "SlowDownRead": Row(ThrottledError, _SLOWER, Recovery.SLOWER),
    "SlowDownWrite": Row(ThrottledError, _SLOWER, Recovery.SLOWER),
    "Throttling": Row(ThrottledError, _SLOWER, Recovery.SLOWER),
    "ThrottlingException": Row(ThrottledError, _SLOWER, Recovery.SLOWER),
    "TooManyRequests": Row(ThrottledError, _SLOWER, Recovery.SLOWER),
    "RequestLimitExceeded": Row(ThrottledError, _SLOWER, Recovery.SLOWER),
    "BandwidthLimitExceeded": Row(ThrottledError, _SLOWER, Recovery.SLOWER),
}

#: For answers without a code that is known. 404 is decided by `Subject`, and other 5xx are as 500.
STATUSES: Final[Mapping[int, Row]] = {
    400: Row(StorageError, "the service refused the request; check the region, the endpoint and the session token"),
    301: Row(ConfigError, _REGION, Recovery.REGION),
    304: CODES["NotModified"],
    307: CODES["TemporaryRedirect"],
    401: Row(UnauthenticatedError, _KEYS),
    403: Row(PermissionDeniedError, f"{_POLICY}, or {_KEYS}"),
    405: CODES["MethodNotAllowed"],
    408: CODES["RequestTimeout"],
    411: Row(UnsupportedError, "the server wants to know the size beforehand"),
    412: CODES["PreconditionFailed"],
    413: CODES["EntityTooLarge"],
    416: CODES["InvalidRange"],
    429: CODES["TooManyRequests"],
    431: CODES["RequestHeaderSectionTooLarge"],
    500: CODES["InternalError"],
    501: CODES["NotImplemented"],
    502: Row(UnavailableError, _LATER, Recovery.AGAIN),
    503: Row(UnavailableError, _LATER, Recovery.SLOWER),
    504: Row(StorageTimeoutError, _LATER, Recovery.AGAIN),
    507: CODES["InsufficientStorage"],
    509: CODES["BandwidthLimitExceeded"],
}

_UNKNOWN: Final = Row(StorageError, "see the provider's documentation")


def row_of(failure: Failure, subject: Subject = "object") -> Row:
    """The row for a failure: by its code, else by its status."""
    if failure.deleted and failure.status in {404, 405}:
        return CODES["NoSuchKey"]
    row = CODES.get(failure.code)
    if row is not None and not (failure.status == 403 and issubclass(row.kind, NotFoundError)):
        return row
    if failure.region is not None and failure.status in {301, 307, 400}:
        return CODES["PermanentRedirect"]
    if failure.status == 404:
        # S3 answers HEAD without a body. A body of another kind is a proxy's page, and proves nothing.
        silent = not failure.code and not failure.message
        return CODES["NoSuchBucket" if subject == "bucket" else "NoSuchKey"] if silent else _UNKNOWN
    if 500 <= failure.status <= 599:
        return STATUSES.get(failure.status, STATUSES[500])
    # A code that is not known keeps its own meaning where the status allows only one.
    return STATUSES.get(failure.status, _UNKNOWN)


def translate(
    failure: Failure,
    *,
    subject: Subject = "object",
    condition: Condition | None = None,
) -> StorageError:
    """The error to raise for a failure. ``condition`` is what the request asked for.

    An absent object under "match" is a `PreconditionError`: it is not the one that the condition names.
    """
    row = row_of(failure, subject)
    kind = row.kind
    if kind is PreconditionError and condition == "absent":
        row = Row(AlreadyExistsError, "an object is there already")
    elif kind is PreconditionError and condition == "none-match":
        row = CODES["NotModified"]
    elif kind is NotFoundError and condition == "match":
        row = Row(PreconditionError, "the object that the condition names is not there")
    text = redact_answer(": ".join(part for part in (_said(failure), _advice(row, failure)) if part))
    return row.kind(text)


def _advice(row: Row, failure: Failure) -> str:
    return f"{row.advice}: {failure.region}" if row.recovery is Recovery.REGION and failure.region else row.advice


def _said(failure: Failure) -> str:
    message = failure.message.rstrip(". ")
    code = failure.code or f"HTTP {failure.status}"
    request = f" [request {failure.request_id}]" if failure.request_id else ""
    silent = message in {"", failure.code}
    return f"the server answered {code}{request}" if silent else f"{message} ({code}){request}"


# ---- reading -------------------------------------------------------------------------------------------------------


def read_failure(status: int, headers: Headers, body: bytes = b"") -> Failure:
    """What an answer that is no success says. Never raises: a body may be XML, a proxy's page, cut off or empty."""
    fields = _error_fields(body)
    retry_after = headers.get("retry-after") or ""
    message = fields.get("Message", "") if fields else _excerpt(body)
    return Failure(
        status=status,
        code=_clean(fields.get("Code", ""), 100),
        message=_clean(message, MAX_MESSAGE),
        request_id=_clean(fields.get("RequestId", "") or (headers.get("x-amz-request-id") or ""), 200),
        region=_region(fields, headers),
        retry_after=float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None,
        deleted=(headers.get("x-amz-delete-marker") or "").lower() == "true",
    )


def failure_in_success(status: int, headers: Headers, body: bytes) -> Failure | None:
    """The failure that a 200 hides: copies and completions begin their answer before they know how they end.

    None where the document is whole and is not an error. One that is cut off is a `TruncatedError`, an empty one too:
    whether the operation took place is then unknown.
    """
    if not body.strip():
        raise TruncatedError("the server's answer is empty where a document belongs")
    document = parse_records(body)
    if document.root != "Error":
        return None
    # The status says that all is well; what the error means is in its code.
    return read_failure(500 if status < 300 else status, headers, body)


def failure_of_item(record: Mapping[str, str]) -> Failure:
    """The failure of one key in the answer to DeleteObjects (an ``Error`` record)."""
    code = _clean(record.get("Code", ""), 100)
    return Failure(200, code or "UnknownError", _clean(record.get("Message", ""), MAX_MESSAGE))


def _error_fields(body: bytes) -> Mapping[str, str]:
    try:
        document: Document = parse_records(body[:_MAX_BODY], limit=_MAX_BODY)
    except StorageError:
        # Cut off or not XML at all: the code usually stands near the front.
        head = body[:4096].decode("utf-8", "replace")
        found = re.search(r"<Code>([A-Za-z0-9._-]{1,100})</Code>", head)
        return {"Code": found[1]} if found else {}
    if document.root == "Error":
        return document.fields
    # Some servers wrap it: <ErrorResponse><Error><Code>.
    return {name.removeprefix("Error/"): text for name, text in document.fields.items() if name.startswith("Error/")}


def _region(fields: Mapping[str, str], headers: Headers) -> str | None:
    endpoint = re.search(r"s3[.-]([a-z]{2}(?:-[a-z]+)+-[0-9]+)\.amazonaws\.com", fields.get("Endpoint", ""))
    expecting = re.search(r"expecting '([a-z0-9-]+)'", fields.get("Message", ""))
    for text in (
        headers.get("x-amz-bucket-region") or "",
        fields.get("Region", ""),
        endpoint[1] if endpoint else "",
        expecting[1] if expecting else "",
    ):
        if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", text.strip()):
            return text.strip()
    return None


def _excerpt(body: bytes) -> str:
    text = body[:4096].decode("utf-8", "replace")
    return "" if "<Code>" in text else re.sub(r"<[^>]*>", " ", text)[:200]


def _clean(text: str, most: int) -> str:
    """One line without control characters, bounded."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * most]).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
