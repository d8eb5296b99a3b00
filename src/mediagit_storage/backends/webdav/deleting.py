"""Deleting: one file, seen to be one right before. DELETE of a folder removes everything in it (RFC 4918, 9.6.1), so no
folder is ever deleted by its key; those that become empty stay, are never listed, and give way to an object.
"""

from __future__ import annotations

from mediagit_storage.backends.webdav.addressing import is_unholdable
from mediagit_storage.backends.webdav.client import DavClient
from mediagit_storage.backends.webdav.folders import FolderReader
from mediagit_storage.backends.webdav.temporary import parse_temporary
from mediagit_storage.errors import ConfigError, KeyConflictError, NotFoundError
from mediagit_storage.http.call import Call
from mediagit_storage.types import DeleteOptions, PendingUpload

__all__ = ["DavDeleter"]


class DavDeleter:
    """Deletes from one storage."""

    def __init__(self, client: DavClient) -> None:
        self._client = client
        self._folders = FolderReader(client)

    def delete(self, key: str, options: DeleteOptions) -> None:
        """Look, then delete."""
        client = self._client
        try:
            path = client.path(key)
        except NotFoundError:
            client.prove_base()
            if options.missing_ok:
                return
            raise
        found = client.look(key)
        if found is None or found.folder:
            missing = client.absent()
            if options.missing_ok:
                return
            raise missing
        client.remove_file(path)

    def abort(self, upload: PendingUpload) -> None:
        """Remove an unfinished upload. One that is gone is fine; one that somebody writes now may be refused."""
        client = self._client
        segments = upload.id.removesuffix("/").split("/")
        if parse_temporary(segments[-1]) is None or is_unholdable(upload.id.removesuffix("/")):
            raise ConfigError("this is no unfinished upload of a WebDAV storage")
        if not upload.id.endswith("/"):
            client.check_gone(client.send(Call("DELETE", client.base.path_of(upload.id))).response)
            return
        # A folder that was put aside because it was empty.
        if self._folders.is_used(upload.id):
            raise KeyConflictError(f"there are objects in {upload.id!r}; move them out of it with another program")
        client.check_gone(client.send(Call("DELETE", client.base.path_of(upload.id))).response)

    def look_at(self, upload: PendingUpload) -> PendingUpload:
        """The same with what has arrived by now."""
        found = self._client.look(upload.id)
        if found is None:
            raise self._client.absent()
        return PendingUpload(upload.key, upload.id, upload.started, found.size, found.modified)
