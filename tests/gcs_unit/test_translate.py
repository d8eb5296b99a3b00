"""From answers to errors, row by row."""

from __future__ import annotations

import json

import pytest

from mediagit_storage.backends.gcs.translate import (
    MAX_MESSAGE,
    REASONS,
    STATUSES,
    Failure,
    proves_object,
    read_failure,
    row_of,
    translate,
)
from mediagit_storage.errors import (
    AccessError,
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
    PreconditionError,
    StorageError,
    StorageTimeoutError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)

#: Status and reason as the service documents them, and what they become.
ROWS = [
    (400, "badRequest", StorageError), (400, "invalid", StorageError), (400, "invalidArgument", StorageError),
    (400, "invalidParameter", StorageError), (400, "parseError", StorageError), (400, "required", StorageError),
    (400, "cloudKmsBadKey", ConfigError), (400, "cloudKmsCannotChangeKeyName", ConfigError),
    (400, "cloudKmsDecryptionKeyNotFound", PermissionDeniedError), (400, "cloudKmsDisabledKey", PermissionDeniedError),
    (400, "cloudKmsEncryptionKeyNotFound", ConfigError), (400, "cloudKmsKeyLocationNotAllowed", ConfigError),
    (400, "customerEncryptionAlgorithmIsInvalid", ConfigError),
    (400, "customerEncryptionKeyFormatIsInvalid", ConfigError),
    (400, "customerEncryptionKeyIsIncorrect", PermissionDeniedError),
    (400, "customerEncryptionKeySha256IsInvalid", ConfigError),
    (400, "resourceIsEncryptedWithCustomerEncryptionKey", PermissionDeniedError),
    (400, "resourceNotEncryptedWithCustomerEncryptionKey", PermissionDeniedError),
    (400, "userProjectMissing", ConfigError), (400, "userProjectInvalid", ConfigError),
    (400, "userProjectInconsistent", ConfigError),
    (401, "authError", UnauthenticatedError), (401, "required", UnauthenticatedError),
    (401, "AuthenticationRequiredRequesterPays", UnauthenticatedError), (401, "lockedDomainExpired", UnauthenticatedError),
    (403, "accountDisabled", PermissionDeniedError), (403, "countryBlocked", PermissionDeniedError),
    (403, "forbidden", PermissionDeniedError), (403, "insufficientPermissions", PermissionDeniedError),
    (403, "objectUnderActiveHold", PermissionDeniedError), (403, "retentionPolicyNotMet", PermissionDeniedError),
    (403, "sslRequired", ConfigError), (403, "accessNotConfigured", PermissionDeniedError),
    (403, "usageLimits.accessNotConfigured", PermissionDeniedError),
    (403, "UserProjectAccessDenied", PermissionDeniedError), (403, "UserProjectAccountProblem", PermissionDeniedError),
    (403, "orgPolicyConstraintFailed", PermissionDeniedError),
    (403, "rateLimitExceeded", ThrottledError), (403, "userRateLimitExceeded", ThrottledError),
    (403, "quotaExceeded", CapacityError), (403, "dailyLimitExceeded", CapacityError),
    (404, "notFound", NotFoundError), (405, "methodNotAllowed", UnsupportedError),
    (408, "uploadBrokenConnection", ConnectionLostError), (409, "conflict", AlreadyExistsError),
    (410, "gone", StorageError), (412, "conditionNotMet", PreconditionError), (413, "uploadTooLarge", LimitExceededError),
    (304, "notModified", NotModifiedError),
    (416, "requestedRangeNotSatisfiable", InvalidRangeError), (429, "rateLimitExceeded", ThrottledError),
    (429, "usageLimits.rateLimitExceeded", ThrottledError), (500, "backendError", UnavailableError),
    (500, "internalError", UnavailableError), (501, "notImplemented", UnsupportedError),
    (503, "backendError", UnavailableError), (504, "gatewayTimeout", StorageTimeoutError),
]  # fmt: skip

BY_STATUS = {
    304: NotModifiedError, 400: StorageError, 401: UnauthenticatedError, 403: PermissionDeniedError,
    405: UnsupportedError, 408: StorageTimeoutError, 409: AlreadyExistsError, 410: StorageError, 411: UnsupportedError,
    412: PreconditionError, 413: LimitExceededError, 416: InvalidRangeError, 429: ThrottledError, 500: UnavailableError,
    501: UnsupportedError, 502: UnavailableError, 503: UnavailableError, 504: StorageTimeoutError, 507: CapacityError,
}  # fmt: skip


