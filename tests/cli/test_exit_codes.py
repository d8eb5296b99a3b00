"""Exit codes, and the one line that says what went wrong."""

from __future__ import annotations

import errno
import inspect

import pytest

from mediagit_storage import errors
from mediagit_storage.cli.advice import advice_for
from mediagit_storage.cli.exit_codes import MEANINGS, TABLE, code_for
from mediagit_storage.tools.selecting import NothingThereError

EXPECTED = [
    (errors.StorageError, 1),
    (errors.NotFoundError, 4),
    (errors.BucketNotFoundError, 3),
    (NothingThereError, 3),
    (errors.AlreadyExistsError, 13),
    (errors.PreconditionError, 13),
    (errors.NotModifiedError, 13),
    (errors.AccessError, 11),
    (errors.UnauthenticatedError, 11),
    (errors.PermissionDeniedError, 11),
    (errors.InvalidKeyError, 2),
    (errors.InvalidRangeError, 2),
    (errors.ConfigError, 2),
    (errors.UnsupportedError, 7),
    (errors.KeyConflictError, 13),
    (errors.IntegrityError, 12),
    (errors.TruncatedError, 12),
    (errors.ChecksumError, 12),
    (errors.DecryptionError, 12),
    (errors.KeyUnavailableError, 12),
    (errors.UnavailableError, 5),
    (errors.ThrottledError, 5),
    (errors.StorageTimeoutError, 5),
    (errors.ConnectionLostError, 5),
    (errors.CapacityError, 7),
    (errors.LimitExceededError, 7),
    (errors.CancelledError, 130),
    (FileNotFoundError, 4),
    (FileExistsError, 13),
    (IsADirectoryError, 2),
    (PermissionError, 11),
    (TimeoutError, 5),
    (KeyboardInterrupt, 130),
    (errors.ClosedError, 1),
    (ZeroDivisionError, 1),
]


@pytest.mark.parametrize(("kind", "code"), EXPECTED)
def test_every_error_has_its_code(kind, code):
    assert code_for(kind("words")) == code


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_beside_a_storage_has_the_code_of_a_full_storage(number):
    assert code_for(OSError(number, "words")) == 7


def test_a_file_of_this_machine_that_may_not_be_touched_has_advice():
    assert "permissions of the file" in advice_for(PermissionError(errno.EACCES, "Permission denied", "f"))
    assert "of this user" in advice_for(errors.PermissionDeniedError("no"))


def test_no_error_of_the_library_is_forgotten():
    tree = {each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)}
    assert tree <= {kind for kind, _ in EXPECTED}


