"""From an answer of Google Cloud Storage to this library's errors: a table of reasons, one of statuses.

Reasons and statuses: "HTTP status and error codes for JSON" of the reference. A 403 is never read as "not found", a 404
only where the answer is the service's own, and a reason that is in no table is kept in the message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    CapacityError,
    ChecksumError,
    ConfigError,
    ConnectionLostError,
    InvalidRangeError,
    LimitExceededError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    StorageError,
    StorageTimeoutError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.http.call import Condition, Subject
from mediagit_storage.http.redact import one_line
from mediagit_storage.http.refusals import CURRENT, OTHER, UNKNOWN, Row, under

__all__ = [
    "MAX_MESSAGE",
    "REASONS",
    "STATUSES",
    "Failure",
    "proves_object",
    "read_failure",
    "row_of",
    "translate",
]

#: How much of an answer an error message shows, in characters.
MAX_MESSAGE: Final = 1024
_MAX_BODY: Final = 256 * 1024


class Failure(NamedTuple):
    """What an answer says about what went wrong. ``reason`` is empty where it has none."""

    status: int
    reason: str = ""
    message: str = ""
    #: Whether the answer has the service's own form, rather than that of something on the way.
    documented: bool = False


class _Item(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _Inside(msgspec.Struct, frozen=True):
    message: str = ""
    errors: tuple[_Item, ...] = ()
    status: str = ""


class _Document(msgspec.Struct, frozen=True):
    error: _Inside


_DECODER: Final = msgspec.json.Decoder(_Document, strict=False)

_POLICY: Final = "ask the bucket's owner for the permission"
_WHO: Final = "check the credentials: set GOOGLE_APPLICATION_CREDENTIALS, or sign in anew"
_LATER: Final = "try again later"
_SLOWER: Final = "the service asks for fewer requests; try again later or lower the concurrency"
_KEY: Final = "check customer_key: it is not the one that the object was written with"
_KMS: Final = "check kms_key_name, and that the service may use that key"
_PAYER: Final = "name the project that pays: user_project"
_HELD: Final = "the object is protected"
_OBJECT: Final = Row(NotFoundError, "the object or this version of it is not there")
_BUCKET: Final = Row(BucketNotFoundError, "the bucket is not there; check its name, or create it")

REASONS: Final[Mapping[str, Row]] = {
    # Who is asking.
    "authError": Row(UnauthenticatedError, _WHO),
    "required": Row(UnauthenticatedError, _WHO),
    "AuthenticationRequiredRequesterPays": Row(UnauthenticatedError, _PAYER),
    "lockedDomainExpired": Row(UnauthenticatedError, _WHO),
    # What is allowed.
    "accountDisabled": Row(PermissionDeniedError, "look into the billing of the account"),
    "countryBlocked": Row(PermissionDeniedError, "the law forbids it where you are"),
    "forbidden": Row(PermissionDeniedError, _POLICY),
    "insufficientPermissions": Row(PermissionDeniedError, _POLICY),
    "objectUnderActiveHold": Row(PermissionDeniedError, f"{_HELD} by a hold"),
    "retentionPolicyNotMet": Row(PermissionDeniedError, f"{_HELD} until its retention ends"),
    "sslRequired": Row(ConfigError, "use https"),
    "usageLimits.accessNotConfigured": Row(PermissionDeniedError, "switch the API on in the project"),
    "accessNotConfigured": Row(PermissionDeniedError, "switch the API on in the project"),
    "UserProjectAccessDenied": Row(PermissionDeniedError, _PAYER),
    "UserProjectAccountProblem": Row(PermissionDeniedError, _PAYER),
    "userProjectMissing": Row(ConfigError, _PAYER),
    "userProjectInvalid": Row(ConfigError, _PAYER),
    "userProjectInconsistent": Row(ConfigError, _PAYER),
    "orgPolicyConstraintFailed": Row(PermissionDeniedError, "a policy of the organisation forbids it"),
    # What is there, and as asked for.
    "notFound": _OBJECT,
    "conditionNotMet": OTHER,
    "notModified": CURRENT,
    "requestedRangeNotSatisfiable": Row(InvalidRangeError, "the range is not inside the object"),
    "conflict": Row(AlreadyExistsError, "it exists already, or something else is being done to it"),
    "gone": Row(StorageError, "the upload session is gone; start the upload again"),
    # Keys.
    "customerEncryptionKeyIsIncorrect": Row(PermissionDeniedError, _KEY),
    "customerEncryptionAlgorithmIsInvalid": Row(ConfigError, _KEY),
    "customerEncryptionKeyFormatIsInvalid": Row(ConfigError, _KEY),
    "customerEncryptionKeySha256IsInvalid": Row(ConfigError, _KEY),
    "resourceIsEncryptedWithCustomerEncryptionKey": Row(PermissionDeniedError, "give the customer_key of the object"),
    "resourceNotEncryptedWithCustomerEncryptionKey": Row(PermissionDeniedError, "open without a customer_key"),
    "cloudKmsBadKey": Row(ConfigError, _KMS),
    "cloudKmsCannotChangeKeyName": Row(ConfigError, _KMS),
    "cloudKmsDecryptionKeyNotFound": Row(PermissionDeniedError, _KMS),
    "cloudKmsDisabledKey": Row(PermissionDeniedError, _KMS),
    "cloudKmsEncryptionKeyNotFound": Row(ConfigError, _KMS),
    "cloudKmsKeyLocationNotAllowed": Row(ConfigError, _KMS),
    # What was asked.
    "badRequest": Row(StorageError, "the service did not understand the request"),
    "invalid": Row(StorageError, "the service refused a value of the request"),
    "invalidArgument": Row(StorageError, "the service refused a value of the request"),
    "invalidParameter": Row(StorageError, "the service refused a value of the request"),
    "parseError": Row(StorageError, "the service did not understand the request"),
    "methodNotAllowed": Row(UnsupportedError, "the service does not do that here"),
    "notImplemented": Row(UnsupportedError, "the service cannot do that"),
    "uploadTooLarge": Row(LimitExceededError, "an object has at most 5 TiB"),
    # Limits.
    "quotaExceeded": Row(CapacityError, "the quota is used up; ask for more"),
    "dailyLimitExceeded": Row(CapacityError, "the quota of the day is used up"),
    "rateLimitExceeded": Row(ThrottledError, _SLOWER),
    "userRateLimitExceeded": Row(ThrottledError, _SLOWER),
    "usageLimits.rateLimitExceeded": Row(ThrottledError, _SLOWER),
    # What passes.
    "uploadBrokenConnection": Row(ConnectionLostError, "the body did not arrive whole; try again"),
    "backendError": Row(UnavailableError, _LATER),
    "internalError": Row(UnavailableError, _LATER),
    "gatewayTimeout": Row(StorageTimeoutError, _LATER),
}

#: For answers without a reason that is known. 404 is decided by `Subject`, and other 5xx are as 500.
STATUSES: Final[Mapping[int, Row]] = {
    304: CURRENT,
    400: Row(StorageError, "the service refused the request"),
    401: Row(UnauthenticatedError, _WHO),
    403: Row(PermissionDeniedError, _POLICY),
    405: REASONS["methodNotAllowed"],
    408: Row(StorageTimeoutError, "the body came too slowly; try again"),
    409: REASONS["conflict"],
    410: REASONS["gone"],
    411: Row(UnsupportedError, "the server wants to know the size beforehand"),
    412: REASONS["conditionNotMet"],
    413: REASONS["uploadTooLarge"],
    416: REASONS["requestedRangeNotSatisfiable"],
    429: REASONS["rateLimitExceeded"],
    500: REASONS["backendError"],
    501: REASONS["notImplemented"],
    502: REASONS["backendError"],
    503: REASONS["backendError"],
    504: REASONS["gatewayTimeout"],
    507: Row(CapacityError, "the server's disks are full; free some space"),
}


def _folded(reason: str) -> str:
    # Emulators spell them their own way.
    return reason.replace(" ", "").lower()


_BY_FOLDED: Final = {_folded(reason): row for reason, row in REASONS.items()}
# At the start: the names of objects are quoted behind it.
_NO_BUCKET: Final = re.compile(r"The specified bucket does not exist", re.IGNORECASE)
_NO_OBJECT: Final = re.compile(r"No such object: ")
_DAMAGED: Final = re.compile(r"(?:Provided )?(?:CRC32C|MD5 hash)\b.{0,200}match", re.IGNORECASE)
_METADATA: Final = re.compile(r"metadata.{0,80}(?:too large|exceed)", re.IGNORECASE)


def read_failure(status: int, body: bytes) -> Failure:
    """What a failed answer says; its body is the service's JSON, a word of the service's, or a page of a proxy."""
    try:
        inside = _DECODER.decode(body[:_MAX_BODY]).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = one_line(body[:4096].decode("utf-8", "replace"), 200)
        said = bool(_NO_OBJECT.match(text) or _NO_BUCKET.match(text))
        return Failure(status, "", re.sub(r"<[^>]*>", " ", text).strip(), said)
    first = inside.errors[0] if inside.errors else _Item()
    reason = first.reason or inside.status
    return Failure(
        status, one_line(reason, 100), one_line(inside.message or first.message, MAX_MESSAGE), documented=True
    )


def proves_object(failure: Failure) -> bool:
    """Whether a failure says that it is the object that is missing, so that the bucket is there."""
    return failure.status == 404 and bool(_NO_OBJECT.match(failure.message))


def row_of(failure: Failure, subject: Subject = "object") -> Row:
    """The row for a failure: by its reason, else by its status."""
    status = failure.status
    if status == 404:
        if not failure.documented:
            return UNKNOWN
        return _BUCKET if subject == "bucket" or _NO_BUCKET.match(failure.message) else _OBJECT
    if status in {400, 412} and _DAMAGED.match(failure.message):
        return Row(ChecksumError, "the data were changed on the way; nothing was stored; try again")
    if status == 400 and _METADATA.search(failure.message):
        return Row(LimitExceededError, "shorten the metadata")
    row = _BY_FOLDED.get(_folded(failure.reason)) if failure.reason else None
    # A reason that contradicts its status proves nothing.
    if (
        row is not None
        and row.kind not in {NotFoundError, NotModifiedError}
        and not _contradicts(status, failure.reason)
    ):
        return row
    return STATUSES.get(status, STATUSES[500] if 500 <= status <= 599 else UNKNOWN)


def _contradicts(status: int, reason: str) -> bool:
    # "required" is a missing sign-in or a missing parameter.
    return reason == "required" and status != 401


def translate(failure: Failure, *, subject: Subject = "object", condition: Condition | None = None) -> StorageError:
    """The error to raise for a failure. ``condition`` is what the request asked for."""
    row = under(condition, row_of(failure, subject))
    said = ": ".join(
        part for part in (failure.reason or f"HTTP {failure.status}", failure.message.rstrip(". ")) if part
    )
    return row.kind(f"{said}; {row.advice}")
