"""Whole age files in memory: what identity files that a passphrase protects are."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mediagit_storage.layers.encrypt.armor import dearmored, is_armored
from mediagit_storage.layers.encrypt.header import HeaderError, parse_header, write_header
from mediagit_storage.layers.encrypt.keys import FILE_KEY, Identity, Recipient, unwrap
from mediagit_storage.layers.encrypt.payload import Payload
from mediagit_storage.layers.encrypt.sizes import CHUNK, NONCE, chunk_count, plain_size, stored_size

__all__ = ["decrypt", "encrypt"]


def encrypt(plain: bytes, recipients: Sequence[Recipient]) -> bytes:
    """The age file, in its binary form, that holds ``plain`` for ``recipients``."""
    file_key = os.urandom(FILE_KEY)
    payload = Payload(file_key, os.urandom(NONCE))
    head = write_header((recipient.wrap(file_key) for recipient in recipients), file_key)
    result = bytearray(stored_size(len(plain), len(head)))
    position = len(head) + NONCE
    result[:position] = head + payload.nonce
    count = chunk_count(len(plain))
    with memoryview(result) as target:
        for number in range(count):
            piece = plain[number * CHUNK : (number + 1) * CHUNK]
            position += payload.seal_into(number, piece, target[position:], last=number == count - 1)
    return bytes(result)


def decrypt(data: bytes, identities: Sequence[Identity]) -> bytes:
    """Undo `encrypt`, also in the text form. Raises `DecryptionError`: `KeyUnavailableError`, `HeaderError`, or damage."""
    binary = dearmored(data) if is_armored(data) else data
    header = parse_header(binary)
    file_key = unwrap(header, identities)
    start = header.length + NONCE
    if len(binary) < start:
        raise HeaderError("the file ends before its first chunk")
    size = plain_size(len(binary), header.length)
    with memoryview(binary) as view:
        return Payload(file_key, binary[header.length : start]).open_all(view[start:], size)
