"""The BLAKE3 of each object's content, kept with it when it is written and compared when it is read.

It is the answer to bits that flip at rest, objects that are mixed up, and bytes that a server or a proxy changes; it is
none to somebody who may write to the storage, who can write another digest as well. Needs the extra ``checksum``.

``layer.py`` wraps a backend; ``digests.py`` is the form in which the digest is kept, ``sources.py`` how it is found
before an object is committed, ``bodies.py`` how it is compared while a body is read.
"""

from __future__ import annotations

from mediagit_storage.layers.checksum.digests import stored_checksum
from mediagit_storage.layers.checksum.layer import ChecksumConfig, ChecksumLayer

__all__ = ["ChecksumConfig", "ChecksumLayer", "stored_checksum"]
