"""What blocks say about themselves: a CRC64 where the service compares it, else an MD5, never both, never nothing."""

from __future__ import annotations

import base64
import hashlib
import sys

import pytest
from awscrt.checksums import crc64nvme

from mediagit_storage.backends.azure.services import address_of
from mediagit_storage.backends.azure.shapes import checksum_field
from mediagit_storage.errors import ChecksumError, ConfigError
from mediagit_storage.hashing import new_hasher
from mediagit_storage.testing.sources import content
from mediagit_storage.types import Checksum

from .answers import created, header, refused

KIB = 1024
BLOCKS = {"part_size": 64 * KIB, "multipart_threshold": 64 * KIB}
DATA = content(150 * KIB)
ROUTES = (("comp=blocklist", created('"0x7"')), ("comp=block", created()))


def crc64(data):
    """As the service writes it: Base64 of the bytes from the lowest on."""
    return base64.b64encode(crc64nvme(data).to_bytes(8, "little")).decode()


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def sent(server):
    """The two fields of each block, by its bytes."""
    blocks = [each for each in server.received if b"blockid=" in each]
    fields = ("x-ms-content-crc64", "content-md5")
    return {each.partition(b"\r\n\r\n")[2]: tuple(header(each, name) for name in fields) for each in blocks}


def expected(crc=False):
    pieces = [DATA[start : start + 64 * KIB] for start in range(0, len(DATA), 64 * KIB)]
    return {piece: (crc64(piece), None) if crc else (None, md5(piece)) for piece in pieces}


@pytest.mark.parametrize("kind", ["bytes", "file", "stream"])
def test_blocks_carry_a_crc64(routed, tmp_path, kind):
    store, server = routed(*ROUTES, **BLOCKS)
    if kind == "file":
        (tmp_path / "file").write_bytes(DATA)
        store.upload(tmp_path / "file", "k")
    else:
        store.put("k", DATA if kind == "bytes" else iter([DATA]))
    assert sent(server) == expected(crc=True)
    assert b"x-ms-content-crc64" not in server.received[-1], "the list of blocks is small and has an MD5"


@pytest.mark.parametrize("options", [{"service": "azurite"}, {"block_checksum": "md5"}])
def test_where_nobody_compares_it_an_md5(routed, options):
    store, server = routed(*ROUTES, **BLOCKS, **options)
    store.put("k", DATA)
    assert sent(server) == expected()


@pytest.mark.parametrize("missing", ["awscrt", "awscrt.checksums"])
def test_without_the_library_or_with_a_broken_one_an_md5(routed, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "awscrt":
        monkeypatch.delitem(sys.modules, "awscrt.checksums")
    store, server = routed(*ROUTES, **BLOCKS)
    store.put("k", DATA)
    assert sent(server) == expected()


@pytest.mark.parametrize(
    ("endpoint", "service", "crc"),
    [
        (None, None, True),
        ("https://a.blob.core.windows.net", None, True),
        ("https://a.blob.core.chinacloudapi.cn", None, True),
        ("https://a.blob.example.org", None, False),
        ("https://a.blob.example.org", "azure", True),
        ("http://127.0.0.1:10000/a", None, False),
    ],
)
def test_who_is_known_to_compare_a_crc64(endpoint, service, crc):
    address = address_of("container", "a", endpoint=endpoint, allow_http=True, service=service)
    assert address.service.crc64 is crc


def test_a_library_that_is_too_old(routed, monkeypatch):
    monkeypatch.delattr("awscrt.checksums.crc64nvme")
    store, server = routed(*ROUTES, **BLOCKS)
    store.put("k", DATA)
    assert sent(server) == expected()


def test_what_fits_into_one_request_has_an_md5(play):
    """It is kept with the object, so that reads are checked by it."""
    store, server = play(created(), **BLOCKS)
    store.put("k", DATA[: 64 * KIB])
    assert (header(server.received[0], "content-md5"), header(server.received[0], "x-ms-content-crc64")) == (
        md5(DATA[: 64 * KIB]),
        None,
    )


def test_a_block_that_was_damaged_is_told(routed):
    store, _ = routed(("comp=block", refused(400, "Crc64Mismatch")), ("DELETE", refused(404, "BlobNotFound")), **BLOCKS)
    with pytest.raises(ChecksumError):
        store.put("k", DATA)


@pytest.mark.parametrize("wrong", ["sha256", "CRC64", ""])
def test_other_names(opened, wrong):
    with pytest.raises(ConfigError, match="crc64 or md5"):
        opened("http://127.0.0.1:1", block_checksum=wrong)


def test_the_known_value():
    """That of the catalogue of CRCs, for CRC-64/NVME; the service has its bytes the other way round."""
    hasher = new_hasher("crc64nvme")
    hasher.update(b"1234")
    hasher.update(b"56789")
    assert hasher.digest().hex() == "ae8b14860a799888"
    name, value = checksum_field(Checksum("crc64nvme", hasher.digest()))
    assert (name, base64.b64decode(value).hex()) == ("x-ms-content-crc64", "8898790a86148bae")
