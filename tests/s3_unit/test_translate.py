"""Every row of the tables from S3's errors to ours, and what is read out of an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediagit_storage import errors
from mediagit_storage.backends.s3.translate import (
    CODES,
    MAX_MESSAGE,
    STATUSES,
    Failure,
    failure_in_success,
    failure_of_item,
    read_failure,
    row_of,
    translate,
)
from mediagit_storage.http.headers import Headers

NONE = Headers.of([])


def body(code: str, message: str = "words", more: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}'
        "<RequestId>R1</RequestId><HostId>h</HostId></Error>"
    ).encode()


#: (code, status) to our error. Every code of the table has a line here.
EXPECTED = {
    ("NoSuchKey", 404): "NotFoundError",
    ("NoSuchVersion", 404): "NotFoundError",
    ("NoSuchBucket", 404): "BucketNotFoundError",
    ("NoSuchUpload", 404): "StorageError",
    ("InvalidAccessKeyId", 403): "UnauthenticatedError",
    ("SignatureDoesNotMatch", 403): "UnauthenticatedError",
    ("AuthorizationHeaderMalformed", 400): "ConfigError",
    ("AuthorizationQueryParametersError", 400): "ConfigError",
    ("MissingSecurityHeader", 400): "UnauthenticatedError",
    ("MissingAuthenticationToken", 403): "UnauthenticatedError",
    ("CredentialsNotSupported", 400): "UnauthenticatedError",
    ("RequestTimeTooSkewed", 403): "UnauthenticatedError",
    ("RequestExpired", 403): "UnauthenticatedError",
    ("ExpiredToken", 400): "UnauthenticatedError",
    ("ExpiredTokenException", 400): "UnauthenticatedError",
    ("TokenRefreshRequired", 400): "UnauthenticatedError",
    ("InvalidToken", 400): "UnauthenticatedError",
    ("InvalidTokenId", 403): "UnauthenticatedError",
    ("UnrecognizedClientException", 403): "UnauthenticatedError",
    ("AccessDenied", 403): "PermissionDeniedError",
    ("AccountProblem", 403): "PermissionDeniedError",
    ("AllAccessDisabled", 403): "PermissionDeniedError",
    ("NotSignedUp", 403): "PermissionDeniedError",
    ("InvalidPayer", 403): "PermissionDeniedError",
    ("InvalidObjectState", 403): "UnsupportedError",
    ("KMS.DisabledException", 400): "PermissionDeniedError",
    ("KMS.NotFoundException", 400): "ConfigError",
    ("KMS.ThrottlingException", 400): "ThrottledError",
    ("PermanentRedirect", 301): "ConfigError",
    ("Redirect", 307): "ConfigError",
    ("TemporaryRedirect", 307): "UnavailableError",
    ("IllegalLocationConstraintException", 400): "ConfigError",
    ("InvalidLocationConstraint", 400): "ConfigError",
    ("InvalidRegion", 400): "ConfigError",
    ("PreconditionFailed", 412): "PreconditionError",
    ("NotModified", 304): "NotModifiedError",
    ("ConditionalRequestConflict", 409): "UnavailableError",
    ("OperationAborted", 409): "UnavailableError",
    ("InvalidRange", 416): "InvalidRangeError",
    ("EntityTooLarge", 400): "LimitExceededError",
    ("EntityTooSmall", 400): "LimitExceededError",
    ("MaxMessageLengthExceeded", 400): "LimitExceededError",
    ("MetadataTooLarge", 400): "LimitExceededError",
    ("MaxPostPreDataLengthExceededError", 400): "LimitExceededError",
    ("RequestHeaderSectionTooLarge", 400): "LimitExceededError",
    ("TooManyParts", 400): "LimitExceededError",
    ("TooManyBuckets", 400): "CapacityError",
    ("QuotaExceeded", 403): "CapacityError",
    ("StorageQuotaExceeded", 403): "CapacityError",
    ("XMinioAdminBucketQuotaExceeded", 400): "CapacityError",
    ("XMinioStorageFull", 507): "CapacityError",
    ("InsufficientStorage", 507): "CapacityError",
    ("CapExceeded", 403): "CapacityError",
    ("KeyTooLongError", 400): "InvalidKeyError",
    ("XMinioInvalidObjectName", 400): "InvalidKeyError",
    ("InvalidURI", 400): "InvalidKeyError",
    ("InvalidBucketName", 400): "ConfigError",
    ("InvalidStorageClass", 400): "ConfigError",
    ("InvalidTag", 400): "ConfigError",
    ("InvalidEncryptionAlgorithmError", 400): "ConfigError",
    ("InvalidRetentionPeriod", 400): "ConfigError",
    ("ObjectLockConfigurationNotFoundError", 404): "ConfigError",
    ("NoSuchObjectLockConfiguration", 404): "ConfigError",
    ("NotImplemented", 501): "UnsupportedError",
    ("XNotImplemented", 501): "UnsupportedError",
    ("MethodNotAllowed", 405): "UnsupportedError",
    ("BucketAlreadyOwnedByYou", 409): "AlreadyExistsError",
    ("BucketAlreadyExists", 409): "AlreadyExistsError",
    ("BadDigest", 400): "ChecksumError",
    ("XAmzContentChecksumMismatch", 400): "ChecksumError",
    ("XAmzContentSHA256Mismatch", 400): "ChecksumError",
    ("InvalidDigest", 400): "ChecksumError",
    ("IncompleteBody", 400): "ConnectionLostError",
    ("InvalidPart", 400): "IntegrityError",
    ("InvalidPartOrder", 400): "IntegrityError",
    ("RequestTimeout", 400): "StorageTimeoutError",
    ("InternalError", 500): "UnavailableError",
    ("ServiceUnavailable", 503): "UnavailableError",
    ("ServerBusy", 503): "ThrottledError",
    ("XMinioServerNotInitialized", 503): "UnavailableError",
    ("SlowDown", 503): "ThrottledError",
    ("SlowDownRead", 503): "ThrottledError",
    ("SlowDownWrite", 503): "ThrottledError",
    ("Throttling", 400): "ThrottledError",
    ("ThrottlingException", 400): "ThrottledError",
    ("TooManyRequests", 429): "ThrottledError",
    ("RequestLimitExceeded", 503): "ThrottledError",
    ("BandwidthLimitExceeded", 503): "ThrottledError",
}


def test_no_row_is_untested():
    assert {code for code, _ in EXPECTED} == set(CODES)


@pytest.mark.parametrize(("code", "status"), EXPECTED)
def test_codes(code, status):
    kind = EXPECTED[code, status]
    failure = read_failure(status, NONE, body(code))
    error = translate(failure)
    assert type(error) is getattr(errors, kind)
    # The reader learns what the server said, its code, and what to do.
    assert str(error).startswith(f"words ({code}) [request R1]: ")
    assert CODES[code].advice in str(error)


#: A status without a body, as HEAD brings it, to our error.
SILENT = {
    301: "ConfigError",
    304: "NotModifiedError",
    307: "UnavailableError",
    400: "StorageError",
    401: "UnauthenticatedError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "UnsupportedError",
    408: "StorageTimeoutError",
    409: "StorageError",
    411: "UnsupportedError",
    412: "PreconditionError",
    413: "LimitExceededError",
    416: "InvalidRangeError",
    418: "StorageError",
    429: "ThrottledError",
    431: "LimitExceededError",
    500: "UnavailableError",
    501: "UnsupportedError",
    502: "UnavailableError",
    503: "UnavailableError",
    504: "StorageTimeoutError",
    507: "CapacityError",
    509: "ThrottledError",
    520: "UnavailableError",
    599: "UnavailableError",
}


@pytest.mark.parametrize("status", SILENT)
def test_statuses_without_a_body(status):
    kind = SILENT[status]
    failure = read_failure(status, NONE)
    assert type(translate(failure)) is getattr(errors, kind)
    assert f"HTTP {status}" in str(translate(failure))


def test_every_status_of_the_table_is_tested():
    assert set(STATUSES) <= set(SILENT)


# ---- what is not found, and what is not known ----------------------------------------------------------------------


def test_head_of_a_bucket_and_of_an_object():
    failure = read_failure(404, NONE)
    assert type(translate(failure, subject="bucket")) is errors.BucketNotFoundError
    assert type(translate(failure, subject="object")) is errors.NotFoundError


@given(st.sampled_from(["NoSuchKey", "NoSuchBucket", "", "Odd", "AccessDenied"]), st.sampled_from(["object", "bucket"]))
def test_403_is_never_not_found(code, subject):
    error = translate(read_failure(403, NONE, body(code) if code else b""), subject=subject)
    assert isinstance(error, errors.AccessError)


@pytest.mark.parametrize("text", [b"<html><h1>404 Not Found</h1></html>", b'{"error": "no route"}', b"not found"])
def test_a_proxys_404_proves_nothing(text):
    error = translate(read_failure(404, NONE, text))
    assert type(error) is errors.StorageError
    assert "HTTP 404" in str(error)


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_an_unknown_code_is_kept_and_is_never_not_found(status):
    error = translate(read_failure(status, NONE, body("BrandNewProblem", "It is new.")))
    assert type(error) is errors.StorageError
    assert "It is new (BrandNewProblem)" in str(error)


def test_an_unknown_code_under_a_plain_status_keeps_the_status_meaning():
    assert type(translate(read_failure(500, NONE, body("Odd")))) is errors.UnavailableError
    assert type(translate(read_failure(403, NONE, body("Odd")))) is errors.PermissionDeniedError
    assert "(Odd)" in str(translate(read_failure(403, NONE, body("Odd"))))


@pytest.mark.parametrize("status", [404, 405])
def test_a_deletion_mark_is_not_found(status):
    failure = read_failure(status, Headers.of([("x-amz-delete-marker", "true")]), body("MethodNotAllowed"))
    assert type(translate(failure)) is errors.NotFoundError


# ---- conditions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "condition", "kind"),
    [
        (412, "PreconditionFailed", None, "PreconditionError"),
        (412, "PreconditionFailed", "match", "PreconditionError"),
        (412, "", "match", "PreconditionError"),
        (412, "PreconditionFailed", "absent", "AlreadyExistsError"),
        (412, "", "absent", "AlreadyExistsError"),
        (412, "PreconditionFailed", "none-match", "NotModifiedError"),
        (304, "", "none-match", "NotModifiedError"),
        (404, "NoSuchKey", "match", "PreconditionError"),
        (404, "NoSuchBucket", "match", "BucketNotFoundError"),
        (404, "NoSuchKey", "absent", "NotFoundError"),
        (409, "ConditionalRequestConflict", "absent", "UnavailableError"),
        (501, "NotImplemented", "absent", "UnsupportedError"),
        (403, "AccessDenied", "match", "PermissionDeniedError"),
    ],
)
def test_conditions(status, code, condition, kind):
    failure = read_failure(status, NONE, body(code) if code else b"")
    assert type(translate(failure, condition=condition)) is getattr(errors, kind)


# ---- regions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "answer"),
    [
        (301, [("x-amz-bucket-region", "eu-west-1")], b""),
        (400, [("x-amz-bucket-region", "eu-west-1")], b""),
        (400, [], body("AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-1'")),
        (400, [], body("AuthorizationHeaderMalformed", more="<Region>eu-west-1</Region>")),
        (301, [], body("PermanentRedirect", more="<Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint>")),
        (301, [], body("PermanentRedirect", more="<Endpoint>b.s3-eu-west-1.amazonaws.com</Endpoint>")),
    ],
)
def test_the_right_region_is_named(status, headers, answer):
    failure = read_failure(status, Headers.of(headers), answer)
    assert failure.region == "eu-west-1"
    error = translate(failure)
    assert type(error) is errors.ConfigError
    assert str(error).endswith("set the region that the bucket is in: eu-west-1")


#: Codes that may be about the region, and where the bucket is then told, too.
REGIONAL = (
    "AuthorizationHeaderMalformed", "PermanentRedirect", "Redirect", "TemporaryRedirect",
    "IllegalLocationConstraintException", "InvalidLocationConstraint", "InvalidRegion",
)  # fmt: skip


@pytest.mark.parametrize("code", CODES)
def test_the_region_belongs_to_advice_about_regions(code):
    error = translate(read_failure(400, Headers.of([("x-amz-bucket-region", "eu-west-1")]), body(code)))
    assert str(error).endswith(": eu-west-1") == (code in REGIONAL)


@pytest.mark.parametrize("region", ["evil.example", "a b", "", "x" * 64, "../"])
def test_what_is_no_region_is_not_taken_for_one(region):
    assert read_failure(301, Headers.of([("x-amz-bucket-region", region)])).region is None


# ---- reading -------------------------------------------------------------------------------------------------------


def test_retry_after():
    assert read_failure(503, Headers.of([("Retry-After", "7")])).retry_after == 7.0
    for text in ("Sat, 21 Nov 2026 08:00:00 GMT", "-1", "nan", ""):
        assert read_failure(503, Headers.of([("Retry-After", text)])).retry_after is None


@pytest.mark.parametrize(
    "data",
    [
        b"<Error><Code>SlowDown</Code><Mess",
        b"<!DOCTYPE x []><Error><Code>SlowDown</Code></Error>",
        b'<ErrorResponse xmlns="x"><Error><Code>SlowDown</Code></Error></ErrorResponse>',
        b'<s:Error xmlns:s="x"><s:Code>SlowDown</s:Code></s:Error>',
        b"\xef\xbb\xbf<Error>\n  <Code>SlowDown</Code>\n</Error>\n",
    ],
)
def test_the_code_is_found_however_the_body_came(data):
    assert read_failure(503, NONE, data).code == "SlowDown"


@given(st.binary(max_size=200), st.integers(300, 599))
def test_reading_never_raises(data, status):
    assert read_failure(status, NONE, data).status == status
    assert isinstance(translate(read_failure(status, NONE, data)), errors.StorageError)


def test_messages_are_one_bounded_line():
    error = translate(read_failure(400, NONE, body("Odd", "a\nb\x7f\t" + "é" * 100_000)))
    assert "\n" not in str(error)
    assert str(error).startswith("a b é")
    assert len(str(error)) < MAX_MESSAGE + 300
    huge = translate(read_failure(500, NONE, b"<Error><Code>Odd</Code><Message>" + b"x" * 10_000_000))
    assert len(str(huge)) < 300


def test_a_message_that_is_the_code_again_is_not_repeated():
    assert str(translate(read_failure(416, NONE, body("InvalidRange", "InvalidRange")))) == (
        "the server answered InvalidRange [request R1]: the range is not inside the object"
    )


def test_secrets_do_not_reach_a_message():
    said = (
        "This was wrong: Authorization: AWS4 https://h/?X-Amz-Signature=canary1&amp;x=1"
        " X-Amz-Security-Token=canary2 AWSAccessKeyId: canary3"
    )
    answer = body(
        "SignatureDoesNotMatch",
        said,
        "<StringToSign>canary4</StringToSign><CanonicalRequest>canary5</CanonicalRequest>",
    )
    text = str(translate(read_failure(403, NONE, answer)))
    assert "canary" not in text
    assert "x=1" in text


# ---- failures inside successes -------------------------------------------------------------------------------------


def test_an_error_in_a_success():
    failure = failure_in_success(200, NONE, b"  \n" + body("InternalError").removeprefix(b'<?xml version="1.0"?>\n'))
    assert failure is not None
    assert row_of(failure) is CODES["InternalError"]
    denied = failure_in_success(200, NONE, body("AccessDenied"))
    assert denied is not None
    assert type(translate(denied)) is errors.PermissionDeniedError


def test_a_success_is_a_success():
    assert failure_in_success(200, NONE, b"<CopyObjectResult><ETag>e</ETag></CopyObjectResult>") is None


@pytest.mark.parametrize(
    "data", [b"", b" \n \n", b"<CopyObjectResult><ETag>", b'<?xml version="1.0"?>', b"<Error><Code>X"]
)
def test_a_cut_off_success_is_none(data):
    with pytest.raises(errors.TruncatedError):
        failure_in_success(200, NONE, data)


def test_an_item_of_a_bulk_delete():
    assert type(translate(failure_of_item({"Code": "AccessDenied", "Message": "no"}))) is errors.PermissionDeniedError
    assert type(translate(failure_of_item({"Code": "SlowDown"}))) is errors.ThrottledError
    assert type(translate(failure_of_item({}))) is errors.StorageError
    assert Failure(200).code == ""


def test_the_tables_name_only_our_errors():
    rows = [*CODES.values(), *STATUSES.values()]
    assert {row.kind.__name__ for row in rows} <= set(errors.__all__)
    assert all(row.advice and row.advice[0].islower() for row in rows)
