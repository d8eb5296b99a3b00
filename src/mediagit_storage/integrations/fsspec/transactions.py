"""A transaction of fsspec's that ends for good, however it ends, and that nobody begins twice."""

from __future__ import annotations

from contextlib import suppress

from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]
from fsspec.transaction import Transaction  # type: ignore[import-untyped]

from mediagit_storage.errors import ConfigError, StorageError

__all__ = ["WholeTransaction"]


class WholeTransaction(Transaction):  # type: ignore[misc]
    """Files that are stored when it ends, or not at all.

    Its end stores one after the other. If one fails, those after it are given up, and the filesystem writes at once
    again: older versions of fsspec keep it in the transaction, where all that is written later is lost.
    """

    fs: AbstractFileSystem | None
    _begun = False

    def start(self) -> None:
        """Begin. One within another is a `ConfigError`: fsspec's would lose what the outer one has written."""
        if self._begun:
            raise ConfigError("a transaction of this filesystem is going on already")
        self._begun = True
        super().start()

    def complete(self, commit: bool = True) -> None:  # fsspec's signature
        """Store all files, or none where ``commit`` is off. Raises what the first failure raised."""
        fs, self.fs = self.fs, None
        files = self.files
        try:
            while files:
                file = files.popleft()
                if commit:
                    file.commit()
                else:
                    file.discard()
        finally:
            while files:
                with suppress(StorageError, OSError):
                    files.popleft().discard()
            if fs is not None:
                fs._intrans = False  # noqa: SLF001  # that is how fsspec keeps it
                fs._transaction = None  # noqa: SLF001
