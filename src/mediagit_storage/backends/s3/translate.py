"""From an answer of S3 to this library's errors: one table of codes, one of statuses, each row saying what to do.

A status alone decides only where the answer has no code (HEAD has no body, proxies have their own). 403 is never read
as "not found", and a code that is in no table is kept in the message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    PermissionDeniedError,
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
from mediagit_storage.http.redact import one_line, redact_answer
from mediagit_storage.http.refusals import CURRENT, OTHER, UNKNOWN, Row, error_fields, excerpt, said, under
from mediagit_storage.http.xml import parse_records

__all__ = [
    "CODES",
    "MAX_MESSAGE",
    "STATUSES",
    "Failure",
    "failure_in_success",
    "failure_of_item",
    "read_failure",
    "row_of",
    "translate",
]

#: How much of an answer an error message shows, in characters.
MAX_MESSAGE: Final = 2048


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
_MOVING: Final = "the bucket is being moved; try again later"
_NO_REGION: Final = "the service has no such region"
#: Advice that the region belongs to, where the answer names it.
_REGIONAL: Final = frozenset({_REGION, _MOVING, _NO_REGION})
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
    "AuthorizationHeaderMalformed": Row(ConfigError, _REGION),
    "AuthorizationQueryParametersError": Row(ConfigError, f"{_REGION}, and an expiry of at most seven days"),
    "MissingSecurityHeader": Row(UnauthenticatedError, _KEYS),
    "MissingAuthenticationToken": Row(UnauthenticatedError, "give credentials: the request was not signed"),
    "CredentialsNotSupported": Row(UnauthenticatedError, _KEYS),
    "RequestTimeTooSkewed": Row(UnauthenticatedError, _CLOCK),
    "RequestExpired": Row(UnauthenticatedError, _CLOCK),
    "ExpiredToken": Row(UnauthenticatedError, _NEW_TOKEN),
    "ExpiredTokenException": Row(UnauthenticatedError, _NEW_TOKEN),
    "TokenRefreshRequired": Row(UnauthenticatedError, _NEW_TOKEN),
    "InvalidToken": Row(UnauthenticatedError, _NEW_TOKEN),
    "InvalidTokenId": Row(UnauthenticatedError, _NEW_TOKEN),
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
    "KMS.ThrottlingException": Row(ThrottledError, _SLOWER),
    # Where the bucket is.
    "PermanentRedirect": Row(ConfigError, _REGION),
    "Redirect": Row(ConfigError, _REGION),
    "TemporaryRedirect": Row(UnavailableError, _MOVING),
    "IllegalLocationConstraintException": Row(ConfigError, _REGION),
    "InvalidLocationConstraint": Row(ConfigError, _NO_REGION),
    "InvalidRegion": Row(ConfigError, _NO_REGION),
    # Conditions and ranges.
    "PreconditionFailed": OTHER,
    "NotModified": CURRENT,
    "ConditionalRequestConflict": Row(UnavailableError, "somebody wrote the object meanwhile; try again"),
    "OperationAborted": Row(UnavailableError, "something else is being done to the bucket; try again"),
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
    "BadDigest": Row(ChecksumError, _RESEND),
    "XAmzContentChecksumMismatch": Row(ChecksumError, _RESEND),
    "XAmzContentSHA256Mismatch": Row(ChecksumError, _RESEND),
    "InvalidDigest": Row(ChecksumError, "the checksum has a form that the service does not take"),
    "IncompleteBody": Row(ConnectionLostError, "the body did not arrive whole; try again"),
    "InvalidPart": Row(IntegrityError, "a part is missing or another one than was sent; nothing was stored"),
    "InvalidPartOrder": Row(IntegrityError, "the parts are out of order; nothing was stored"),
    # What passes.
    "RequestTimeout": Row(StorageTimeoutError, "the body came too slowly; try again"),
    "InternalError": Row(UnavailableError, _LATER),
    "ServiceUnavailable": Row(UnavailableError, _LATER),
    "ServerBusy": Row(ThrottledError, _SLOWER),
    "XMinioServerNotInitialized": Row(UnavailableError, "the server is starting; try again"),
    "SlowDown": Row(ThrottledError, _SLOWER),
    "SlowDownRead": Row(ThrottledError, _SLOWER),
    "SlowDownWrite": Row(ThrottledError, _SLOWER),
    "Throttling": Row(ThrottledError, _SLOWER),
    "ThrottlingException": Row(ThrottledError, _SLOWER),
    "TooManyRequests": Row(ThrottledError, _SLOWER),
    "RequestLimitExceeded": Row(ThrottledError, _SLOWER),
    "BandwidthLimitExceeded": Row(ThrottledError, _SLOWER),
}

#: For answers without a code that is known. 404 is decided by `Subject`, and other 5xx are as 500.
STATUSES: Final[Mapping[int, Row]] = {
    400: Row(StorageError, "the service refused the request; check the region, the endpoint and the session token"),
    301: Row(ConfigError, _REGION),
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
    502: Row(UnavailableError, _LATER),
    503: Row(UnavailableError, _LATER),
    504: Row(StorageTimeoutError, _LATER),
    507: CODES["InsufficientStorage"],
    509: CODES["BandwidthLimitExceeded"],
}


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
        return CODES["NoSuchBucket" if subject == "bucket" else "NoSuchKey"] if silent else UNKNOWN
    if 500 <= failure.status <= 599:
        return STATUSES.get(failure.status, STATUSES[500])
    # A code that is not known keeps its own meaning where the status allows only one.
    return STATUSES.get(failure.status, UNKNOWN)


def translate(
    failure: Failure,
    *,
    subject: Subject = "object",
    condition: Condition | None = None,
) -> StorageError:
    """The error to raise for a failure. ``condition`` is what the request asked for."""
    row = under(condition, row_of(failure, subject))
    words = said(failure.status, failure.code, failure.message, failure.request_id)
    where = f": {failure.region}" if failure.region and row.advice in _REGIONAL else ""
    return row.kind(redact_answer(f"{words}: {row.advice}{where}"))


# ---- reading -------------------------------------------------------------------------------------------------------


def read_failure(status: int, headers: Headers, body: bytes = b"") -> Failure:
    """What an answer that is no success says. Never raises: a body may be XML, a proxy's page, cut off or empty."""
    fields = error_fields(body)
    retry_after = headers.get("retry-after") or ""
    message = fields.get("Message", "") if fields else excerpt(body)
    return Failure(
        status=status,
        code=one_line(fields.get("Code", ""), 100),
        message=one_line(message, MAX_MESSAGE),
        request_id=one_line(fields.get("RequestId", "") or (headers.get("x-amz-request-id") or ""), 200),
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
    code = one_line(record.get("Code", ""), 100)
    return Failure(200, code or "UnknownError", one_line(record.get("Message", ""), MAX_MESSAGE))


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
