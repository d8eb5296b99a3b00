"""Errors in one line that says what to do next."""

from __future__ import annotations

from typing import Final

from mediagit_storage import errors
from mediagit_storage.probe import says_what_to_do
from mediagit_storage.tools.selecting import NothingThereError

__all__ = ["advice_for", "message_of"]

#: What to do about an error; the first row that fits counts. An error whose message says it already has none.
_ADVICE: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (errors.BucketNotFoundError, "check the name, or create it with `mgs mb`"),
    (NothingThereError, "check its spelling; `mgs ls` of the folder above it shows what is there"),
    (errors.AlreadyExistsError, "leave out --if-absent to replace it"),
    (errors.NotModifiedError, ""),
    (errors.PreconditionError, "look at it with `mgs stat`, then try again with its new ETag"),
    (errors.UnauthenticatedError, "give credentials by the environment or a profile (`mgs profile --help`)"),
    (errors.AccessError, "check the permissions of this user on it"),
    (PermissionError, "check the owner and the permissions of the file and its folder"),
    (errors.KeyUnavailableError, "name the identity that can open it in the profile"),
    (errors.IntegrityError, "try again; if it stays so, compare it with another copy"),
    (errors.UnavailableError, "try again later; `mgs check` tells more"),
    (errors.UnsupportedError, "`mgs check` shows what it can do"),
    (IsADirectoryError, "use `mgs cp -r` for folders"),
    (errors.CapacityError, "what was stored before is intact"),
)


def message_of(error: BaseException) -> str:
    """The error's own words in one line."""
    if isinstance(error, errors.StorageError):
        text = str(error)
        # The prefix of a listing of everything is empty, and names nothing.
        return text if error.key or isinstance(error, errors.InvalidKeyError) else text.replace(" '': ", ": ", 1)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def advice_for(error: BaseException) -> str:
    """What to do next; empty where the message says it, or nobody knows."""
    if isinstance(error, errors.StorageError) and says_what_to_do(error.message):
        return ""
    return next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
