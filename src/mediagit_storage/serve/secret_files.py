"""Files with the token of a gateway, and with the secrets that sign its links."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from mediagit_storage.errors import ConfigError
from mediagit_storage.events import Event, emit
from mediagit_storage.private_files import create_private_file
from mediagit_storage.secrets import Secret, SecretRef, resolve_secret
from mediagit_storage.serve.links import Signer

__all__ = ["new_token", "read_signer", "read_token"]


def new_token() -> Secret:
    """A token that nobody guesses."""
    return Secret(secrets.token_urlsafe(32))


def read_token(path: Path) -> Secret:
    """The token in a file, its first line; a file that is not there is made with a new one, with mode 0600.

    Raises `ConfigError`.
    """
    lines = _lines(path)
    if len(lines) != 1:
        raise ConfigError(f"the file {path} does not hold one token, in one line")
    return lines[0]


def read_signer(path: Path) -> Signer:
    """What signs and checks links with the secrets in a file, one a line: the first signs, all are believed.

    A file that is not there is made with a new secret, with mode 0600. Raises `ConfigError`.
    """
    return Signer(_lines(path))


def _lines(path: Path) -> list[Secret]:
    """The lines of a file that hold something and do not begin with ``#``."""
    with suppress(FileExistsError):
        if not path.exists():
            _make(path)
    text = resolve_secret(SecretRef(file=str(path))).reveal()
    if path.stat().st_mode & 0o077:
        emit(Event("serve.readable_secret", f"warning: others can read {path}: chmod 600 it"))
    found = [each.strip() for each in text.splitlines()]
    return [Secret(each) for each in found if each and not each.startswith("#")]


def _make(path: Path) -> None:
    try:
        create_private_file(path, f"{new_token().reveal()}\n".encode("ascii"))
    except FileExistsError:
        raise
    except OSError as error:
        raise ConfigError(f"the file {path} cannot be made: {os.strerror(error.errno or 0)}") from None
