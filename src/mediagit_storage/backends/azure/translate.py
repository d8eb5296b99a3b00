"""From an answer of Azure Storage to this library's errors: one table of codes, one of statuses. Pure functions.

The code comes from the field ``x-ms-error-code``, which answers without a body have too, or from the body. An absence
is believed only with a code, since a 404 of a proxy proves nothing. A code that is in no table is kept in the message.

Source: "Common REST API error codes" and "Blob service error codes" of Microsoft's REST reference.
"""

from __future__ import annotations

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
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from mediagit_storage.http.call import Condition, Subject
from mediagit_storage.http.headers import Headers
from mediagit_storage.http.redact import one_line, redact_answer
from mediagit_storage.http.refusals import CURRENT, OTHER, TAKEN, UNKNOWN, Row, error_fields, excerpt, said, under

__all__ = ["CODES", "STATUSES", "Failure", "read_failure", "row_of", "translate"]

#: How much of an answer an error message shows, in characters.
_MAX_MESSAGE: Final = 1024


class Failure(NamedTuple):
    """What an answer says about what went wrong. ``code`` is empty where it has none."""

    status: int
    code: str = ""
    message: str = ""
    request_id: str = ""


_KEYS: Final = "check the account, its key or SAS token, and this machine's clock"
_ROLE: Final = "ask for the permission: a SAS token with it, or the role 'Storage Blob Data Contributor' (or 'Reader')"
_LATER: Final = "try again later"
_SLOWER: Final = "the service asks for fewer requests; try again later or lower the concurrency"
_CONTAINER: Final = "the container is not there; check its name and the account, or create it"
_LEASE: Final = "somebody holds a lease on it; release or break that first"
_HELD: Final = "a policy or legal hold protects it"
_ARCHIVE: Final = "the blob is archived; rehydrate it with the provider's tools first"
_SENT_WRONG: Final = "the data were changed on the way; nothing was stored; try again"
_BLOCKS: Final = "the blocks are gone or others; nothing was stored; another writer may have been at the same key"

