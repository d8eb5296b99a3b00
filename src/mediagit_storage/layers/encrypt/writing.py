"""A source that encrypts what it reads: the age file as it is sent, in constant memory.

It can be read again where the source below can, and is then the same bytes, as those who hash before they send need it.
Nothing else than the same plain bytes is ever encrypted under the key and nonces of an object, whatever became of the
source meanwhile: of each group of chunks a digest is kept, and a group that comes out differently is not given out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Final

from mediagit_storage.errors import IntegrityError
from mediagit_storage.layers.encrypt.chunks import in_chunks
from mediagit_storage.layers.encrypt.header import Stanza, write_header
from mediagit_storage.layers.encrypt.keys import FILE_KEY, Recipient
from mediagit_storage.layers.encrypt.payload import Payload
from mediagit_storage.layers.encrypt.sizes import CHUNK, NONCE, SEALED, TAG, stored_size
from mediagit_storage.source import Source
from mediagit_storage.types import BytesLike

__all__ = ["EncryptedSource"]

#: Chunks that are sealed before they are given out together.
_GROUP: Final = 16
#: What lies in memory and is at most so long is encrypted in memory, at once.
_IN_MEMORY: Final = 4 * 1024 * 1024
#: Bytes kept of each group (1 MiB) of a source that can be read again: 16 MiB for a tebibyte.
_DIGEST: Final = 16


class EncryptedSource(Source):
    """``inner``, encrypted for ``recipients``; ``extra`` stanzas go into the header as well.

    ``plain_size`` is how long ``inner`` was, known when all of it has been read.
    """

    def __init__(self, inner: Source, recipients: Sequence[Recipient], extra: Sequence[Stanza] = ()) -> None:
        file_key = os.urandom(FILE_KEY)
        self._payload = Payload(file_key, os.urandom(NONCE))
        head = write_header([*(recipient.wrap(file_key) for recipient in recipients), *extra], file_key)
        self._lead = head + self._payload.nonce
        self._inner = inner
        self._digests = bytearray()
        self._whole: bytes | None = None
        self.plain_size = inner.size
        self.size = None if inner.size is None else stored_size(inner.size, len(head))
        self.rewindable = inner.rewindable

    def buffer(self) -> BytesLike | None:
        """All of it, where the content lies in memory and is not large."""
        if self._whole is None:
            content = self._inner.buffer()
            if content is None or len(content) > _IN_MEMORY:
                return None
            self._whole = b"".join([bytes(piece) for piece in self._sealed([content])])
        return self._whole

    def chunks(self) -> Iterator[BytesLike]:
        """The header, then groups of sealed chunks in a buffer that is used again for each.

        Raises `IntegrityError` where the source is not as long as it said, or not what it was when it was read before.
        """
        if self._whole is not None:
            return iter((self._whole,))
        return self._sealed(self._counted())

    def _counted(self) -> Iterator[BytesLike]:
        count = 0
        for piece in self._inner.chunks():
            count += len(piece)
            yield piece
        if self._inner.size is not None and count != self._inner.size:
            raise IntegrityError(f"the data have {count:,} bytes where {self._inner.size:,} were announced")
        self.plain_size = count

    def _sealed(self, pieces: Iterator[BytesLike] | list[BytesLike]) -> Iterator[BytesLike]:
        yield self._lead
        seal, number, used = self._payload.seal_into, 0, 0
        with memoryview(bytearray(_GROUP * SEALED)) as group:
            for chunk, last in in_chunks(pieces, CHUNK):
                used += seal(number, chunk, group[used:], last=last)
                number += 1
                if last or number % _GROUP == 0:
                    self._check((number - 1) // _GROUP, group[:used])
                    yield group[:used]
                    used = 0

    def _check(self, index: int, group: memoryview) -> None:
        """Refuse a group that was given out before as other bytes: the tags tell, at the ends of its chunks."""
        if not self.rewindable:
            return
        ends = (*range(SEALED, len(group), SEALED), len(group))
        digest = hashlib.blake2b(b"".join([group[end - TAG : end] for end in ends]), digest_size=_DIGEST).digest()
        known = self._digests[index * _DIGEST : (index + 1) * _DIGEST]
        if not known:
            self._digests += digest
        elif known != digest:
            raise IntegrityError("the source changed while it was read again; nothing was stored")