def test_every_row_of_the_table_is_reached_and_every_code_has_a_meaning():
    for kind, code in TABLE[:-1]:
        assert code_for(kind("words")) == code, kind
    assert {code for _, code in TABLE} <= set(MEANINGS)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["ls"], 2, "missing argument 'TARGET...' (`mgs ls --help` tells more)"),
        (["ls", "--frob", "x"], 2, "no such option '--frob'"),
        (["-q", "ls", "x"], 2, "options follow the command: mgs COMMAND -q"),
        (["cp", "src/photo.jpg"], 2, "it takes a SOURCE and a TARGET"),
        (["mv", "src/photo.jpg"], 2, "it takes a SOURCE and a TARGET"),
        (["versions", "ls", "file://" + "/tmp"], 7, "`mgs check` shows what it can do"),
        (["rm", "memory://\n"], 2, "a URL must not hold a control character"),
        (["ls", "foo://x"], 2, "unknown scheme 'foo'"),
        (["ls", "nobody:x"], 2, "there is no profile 'nobody'"),
        (["ls", "nowhere/below"], 3, "check its spelling"),
        (["ls", "memory://m/*.png"], 3, "nothing matches"),
        (["stat", "nowhere"], 4, "no such object"),
        (["cat", "src/photo.jpg", "--offset", "9999"], 2, "offset 9,999 is not inside the object of 2,000 bytes"),
        (["cat", "src/photo.jpg", "--offset", "1", "--suffix", "1"], 2, "--suffix cannot be combined"),
        (["cat", "src"], 2, "name an object"),
        (["stat", "memory://m"], 2, "name an object"),
        (["put", "nofile", "memory://m/x"], 4, "nofile: No such file or directory"),
        (["put", "src", "memory://m/x"], 2, "src: Is a directory: use `mgs cp -r` for folders"),
        (["put", "-", "src/"], 2, "standard input has no name"),
        (["put", "src/photo.jpg", "src/a-", "--if-absent"], 13, "leave out --if-absent"),
        (["put", "src/photo.jpg", "src/a-", "--if-match", "other"], 13, "`mgs stat`"),
        (["put", "src/photo.jpg", "src/a-", "--sha256", "00" * 32], 12, "nothing was stored"),
        (["put", "src/photo.jpg", "x/../y"], 2, "leads through a folder that does not exist"),
        (["put", "src/photo.jpg", "src/photo.jpg/below"], 13, "photo.jpg"),
        (["put", "src/photo.jpg", "m", "--metadata", "novalue"], 2, "--metadata is written NAME=VALUE"),
        (["get", "src/photo.jpg", "src/a-", "--no-overwrite"], 13, "exists already"),
        (["get", "src/photo.jpg", "no/folder/x"], 4, "no/folder: there is no such folder"),
        (["put", "src/photo.jpg", "src/" + "k" * 300], 2, "'kkkk"),
        (["get", "src"], 2, "is a folder: use `mgs cp -r`"),
        (["cp", "src", "to"], 2, "is a folder: add -r"),
        (["cp", "src/a", "memory://m/to"], 2, "is a folder: add -r"),
        (["cp", "src/none", "to"], 4, "there is no object and no folder of this name"),
        (["cp", "-r", "src/none", "to"], 3, "there is no object and no folder of this name"),
        (["cp", "src/none/", "to"], 3, "there is no object and no folder of this name"),
        (["cp", "src/a-", "src/photo.jpg", "to"], 2, "several sources need a folder"),
        (["rm", "src"], 2, "is a whole storage"),
        (["rm", "-r", "src"], 2, "add --all"),
        (["rm", "src/none"], 4, "no such object"),
        (["rm", "-r", "src/none"], 3, "no folder of this name"),
        (["presign", "src/photo.jpg"], 7, "makes no presigned URLs"),
        (["presign", "src/photo.jpg", "--expires", "soon"], 2, "90s, 15m"),
        (["ls", "--versions", "src"], 7, "keeps no versions"),
        (["check", "nowhere"], 1, ""),
    ],
)
def test_commands_end_with_a_code_and_one_line(mgs, tree, arguments, code, words):
    result = mgs(*arguments)
    assert result.code == code, result
    if arguments[0] != "check":
        assert result.out == ""
        assert len(result.err.splitlines()) == 1
        assert result.err.startswith("mgs: ")
    assert words in result.err
    assert "Traceback" not in result.err


def test_errors_as_json(mgs):
    """One line on standard error, nothing on standard output; usage errors too."""
    result = mgs("stat", "--json", "nowhere")
    assert (result.code, result.out) == (4, "")
    (error,) = result.errors
    assert error["v"] == 1
    assert (error["type"], error["error"], error["code"], error["key"]) == ("error", "NotFoundError", 4, "nowhere")
    (usage,) = mgs("ls", "--json").errors
    assert usage["code"] == 2


def test_a_bug_is_one_line_and_a_trace_on_demand(mgs, tree, monkeypatch):
    def broken(*arguments, **options):
        raise ZeroDivisionError("a\nbug")

    monkeypatch.setattr("mediagit_storage.storage.Storage.stat", broken)
    result = mgs("stat", "src/photo.jpg")
    assert result.code == 1
    assert result.err.startswith("mgs: ZeroDivisionError: a bug: this is a bug in mgs: please report it")
    assert len(result.err.splitlines()) == 1
    assert "Traceback" in mgs("stat", "-v", "src/photo.jpg").err
    monkeypatch.setenv("MGS_DEBUG", "1")
    assert "Traceback" in mgs("stat", "src/photo.jpg").err


def test_one_of_several_that_fails_is_named_and_the_others_are_done(mgs, tree):
    result = mgs("cat", "src/a/b/deep.txt", "src/none", "src/a/one.png")
    assert result.code == 6
    assert result.raw == b"deep\x00\xff"
    assert "'none'" in result.err
