"""WebDAV: any server that speaks RFC 4918, with what each of the known ones does its own way as data in `services`."""

from __future__ import annotations

from mediagit_storage.backends.webdav.backend import WebDAVBackend
from mediagit_storage.backends.webdav.config import WebDAVConfig

__all__ = ["WebDAVBackend", "WebDAVConfig"]