CODES: Final[Mapping[str, Row]] = {
    # What is not there.
    "BlobNotFound": Row(NotFoundError, "the object is not there"),
    "ResourceNotFound": Row(NotFoundError, "there is no such thing"),
    "ContainerNotFound": Row(BucketNotFoundError, _CONTAINER),
    "ContainerBeingDeleted": Row(BucketNotFoundError, "the container is being deleted; its name is free in a while"),
    "ContainerDisabled": Row(PermissionDeniedError, "the provider has switched the container off"),
    # Who is asking.
    "AuthenticationFailed": Row(UnauthenticatedError, _KEYS),
    "InvalidAuthenticationInfo": Row(UnauthenticatedError, _KEYS),
    "NoAuthenticationInformation": Row(UnauthenticatedError, "give credentials: the request was not signed"),
    "KeyBasedAuthenticationNotPermitted": Row(
        UnauthenticatedError, "the account takes no keys; open it with identity=default (extra 'azure')"
    ),
    "ExpiredAuthenticationToken": Row(UnauthenticatedError, "the token has expired; sign in again"),
    # What is allowed.
    "AuthorizationFailure": Row(PermissionDeniedError, f"{_KEYS}, or {_ROLE}; a firewall of the account says the same"),
    "AuthorizationPermissionMismatch": Row(PermissionDeniedError, _ROLE),
    "AuthorizationProtocolMismatch": Row(PermissionDeniedError, "the SAS token wants https"),
    "AuthorizationResourceTypeMismatch": Row(PermissionDeniedError, _ROLE),
    "AuthorizationServiceMismatch": Row(PermissionDeniedError, "the SAS token is for another service than blobs"),
    "AuthorizationSourceIPMismatch": Row(PermissionDeniedError, "the SAS token does not allow this machine's address"),
    "InsufficientAccountPermissions": Row(PermissionDeniedError, _ROLE),
    "PublicAccessNotPermitted": Row(PermissionDeniedError, "give credentials: the account allows nobody without"),
    "UnauthorizedBlobOverwrite": Row(PermissionDeniedError, "the SAS token may create blobs and not overwrite them"),
    "AccountIsDisabled": Row(PermissionDeniedError, "the provider has switched the account off"),
    "BlobImmutableDueToPolicy": Row(PermissionDeniedError, _HELD),
    "BlobImmutableDueToLegalHold": Row(PermissionDeniedError, _HELD),
    "BlobAccessTierNotSupportedForAccountType": Row(UnsupportedError, "the account has no such access tier"),
    "LeaseIdMissing": Row(PermissionDeniedError, _LEASE),
    "LeaseIdMismatchWithBlobOperation": Row(PermissionDeniedError, _LEASE),
    "LeaseIdMismatchWithContainerOperation": Row(PermissionDeniedError, _LEASE),
    "LeaseAlreadyPresent": Row(PermissionDeniedError, _LEASE),
    # What is there already, or in the way.
    "BlobAlreadyExists": TAKEN,
    "ContainerAlreadyExists": Row(AlreadyExistsError, "the container is there already"),
    "ResourceAlreadyExists": Row(AlreadyExistsError, "it is there already"),
    "SnapshotsPresent": Row(
        UnsupportedError, "the blob has snapshots; delete them first, or open the storage with delete_snapshots=true"
    ),
    "InvalidBlobType": Row(UnsupportedError, "a page or append blob is there; delete it first"),
    "BlobOperationNotSupported": Row(UnsupportedError, "the blob was made through another interface; delete it first"),
    "BlobArchived": Row(UnsupportedError, _ARCHIVE),
    "BlobBeingRehydrated": Row(UnsupportedError, "the blob is still being rehydrated; wait some hours"),
    "BlobUsesCustomerSpecifiedEncryption": Row(
        PermissionDeniedError, "the blob is encrypted with a customer's key or scope; open the storage with the same"
    ),
    "PendingCopyOperation": Row(UnavailableError, "a copy to this key is still going on; try again later"),
    # Conditions and ranges.
    "ConditionNotMet": OTHER,
    "TargetConditionNotMet": OTHER,
    "SourceConditionNotMet": Row(ConnectionLostError, "the object was overwritten while it was copied; copy it again"),
    "InvalidRange": Row(InvalidRangeError, "the range is not inside the object"),
    # Limits.
    "RequestBodyTooLarge": Row(LimitExceededError, "send it in blocks, or in smaller ones"),
    "RequestEntityTooLarge": Row(LimitExceededError, "send it in blocks, or in smaller ones"),
    "BlockCountExceedsLimit": Row(LimitExceededError, "set a larger part_size"),
    "BlockListTooLong": Row(LimitExceededError, "set a larger part_size"),
    "ContentLengthLargerThanTierLimit": Row(LimitExceededError, "the object is larger than the access tier allows"),
    "BlobTierInadequateForContentLength": Row(LimitExceededError, "the object is larger than the access tier allows"),
    "MetadataTooLarge": Row(LimitExceededError, "shorten the metadata: all together at most 8 KiB"),
    "TagsTooLarge": Row(LimitExceededError, "at most 10 tags, names of 128 and values of 256 characters"),
    "RequestUrlFailedToParse": Row(InvalidKeyError, "the service takes no such key; choose another"),
    "UriTooLong": Row(InvalidKeyError, "choose a shorter key"),
    "InvalidUri": Row(InvalidKeyError, "the service takes no such key; choose another"),
    "InvalidResourceName": Row(InvalidKeyError, "the service takes no such name; choose another"),
    "OutOfRangeInput": Row(InvalidKeyError, "the name is longer or shorter than the service takes"),
    # Options.
    "EmptyMetadataKey": Row(ConfigError, "metadata need names"),
    "InvalidMetadata": Row(ConfigError, "the service takes no such metadata"),
    "InvalidBlobTier": Row(ConfigError, "the access tiers are Hot, Cool, Cold and Archive"),
    "EmptyTagName": Row(ConfigError, "tags need names"),
    "DuplicateTagNames": Row(ConfigError, "the tags name one twice"),
    "InvalidTag": Row(ConfigError, "tags are letters, digits, blanks and + - . / : = _"),
    "EncryptionScopeNotFound": Row(ConfigError, "the encryption scope is not there; check encryption_scope"),
    "UnsupportedHttpVerb": Row(UnsupportedError, "the service does not do that here"),
    "UnsupportedHeader": Row(UnsupportedError, "the service cannot do that"),
    "UnsupportedQueryParameter": Row(UnsupportedError, "the service cannot do that"),
    "FeatureNotSupportedForAccount": Row(UnsupportedError, "the account was made without that feature"),
    "FeatureVersionMismatch": Row(UnsupportedError, "the blob was written by a newer interface"),
    "NotImplemented": Row(UnsupportedError, "the service cannot do that"),
    # What arrived damaged.
    "Md5Mismatch": Row(ChecksumError, _SENT_WRONG),
    "Crc64Mismatch": Row(ChecksumError, _SENT_WRONG),
    "InvalidMd5": Row(ChecksumError, "the checksum has a form that the service does not take"),
    "InvalidBlockList": Row(IntegrityError, _BLOCKS),
    "InvalidBlobOrBlock": Row(
        IntegrityError, "blocks of another program are in the way; they go within a week, or when the key is written"
    ),
    # Copies.
    "CannotVerifyCopySource": Row(UnavailableError, "the service could not read what it was to copy; try again"),
    # What passes.
    "InternalError": Row(UnavailableError, _LATER),
    "OperationTimedOut": Row(StorageTimeoutError, "the service did not finish in time; try again later"),
    "ServerBusy": Row(ThrottledError, _SLOWER),
    "AccountBeingCreated": Row(UnavailableError, "the account is still being made; try again later"),
    "AccountLimitExceeded": Row(CapacityError, "the account is full; ask the provider for more"),
}

