"""The error tree: its shape, its builtin counterparts, its messages, its pickles."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from mediagit_storage import errors
from mediagit_storage.errors import ClosedError, NotFoundError, StorageError, UnavailableError

TREE = [getattr(errors, name) for name in errors.__all__ if name != "ClosedError"]

BUILTIN = {
    "NotFoundError": FileNotFoundError, "BucketNotFoundError": FileNotFoundError, "AlreadyExistsError": FileExistsError,
    "AccessError": PermissionError, "UnauthenticatedError": PermissionError, "PermissionDeniedError": PermissionError,
    "InvalidKeyError": ValueError, "InvalidRangeError": ValueError, "ConfigError": ValueError,
    "StorageTimeoutError": TimeoutError,
}  # fmt: skip


@pytest.mark.parametrize("kind", TREE)
def test_everything_is_a_storage_error_with_the_builtin_counterpart_it_promises(kind):
    assert issubclass(kind, StorageError)
    counterparts = {builtin for builtin in set(BUILTIN.values()) if issubclass(kind, builtin)}
    assert counterparts == ({BUILTIN[kind.__name__]} if kind.__name__ in BUILTIN else set())


def test_closed_is_a_programming_error_outside_of_the_tree():
    assert issubclass(ClosedError, RuntimeError)
    assert not issubclass(ClosedError, StorageError)


def test_the_drawing_is_the_tree():
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"[ │├└─]*?(\w+Error)\b", line):
            drawn.append((len(line) - len(line.lstrip(" │├└─")), found[1]))
    assert sorted(name for _, name in drawn) == sorted(errors.__all__)
    above: list[tuple[int, str]] = []
    for depth, name in drawn:
        above = [(d, n) for d, n in above if d < depth]
        if above:
            assert getattr(errors, above[-1][1]) in getattr(errors, name).__bases__
        above.append((depth, name))


@pytest.mark.parametrize("kind", TREE)
def test_only_what_is_temporary_is_retryable(kind):
    assert kind.retryable is issubclass(kind, UnavailableError)
    assert kind("x").retryable is kind.retryable


@pytest.mark.parametrize("kind", TREE)
@pytest.mark.parametrize("clone", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_errors_survive_pickling_and_copying(kind, clone):
    error = kind("went wrong", operation="put", key="a/b", store="memory://x")
    again = clone(error)
    assert type(again) is kind
    assert (again.message, again.operation, again.key, again.store) == ("went wrong", "put", "a/b", "memory://x")
    assert str(again) == str(error)


def test_the_message_says_what_with_which_key_and_where():
    assert str(NotFoundError("no such object")) == "no such object"
    error = NotFoundError("no such object", operation="get", key="a\nb", store="memory://x")
    assert str(error) == r"get 'a\nb': no such object (in memory://x)"
    assert str(NotFoundError("no such object", key="")) == "'': no such object"


def test_context_fills_only_what_is_unknown():
    error = NotFoundError("no", key="inner")
    assert error.with_context(operation="get", key="outer", store="s") is error
    assert (error.operation, error.key, error.store) == ("get", "inner", "s")
    error.with_context(operation="put", store="t")
    assert (error.operation, error.store) == ("get", "s")


def test_they_are_caught_as_their_builtin():
    with pytest.raises(FileNotFoundError):
        raise NotFoundError("no such object", key="a")
    with pytest.raises(OSError, match="slow"):
        raise errors.StorageTimeoutError("slow")
