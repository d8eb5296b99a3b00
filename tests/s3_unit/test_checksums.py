"""Digests in header fields: sent only where they are known to be taken, and believed only where they can be checked."""

from __future__ import annotations

import base64
import hashlib

import pytest

from mediagit_storage.backends.s3.checksums import (
    checksum_element,
    checksum_fields,
    chosen_checksum,
    stored_checksum,
)
from mediagit_storage.backends.s3.services import SERVICES, adjusted
from mediagit_storage.http.headers import Headers
from mediagit_storage.types import Checksum

AWS, GENERIC = SERVICES["aws"], SERVICES["generic"]
MD5 = Checksum("md5", hashlib.md5(b"x").digest())
SHA = Checksum("sha256", hashlib.sha256(b"x").digest())
CRC = Checksum("crc32c", b"\x01\x02\x03\x04")


def test_which_one_protects_an_upload():
    assert chosen_checksum(AWS, crc32c=True) == "crc32c"
    assert chosen_checksum(AWS, crc32c=False) == "sha256"
    assert chosen_checksum(GENERIC, crc32c=True) == "md5"
    assert chosen_checksum(adjusted(GENERIC, checksum="sha256"), crc32c=True) == "sha256"


def test_fields_go_only_where_they_are_taken():
    assert checksum_fields(AWS, CRC) == [("x-amz-checksum-crc32c", "AQIDBA==")]
    assert checksum_fields(AWS, MD5) == [("content-md5", base64.b64encode(MD5.digest).decode())]
    assert checksum_fields(AWS, SHA)[0][0] == "x-amz-checksum-sha256"
    for checksum in (CRC, SHA, Checksum("blake3", bytes(32))):
        assert checksum_fields(GENERIC, checksum) == []
    assert checksum_fields(GENERIC, MD5) != []


def test_elements_of_parts():
    assert checksum_element(CRC) == ("ChecksumCRC32C", "AQIDBA==")
    assert checksum_element(SHA) == ("ChecksumSHA256", base64.b64encode(SHA.digest).decode())
    assert checksum_element(MD5) is None


def field(checksum: Checksum) -> tuple[str, str]:
    return checksum_fields(AWS, checksum)[0]


def test_what_an_answer_carries():
    assert stored_checksum(Headers.of([field(CRC)])) == CRC
    assert stored_checksum(Headers.of([field(SHA)])) == SHA
    assert stored_checksum(Headers.of([field(CRC), ("x-amz-checksum-type", "FULL_OBJECT")])) == CRC
    assert stored_checksum(Headers.of([])) is None


@pytest.mark.parametrize(
    "fields",
    [
        [field(CRC), ("x-amz-checksum-type", "COMPOSITE")],
        [("x-amz-checksum-crc32c", "AQIDBA==-3")],
        [("x-amz-checksum-crc32c", "AQIDBAU=")],
        [("x-amz-checksum-crc32c", "")],
        [("x-amz-checksum-crc32c", "é")],
        [("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")],
    ],
)
def test_what_cannot_be_checked_is_left_out(fields):
    assert stored_checksum(Headers.of(fields)) is None
