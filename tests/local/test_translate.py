"""Every error number of the operating system becomes the error that says what to do."""

import errno

import pytest

from mediagit_storage import errors
from mediagit_storage.backends.local.translate import TABLE, translate

EXPECTED = [
    (errno.ENOENT, errors.NotFoundError, "not there"),
    (errno.EEXIST, errors.AlreadyExistsError, "there already"),
    (errno.ENOTDIR, errors.KeyConflictError, "another key"),
    (errno.EISDIR, errors.KeyConflictError, "another key"),
    (errno.ENOTEMPTY, errors.KeyConflictError, "another key"),
    (errno.ELOOP, errors.KeyConflictError, "follow_symlinks"),
    (errno.ENAMETOOLONG, errors.InvalidKeyError, "sharded"),
    (errno.EILSEQ, errors.InvalidKeyError, "sharded"),
    (errno.ENOSPC, errors.CapacityError, "free some space"),
    (errno.EDQUOT, errors.CapacityError, "quota"),
    (errno.EFBIG, errors.LimitExceededError, "size"),
    (errno.EMLINK, errors.LimitExceededError, "folders"),
    (errno.EACCES, errors.PermissionDeniedError, "permissions"),
    (errno.EPERM, errors.PermissionDeniedError, "permissions"),
    (errno.EROFS, errors.PermissionDeniedError, "read-only"),
    (errno.EMFILE, errors.UnavailableError, "ulimit"),
    (errno.ENFILE, errors.UnavailableError, "later"),
    (errno.ENOMEM, errors.UnavailableError, "memory"),
    (errno.EAGAIN, errors.UnavailableError, "again"),
    (errno.EINTR, errors.UnavailableError, "again"),
    (errno.EBUSY, errors.UnavailableError, "again"),
    (errno.ENOLCK, errors.UnavailableError, "locks"),
    (errno.ESTALE, errors.UnavailableError, "network file system"),
    (errno.ETIMEDOUT, errors.StorageTimeoutError, "later"),
    (errno.EHOSTDOWN, errors.ConnectionLostError, "server"),
    (errno.ENOTCONN, errors.ConnectionLostError, "mount"),
    (errno.ENODEV, errors.ConnectionLostError, "disk"),
    (errno.ENXIO, errors.ConnectionLostError, "disk"),
    (errno.EIO, errors.StorageError, "input/output"),
    (errno.EXDEV, errors.ConfigError, "another file system"),
    (errno.ENOTSUP, errors.UnsupportedError, "file system"),
    (errno.ENOSYS, errors.UnsupportedError, "system"),
]


@pytest.mark.parametrize(("number", "kind", "advice"), EXPECTED, ids=str)
def test_a_row(number, kind, advice):
    error = translate(OSError(number, "reason"))
    assert type(error) is kind
    assert error.message.startswith("reason: ")
    assert advice in error.message


def test_no_row_is_left_untested():
    assert {number for number, _, _ in EXPECTED} == set(TABLE)


def test_an_unknown_number_keeps_its_name_and_is_never_not_found():
    error = translate(OSError(errno.EPIPE, "Broken pipe"))
    assert type(error) is errors.StorageError
    assert "EPIPE" in error.message


def test_an_error_without_a_number_keeps_its_text():
    assert "odd" in translate(OSError("odd")).message


def test_an_error_of_ours_stays_what_it_is():
    ours = errors.NotFoundError("x")
    assert translate(ours) is ours
