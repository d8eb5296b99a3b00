"""The payload of an age file: chunks of 64 KiB under ChaCha20-Poly1305, sealed and opened into buffers of the caller's.

No chunk is copied on its way. The nonce of a chunk is its number, and says of the last one that it is the last: chunks
that are swapped, repeated, left out or cut off do not open.
"""

from __future__ import annotations

import io
import os
from typing import Final

from mediagit_storage.ending import Pool
from mediagit_storage.errors import DecryptionError
from mediagit_storage.layers.encrypt import primitives
from mediagit_storage.layers.encrypt.header import hkdf
from mediagit_storage.layers.encrypt.sizes import CHUNK, NONCE, SEALED, TAG, chunk_count
from mediagit_storage.types import BytesLike

__all__ = ["Payload"]

_LAST: Final = b"\x01"
_MORE: Final = b"\x00"
#: A payload of so many plain bytes is opened by as many threads as there are cores, up to a few.
_SIDE_BY_SIDE: Final = 8 * 1024 * 1024
_MOST_THREADS: Final = 4


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
        """The ``plain`` bytes of a whole payload, all of it proven; of a long one by several threads, one for each core.

        Raises `DecryptionError`.
        """
        # The one way to bytes that are written in place: getvalue() gives them without another copy.
        result = io.BytesIO(bytes(plain))
        final = chunk_count(plain) - 1
        with memoryview(sealed) as source, result.getbuffer() as target:
            self._open_full(source, target, final)
            target[final * CHUNK :] = self.open_chunk(final, source[final * SEALED :], last=True)
        return result.getvalue()

    def _open_full(self, source: memoryview, target: memoryview, count: int) -> None:
        """Open the chunks before the last one, side by side where that is worth the threads."""
        workers = min(_MOST_THREADS, os.cpu_count() or 1)
        if workers == 1 or count * CHUNK < _SIDE_BY_SIDE:
            self._open_run(source, target, range(count))
            return
        step = -(-count // workers)
        runs = (range(start, min(start + step, count)) for start in range(0, count, step))
        with Pool(workers, thread_name_prefix="mgs-decrypt") as threads:
            for done in [threads.submit(self._open_run, source, target, run) for run in runs]:
                done.result()

    def _open_run(self, source: memoryview, target: memoryview, numbers: range) -> None:
        open_into = self._cipher.decrypt_into
        for number in numbers:
            nonce, place, position = number.to_bytes(11, "big") + _MORE, number * CHUNK, number * SEALED
            try:
                open_into(nonce, source[position : position + SEALED], None, target[place : place + CHUNK])
            except self._invalid:
                raise _damaged(number, last=False) from None


def _damaged(number: int, *, last: bool) -> DecryptionError:
    where = "its last chunk" if last else f"its chunk {number:,}"
    why = "it is cut off, or bytes of it were changed" if last else "bytes of it were changed"
    return DecryptionError(
        f"the object is not what was encrypted: {where} does not authenticate ({why}); restore it from a copy"
    )
