"""Secrets as a type: a value that does not show itself, and a reference to where the value is kept.

`Secret` hides a literal from ``repr``, ``str``, f-strings, logs, JSON and pickles. A configuration that is exported
carries only references (`SecretRef`: an environment variable or a file).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mediagit_storage.errors import ConfigError

__all__ = ["REDACTED", "Secret", "SecretRef", "SecretValue", "resolve_secret"]

#: What stands in the place of a secret wherever one would otherwise be shown.
REDACTED: Final = "***"


class Secret:
    """A literal secret. `reveal` is the one way to its text. ``picklable`` lets a pickle hold it, in the clear."""

    __slots__ = ("_picklable", "_text")

    def __init__(self, text: str, *, picklable: bool = False) -> None:
        if not isinstance(text, str):
            raise TypeError("a secret is a str")
        self._text = text
        self._picklable = picklable

    def reveal(self) -> str:
        """The secret itself: call this only where it leaves for the provider."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({REDACTED!r})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self._text.encode("utf-8", "surrogatepass"), other._text.encode("utf-8", "surrogatepass")
        )

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        if self._picklable:
            return (_unpickled, (self._text,))
        raise TypeError(
            "a literal secret refuses to be pickled; keep it in an environment variable or a file and name that,"
            " or open the storage with pickle_secrets=True"
        )


def _unpickled(text: str) -> Secret:
    return Secret(text, picklable=True)


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is kept: exactly one of an environment variable's name or a file's path."""

    env: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if (self.env is None) == (self.file is None):
            raise ConfigError('a secret reference names either { env = "NAME" } or { file = "PATH" }')

    def as_config(self) -> dict[str, str]:
        """The form that profiles and `ConnectionInfo` carry."""
        return {"env": self.env} if self.env is not None else {"file": str(self.file)}


#: What a backend's configuration accepts for a secret.
SecretValue = Secret | SecretRef


def resolve_secret(value: SecretValue, environ: Mapping[str, str] | None = None) -> Secret:
    """The secret itself: a literal as it is, a reference read from its place now (a file without its last newline).

    Raises `ConfigError`, naming the place and never the value, when the variable or file is missing or empty.
    """
    if isinstance(value, Secret):
        return value
    if value.env is not None:
        text = (os.environ if environ is None else environ).get(value.env)
        if not text:
            raise ConfigError(f"the environment variable {value.env} is not set or empty; it should hold the secret")
        return Secret(text)
    path = Path(os.path.expanduser(str(value.file)))  # noqa: PTH111  # Path fails where there is no such user
    try:
        text = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"the secret's file {path} cannot be read: {reason}") from None
    if not text:
        raise ConfigError(f"the secret's file {path} is empty")
    return Secret(text)
