"""Every row of the tables from Azure's errors to ours, and what is read out of an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage import errors
from mediagit_storage.backends.azure.translate import CODES, STATUSES, Failure, read_failure, row_of, translate
from mediagit_storage.http.headers import Headers

NONE = Headers.of([])

#: (code, status) to our error. Every code of the table has a line here.
EXPECTED = {
    ("BlobNotFound", 404): "NotFoundError",
    ("ResourceNotFound", 404): "NotFoundError",
    ("ContainerNotFound", 404): "BucketNotFoundError",
    ("ContainerBeingDeleted", 409): "BucketNotFoundError",
    ("ContainerDisabled", 403): "PermissionDeniedError",
    ("AuthenticationFailed", 403): "UnauthenticatedError",
    ("InvalidAuthenticationInfo", 400): "UnauthenticatedError",
    ("NoAuthenticationInformation", 401): "UnauthenticatedError",
    ("KeyBasedAuthenticationNotPermitted", 403): "UnauthenticatedError",
    ("ExpiredAuthenticationToken", 401): "UnauthenticatedError",
    ("AuthorizationFailure", 403): "PermissionDeniedError",
    ("AuthorizationPermissionMismatch", 403): "PermissionDeniedError",
    ("AuthorizationProtocolMismatch", 403): "PermissionDeniedError",
    ("AuthorizationResourceTypeMismatch", 403): "PermissionDeniedError",
    ("AuthorizationServiceMismatch", 403): "PermissionDeniedError",
    ("AuthorizationSourceIPMismatch", 403): "PermissionDeniedError",
    ("InsufficientAccountPermissions", 403): "PermissionDeniedError",
    ("PublicAccessNotPermitted", 403): "PermissionDeniedError",
    ("UnauthorizedBlobOverwrite", 403): "PermissionDeniedError",
    ("AccountIsDisabled", 403): "PermissionDeniedError",
    ("BlobImmutableDueToPolicy", 409): "PermissionDeniedError",
    ("BlobImmutableDueToLegalHold", 409): "PermissionDeniedError",
    ("BlobAccessTierNotSupportedForAccountType", 409): "UnsupportedError",
    ("LeaseIdMissing", 412): "PermissionDeniedError",
    ("LeaseIdMismatchWithBlobOperation", 412): "PermissionDeniedError",
    ("LeaseIdMismatchWithContainerOperation", 412): "PermissionDeniedError",
    ("LeaseAlreadyPresent", 409): "PermissionDeniedError",
    ("BlobAlreadyExists", 409): "AlreadyExistsError",
    ("ContainerAlreadyExists", 409): "AlreadyExistsError",
    ("ResourceAlreadyExists", 409): "AlreadyExistsError",
    ("SnapshotsPresent", 409): "UnsupportedError",
    ("InvalidBlobType", 409): "UnsupportedError",
    ("BlobOperationNotSupported", 409): "UnsupportedError",
    ("BlobArchived", 409): "UnsupportedError",
    ("BlobBeingRehydrated", 409): "UnsupportedError",
    ("BlobUsesCustomerSpecifiedEncryption", 409): "PermissionDeniedError",
    ("PendingCopyOperation", 409): "UnavailableError",
    ("ConditionNotMet", 412): "PreconditionError",
    ("TargetConditionNotMet", 412): "PreconditionError",
    ("SourceConditionNotMet", 412): "ConnectionLostError",
    ("InvalidRange", 416): "InvalidRangeError",
    ("RequestBodyTooLarge", 413): "LimitExceededError",
    ("RequestEntityTooLarge", 413): "LimitExceededError",
    ("BlockCountExceedsLimit", 409): "LimitExceededError",
    ("BlockListTooLong", 400): "LimitExceededError",
    ("ContentLengthLargerThanTierLimit", 409): "LimitExceededError",
    ("BlobTierInadequateForContentLength", 409): "LimitExceededError",
    ("MetadataTooLarge", 400): "LimitExceededError",
    ("TagsTooLarge", 400): "LimitExceededError",
    ("RequestUrlFailedToParse", 400): "InvalidKeyError",
    ("UriTooLong", 414): "InvalidKeyError",
    ("InvalidUri", 400): "InvalidKeyError",
    ("InvalidResourceName", 400): "InvalidKeyError",
    ("OutOfRangeInput", 400): "InvalidKeyError",
    ("EmptyMetadataKey", 400): "ConfigError",
    ("InvalidMetadata", 400): "ConfigError",
    ("InvalidBlobTier", 400): "ConfigError",
    ("EmptyTagName", 400): "ConfigError",
    ("DuplicateTagNames", 400): "ConfigError",
    ("InvalidTag", 400): "ConfigError",
    ("EncryptionScopeNotFound", 404): "ConfigError",
    ("UnsupportedHttpVerb", 405): "UnsupportedError",
    ("UnsupportedHeader", 400): "UnsupportedError",
    ("UnsupportedQueryParameter", 400): "UnsupportedError",
    ("FeatureNotSupportedForAccount", 409): "UnsupportedError",
    ("FeatureVersionMismatch", 409): "UnsupportedError",
    ("NotImplemented", 501): "UnsupportedError",
    ("Md5Mismatch", 400): "ChecksumError",
    ("Crc64Mismatch", 400): "ChecksumError",
    ("InvalidMd5", 400): "ChecksumError",
    ("InvalidBlockList", 400): "IntegrityError",
    ("InvalidBlobOrBlock", 400): "IntegrityError",
    ("CannotVerifyCopySource", 404): "UnavailableError",
    ("InternalError", 500): "UnavailableError",
    ("OperationTimedOut", 500): "StorageTimeoutError",
    ("ServerBusy", 503): "ThrottledError",
    ("AccountBeingCreated", 409): "UnavailableError",
    ("AccountLimitExceeded", 409): "CapacityError",
}

#: Statuses without a code that is known.
BY_STATUS = {
    304: "NotModifiedError",
    400: "StorageError",
    401: "UnauthenticatedError",
    403: "PermissionDeniedError",
    404: "StorageError",
    405: "UnsupportedError",
    408: "StorageTimeoutError",
    409: "StorageError",
    411: "UnsupportedError",
    412: "PreconditionError",
    413: "LimitExceededError",
    416: "InvalidRangeError",
    418: "StorageError",
    429: "ThrottledError",
    500: "UnavailableError",
    501: "UnsupportedError",
    502: "UnavailableError",
    503: "ThrottledError",
    504: "StorageTimeoutError",
    507: "CapacityError",
    599: "UnavailableError",
}


def test_every_row_has_a_line_here():
    assert {code for code, _ in EXPECTED} == set(CODES)
    assert set(STATUSES) <= set(BY_STATUS)


@pytest.mark.parametrize(("row", "kind"), EXPECTED.items())
def test_each_code(row, kind):
    code, status = row
    error = translate(Failure(status, code, "words", "R1"))
    assert type(error) is getattr(errors, kind)
    assert code in error.message
    assert CODES[code].advice in error.message
    assert "R1" in error.message


@pytest.mark.parametrize(("status", "kind"), BY_STATUS.items())
@pytest.mark.parametrize("code", ["", "SomethingNew"])
def test_each_status(status, kind, code):
    error = translate(Failure(status, code))
    assert type(error) is getattr(errors, kind)
    assert (code or f"HTTP {status}") in error.message


def test_an_absence_needs_a_code_and_a_refusal_is_none():
    assert not isinstance(translate(Failure(404)), errors.NotFoundError)
    assert not isinstance(translate(Failure(403, "BlobNotFound")), errors.NotFoundError)
    assert isinstance(translate(Failure(404, "ResourceNotFound"), subject="bucket"), errors.BucketNotFoundError)
    assert type(translate(Failure(404, "ResourceNotFound"))) is errors.NotFoundError


@pytest.mark.parametrize(
    ("failure", "condition", "kind"),
    [
        (Failure(412, "ConditionNotMet"), "absent", "AlreadyExistsError"),
        (Failure(409, "BlobAlreadyExists"), "absent", "AlreadyExistsError"),
        (Failure(412, "ConditionNotMet"), "match", "PreconditionError"),
        (Failure(409, "BlobAlreadyExists"), "match", "PreconditionError"),
        (Failure(404, "BlobNotFound"), "match", "PreconditionError"),
        (Failure(404, "ContainerNotFound"), "match", "BucketNotFoundError"),
        (Failure(304, "ConditionNotMet"), "none-match", "NotModifiedError"),
        (Failure(412, "LeaseIdMissing"), "match", "PermissionDeniedError"),
    ],
)
def test_what_a_condition_makes_of_it(failure, condition, kind):
    error = translate(failure, condition=condition)
    assert type(error) is getattr(errors, kind)


# ---- reading


def test_the_code_of_the_field_counts_and_the_first_line_of_the_words():
    body = (
        "\ufeff<?xml version='1.0'?><Error><Code>BlobNotFound</Code><Message>The specified blob does not exist.\n"
        "RequestId:1\nTime:2</Message></Error>"
    ).encode()
    failure = read_failure(404, Headers.of([("x-ms-error-code", "BlobNotFound"), ("x-ms-request-id", "R")]), body)
    assert failure == Failure(404, "BlobNotFound", "The specified blob does not exist.", "R")
    assert read_failure(404, NONE, body).code == "BlobNotFound"
    assert row_of(read_failure(404, Headers.of([("x-ms-error-code", "ContainerNotFound")]))).kind is (
        errors.BucketNotFoundError
    )


def test_what_was_signed_is_not_shown():
    body = (
        b"<Error><Code>AuthenticationFailed</Code><Message>Server failed to authenticate the request.</Message>"
        b"<AuthenticationErrorDetail>The MAC signature found in the HTTP request 'c2VjcmV0c2VjcmV0c2VjcmV0' is not the"
        b" same as any computed signature.</AuthenticationErrorDetail></Error>"
    )
    error = translate(read_failure(403, NONE, body))
    assert "c2VjcmV0" not in error.message
    assert "check the account, its key or SAS token" in error.message


@pytest.mark.parametrize("words", ["sig=abcdefghijklmnop", "SharedKey media abcdefghijklmnop", "Bearer abcdefghijklmnop",
                                   "AccountKey=abcdefghijklmnop"])  # fmt: skip
def test_secrets_in_the_words_are_not_shown(words):
    assert "abcdefghijklmnop" not in translate(Failure(400, "X", f"bad {words} here")).message


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", "", ""),
        (b"<html><h1>502 Bad</h1></html>", "", "502 Bad"),
        (b"<Error><Code>ServerBusy</Code><Mess", "ServerBusy", ""),
        (b"plain words", "", "plain words"),
        (b"\x00\xff" * 100, "", None),
        (b"<Other><Code>X</Code></Other>", "", ""),
    ],
)
def test_bodies_of_other_kinds(body, code, message):
    failure = read_failure(503, NONE, body)
    assert failure.code == code
    assert message is None or failure.message == message


@given(st.binary(max_size=300))
def test_no_body_is_too_strange(body):
    failure = read_failure(500, NONE, body)
    assert failure.message.isprintable()
    assert isinstance(translate(failure), errors.StorageError)