#: For answers without a code that is known; other 5xx are as 500. A 404 without one proves nothing.
STATUSES: Final[Mapping[int, Row]] = {
    304: CURRENT,
    400: Row(StorageError, "the service refused the request"),
    401: Row(UnauthenticatedError, _KEYS),
    403: Row(PermissionDeniedError, f"{_ROLE}, or {_KEYS}"),
    405: CODES["UnsupportedHttpVerb"],
    408: CODES["OperationTimedOut"],
    411: Row(UnsupportedError, "the server wants to know the size beforehand"),
    412: CODES["ConditionNotMet"],
    413: CODES["RequestBodyTooLarge"],
    416: CODES["InvalidRange"],
    429: CODES["ServerBusy"],
    500: CODES["InternalError"],
    501: CODES["NotImplemented"],
    503: CODES["ServerBusy"],
    504: CODES["OperationTimedOut"],
    507: CODES["AccountLimitExceeded"],
}


def row_of(failure: Failure, subject: Subject = "object") -> Row:
    """The row for a failure: by its code, else by its status."""
    row = CODES.get(failure.code)
    if row is not None:
        if failure.code == "ResourceNotFound" and subject == "bucket":
            return CODES["ContainerNotFound"]
        # A refusal is never read as an absence.
        if failure.status not in {401, 403} or not issubclass(row.kind, NotFoundError):
            return row
    if 500 <= failure.status <= 599:
        return STATUSES.get(failure.status, STATUSES[500])
    return STATUSES.get(failure.status, UNKNOWN)


def translate(
    failure: Failure, *, subject: Subject = "object", condition: Condition | None = None, advice: str | None = None
) -> StorageError:
    """The error to raise for a failure. ``condition`` is what the request asked for; ``advice`` replaces the table's."""
    row = under(condition, row_of(failure, subject))
    if row.kind is AlreadyExistsError and condition == "match":
        row = OTHER
    words = said(failure.status, failure.code, failure.message, failure.request_id)
    return row.kind(redact_answer(f"{words}: {row.advice if advice is None else advice}"))


# ---- reading -------------------------------------------------------------------------------------------------------


def read_failure(status: int, headers: Headers, body: bytes = b"") -> Failure:
    """What an answer that is no success says. Never raises: a body may be XML, a proxy's page, cut off or empty."""
    fields = error_fields(body)
    code = headers.get("x-ms-error-code") or fields.get("Code", "")
    # After the first line come the request's id and time, and for wrong signatures what was signed.
    message = fields.get("Message", "").partition("\n")[0] if fields else excerpt(body)
    request = headers.get("x-ms-request-id") or ""
    return Failure(status, one_line(code, 100), one_line(message, _MAX_MESSAGE), one_line(request, 100))
