"""The payload of an age file: chunks of 64 KiB under ChaCha20-Poly1305, sealed and opened into buffers of the caller's.

No chunk is copied on its way. The nonce of a chunk is its number, and says of the last one that it is the last: chunks
that are swapped, repeated, left out or cut off do not open.
"""

from __future__ import annotations

import io
from typing import Final

from mediagit_storage.errors import DecryptionError
from mediagit_storage.layers.encrypt import primitives
from mediagit_storage.layers.encrypt.header import hkdf
from mediagit_storage.layers.encrypt.sizes import CHUNK, NONCE, SEALED, TAG, chunk_count
from mediagit_storage.types import BytesLike

__all__ = ["Payload"]

_LAST: Final = b"\x01"
_MORE: Final = b"\x00"


class Payload:
    """The chunks of one object under its file key. Holds no position: threads may share it."""

    __slots__ = ("_cipher", "_invalid", "nonce")

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # an extra

        if len(nonce) != NONCE:
            raise ValueError(f"a nonce has {NONCE} bytes")
        self.nonce = nonce
        self._cipher = primitives.chacha20_poly1305(hkdf(file_key, nonce, b"payload"))
        self._invalid = InvalidTag

    def seal_into(self, number: int, plain: BytesLike, target: memoryview, *, last: bool) -> int:
        """Write chunk ``number``, sealed, to the start of ``target``; its length."""
        size = len(plain) + TAG
        self._cipher.encrypt_into(number.to_bytes(11, "big") + (_LAST if last else _MORE), plain, None, target[:size])
        return size

    def open_chunk(self, number: int, sealed: BytesLike, *, last: bool) -> bytes:
        """The plain bytes of chunk ``number``. Raises `DecryptionError` where it is not what was sealed."""
        try:
            return self._cipher.decrypt(number.to_bytes(11, "big") + (_LAST if last else _MORE), sealed, None)
        except self._invalid:
            raise _damaged(number, last=last) from None

    def open_all(self, sealed: BytesLike, plain: int) -> bytes:
        """The ``plain`` bytes of a whole payload, all of it proven. Raises `DecryptionError`."""
        # The one way to bytes that are written in place: getvalue() gives them without another copy.
        result = io.BytesIO(bytes(plain))
        final, position = chunk_count(plain) - 1, 0
        open_into, more = self._cipher.decrypt_into, _MORE
        with memoryview(sealed) as source, result.getbuffer() as target:
            for number in range(final):
                nonce = number.to_bytes(11, "big") + more
                place = number * CHUNK
                try:
                    open_into(nonce, source[position : position + SEALED], None, target[place : place + CHUNK])
                except self._invalid:
                    raise _damaged(number, last=False) from None
                position += SEALED
            rest = self.open_chunk(final, source[position:], last=True)
            target[final * CHUNK :] = rest
        return result.getvalue()


def _damaged(number: int, *, last: bool) -> DecryptionError:
    where = "its last chunk" if last else f"its chunk {number:,}"
    why = "it is cut off, or bytes of it were changed" if last else "bytes of it were changed"
    return DecryptionError(
        f"the object is not what was encrypted: {where} does not authenticate ({why}); restore it from a copy"
    )