def document(status, reason, message="what went wrong"):
    return json.dumps(
        {
            "error": {
                "code": status,
                "message": message,
                "errors": [{"domain": "global", "reason": reason, "message": "x"}],
            }
        }
    ).encode()


def test_every_row_of_the_table_is_tested():
    assert {reason for _, reason, _ in ROWS} == set(REASONS)
    assert set(BY_STATUS) == set(STATUSES)


@pytest.mark.parametrize(("status", "reason", "kind"), ROWS)
def test_a_reason(status, reason, kind):
    error = translate(read_failure(status, document(status, reason)))
    assert type(error) is kind
    assert reason in error.message
    assert "what went wrong" in error.message


@pytest.mark.parametrize(("status", "kind"), BY_STATUS.items())
def test_a_status_without_a_reason(status, kind):
    for body in (b"", b"<html>a proxy</html>", document(status, "unheardOf")):
        assert type(translate(read_failure(status, body))) is kind


def test_what_is_unknown_keeps_its_code_and_is_never_absence():
    for status in (400, 402, 418, 451, 499):
        error = translate(read_failure(status, document(status, "unheardOf")))
        assert type(error) is StorageError
        assert "unheardOf" in error.message
    assert isinstance(translate(read_failure(599, b"")), UnavailableError)


def test_absence_is_believed_in_the_services_own_words_only():
    assert type(translate(read_failure(404, document(404, "notFound", "No such object: b/k")))) is NotFoundError
    assert type(translate(read_failure(404, b"No such object: b/k"))) is NotFoundError
    for page in (b"", b"Not Found", b"<html>404 Not Found</html>", b"404 page not found", b'{"error": "nope"}'):
        error = translate(read_failure(404, page))
        assert not isinstance(error, NotFoundError)
    assert type(translate(read_failure(403, document(403, "notFound")))) is PermissionDeniedError


def test_whose_absence_it_is():
    said = document(404, "notFound", "The specified bucket does not exist.")
    assert type(translate(read_failure(404, said))) is BucketNotFoundError
    assert type(translate(read_failure(404, b"The specified bucket does not exist."))) is BucketNotFoundError
    assert type(translate(read_failure(404, document(404, "notFound")), subject="bucket")) is BucketNotFoundError
    assert proves_object(read_failure(404, document(404, "notFound", "No such object: b/k")))
    assert not proves_object(read_failure(404, document(404, "notFound", "Not Found")))


def test_a_key_may_say_what_it_likes():
    """An object named after the message about buckets is an object."""
    said = document(404, "notFound", "No such object: b/The specified bucket does not exist.")
    assert proves_object(read_failure(404, said))
    assert type(translate(read_failure(404, said))) is NotFoundError


def test_what_a_condition_makes_of_it():
    failed = read_failure(412, document(412, "conditionNotMet"))
    assert type(translate(failed, condition="absent")) is AlreadyExistsError
    assert type(translate(failed, condition="match")) is PreconditionError
    assert type(translate(failed, condition="none-match")) is NotModifiedError
    absent = read_failure(404, document(404, "notFound"))
    assert type(translate(absent, condition="match")) is PreconditionError
    assert type(translate(absent, subject="bucket", condition="match")) is BucketNotFoundError


@pytest.mark.parametrize(
    "message",
    [
        'Provided CRC32C "AAAAAA==" doesn\'t match calculated CRC32C "jwfJwA==".',
        'Provided MD5 hash "AAAA" doesn\'t match calculated MD5 hash "BBBB".',
    ],
)
def test_damage_on_the_way(message):
    assert type(translate(read_failure(400, document(400, "invalid", message)))) is ChecksumError


def test_too_much_metadata():
    said = "The total size of all metadata keys and values exceeds the limit"
    assert type(translate(read_failure(400, document(400, "invalid", said)))) is LimitExceededError


def test_emulators_spell_reasons_their_own_way():
    assert row_of(Failure(404, "Not Found", "", documented=True)).kind is NotFoundError
    assert row_of(Failure(412, "Precondition Failed")).kind is PreconditionError


def test_newer_answers_name_a_status():
    body = b'{"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}}'
    error = translate(read_failure(403, body))
    assert isinstance(error, AccessError)
    assert "PERMISSION_DENIED" in error.message


def test_messages_are_bounded_single_lines():
    error = translate(read_failure(400, document(400, "a\r\nb" * 1000, "x\n\x1b[31m" * 10_000)))
    assert len(error.message) < 3 * MAX_MESSAGE
    assert error.message.isprintable()
    assert translate(read_failure(500, b"\xff\xfe" * 1000)).message.isprintable()
