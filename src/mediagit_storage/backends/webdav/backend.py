"""`WebDAVBackend`: a folder on a WebDAV server, whose files are the objects. See the modules beside it for how."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from mediagit_storage.backends.webdav.auth import AuthName
from mediagit_storage.backends.webdav.checks import findings
from mediagit_storage.backends.webdav.client import DavClient
from mediagit_storage.backends.webdav.config import WebDAVConfig
from mediagit_storage.backends.webdav.deleting import DavDeleter
from mediagit_storage.backends.webdav.listing import DavLister
from mediagit_storage.backends.webdav.operations import DavOperations
from mediagit_storage.backends.webdav.publishing import Publisher, temporary_namer
from mediagit_storage.backends.webdav.reading import DavReader
from mediagit_storage.backends.webdav.services import capabilities_of
from mediagit_storage.backends.webdav.writing import DavWriter
from mediagit_storage.http.backend import HttpBackend
from mediagit_storage.http.retry import Rules
from mediagit_storage.secrets import SecretValue
from mediagit_storage.settings import as_secret, config_from_env, export_config
from mediagit_storage.source import Source
from mediagit_storage.types import (
    ConnectionInfo,
    CopyOptions,
    DeleteOptions,
    Entry,
    Finding,
    ListOptions,
    ObjectInfo,
    PendingUpload,
    PutOptions,
)

__all__ = ["WebDAVBackend"]


class WebDAVBackend(HttpBackend[WebDAVConfig]):
    """A folder on a WebDAV server: its files are the objects, their paths the keys.

    ``url`` is ``https://host/path``; ``service`` names the server where it is a known one. All further options are in
    `WebDAVConfig`, for `from_config`. Nothing is asked of the server before the first call, and the folder itself is
    only made by `create`.

    A put uploads under a hidden name beside the object, looks at what arrived, and moves it to its key. One object is
    one request, however large: an upload that breaks off begins anew. ``a`` cannot be beside ``a/b``.
    """

    _client: DavClient
    _reader: DavReader

    def __init__(
        self,
        url: str,
        *,
        username: str | SecretValue | None = None,
        password: str | SecretValue | None = None,
        auth: AuthName = "auto",
        service: str = "generic",
    ) -> None:
        config = WebDAVConfig(
            url=url, username=as_secret(username), password=as_secret(password), auth=auth, service=service
        )
        self._begin(config)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, url: str | None = None) -> Self:
        """What ``WEBDAV_URL``, ``WEBDAV_USERNAME`` and ``WEBDAV_PASSWORD`` name; ``url`` where the first does not."""
        return cls.from_config(config_from_env(WebDAVConfig, environ, "url", url))

    def _open(self, config: WebDAVConfig, rules: Rules) -> None:
        base, service, clock = config.base(), config.known_service(), self._clock
        self._client = client = DavClient(
            base,
            service,
            config.signing(),
            self._transport,
            rules,
            dead_properties=config.dead_properties,
            destination=config.destination,
        )
        self._reader = DavReader(client)
        namer = temporary_namer(client, clock.now_ns, lambda: secrets.token_hex(8))
        self._writer = DavWriter(client, self._reader, Publisher(client, namer), clock)
        self._deleter = DavDeleter(client)
        self._lister = DavLister(client, concurrency=config.concurrency)
        self._operations = DavOperations(self._reader, self._writer, self._deleter)
        self._capabilities = capabilities_of(service, dead_properties=config.dead_properties)
        self._scheme = "davs" if base.origin.startswith("https://") else "dav"
        self._description = f"{self._scheme}://{base.url.partition('://')[2]}"

    # ---- what is known without asking

    def connection_info(self) -> ConnectionInfo:
        """The options that differ from their defaults; secrets as references only."""
        return ConnectionInfo(self._scheme, export_config(self._config))

    # ---- objects

    def put(self, key: str, source: Source, options: PutOptions) -> ObjectInfo:
        """PUT under a hidden name, PROPFIND of what arrived, MOVE; before them MKCOL for folders not seen yet."""
        return self._writer.put(key, source, options)

    def stat(self, key: str, version: str | None = None) -> ObjectInfo:
        """One PROPFIND."""
        return self._reader.stat(key, version)

    def list(self, prefix: str, options: ListOptions) -> Iterator[ObjectInfo]:
        """One PROPFIND for each folder, several at once, those that come next ahead of time."""
        return self._lister.list(prefix, options)

    def list_dir(self, prefix: str, options: ListOptions) -> Iterator[Entry]:
        """One PROPFIND, and one more for each folder in it, to see that it is not empty."""
        return self._lister.list_dir(prefix, options)

    def delete(self, key: str, options: DeleteOptions) -> None:
        """PROPFIND and DELETE: nothing that was not seen to be a file is deleted, since DELETE takes whole folders."""
        self._deleter.delete(key, options)

    def copy(self, source: str, target: str, options: CopyOptions) -> ObjectInfo:
        """COPY to a hidden name, then like `put`."""
        return self._writer.copy(source, target, options)

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> ObjectInfo:
        """PROPFIND and MOVE."""
        return self._writer.rename(source, target, if_absent=if_absent)

    # ---- the folder, uploads

    def create(self, *, versioning: bool | None = None) -> None:
        """Make the folder that the URL names, and what is missing above it."""
        self._client.create()

    def pending_uploads(self, prefix: str) -> Iterator[PendingUpload]:
        """Hidden files of uploads that did not end. Looks into every folder below the prefix."""
        return self._lister.uploads(prefix)

    def stat_upload(self, upload: PendingUpload) -> PendingUpload:
        """One PROPFIND."""
        return self._deleter.look_at(upload)

    def abort_upload(self, upload: PendingUpload) -> None:
        """One DELETE. Raises `UnavailableError` where the server still has it open."""
        self._deleter.abort(upload)

    def check(self) -> Iterable[Finding]:
        """Server, classes of WebDAV, clock, quota and conditions, as far as looking tells."""
        return findings(self._client, self._clock)
