"""Every test vector of the age project behaves as it says. `make servers` fetches them; see TESTING.md."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import defaultdict
from pathlib import Path

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import DecryptionError, KeyUnavailableError
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
from mediagit_storage.layers.encrypt.armor import is_armored
from mediagit_storage.layers.encrypt.header import HeaderError, parse_header, write_header
from mediagit_storage.layers.encrypt.keys import PassphraseIdentity, parse_identity
from mediagit_storage.layers.encrypt.whole import decrypt
from mediagit_storage.secrets import Secret
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.stacking import TEST_IDENTITY
from mediagit_storage.types import PutOptions

FOLDER = Path(__file__).parents[2] / ".cache" / "age-vectors"
VECTORS = sorted(FOLDER.iterdir()) if FOLDER.is_dir() else []


class Vector:
    def __init__(self, path: Path) -> None:
        head, _, data = path.read_bytes().partition(b"\n\n")
        self.fields: defaultdict[str, list[str]] = defaultdict(list)
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            self.fields[name].append(value)
        self.data = zlib.decompress(data) if self.fields["compressed"] else data
        [self.expect] = self.fields["expect"]
        # One names no key at all; what it is opened with matters not.
        self.keys = "\n".join(self.fields["identity"]) or TEST_IDENTITY
        self.identities = [
            *(parse_identity(Secret(text)) for text in self.fields["identity"]),
            *(PassphraseIdentity(Secret(text)) for text in self.fields["passphrase"]),
        ]

    def check(self, plain: bytes) -> None:
        assert self.expect == "success"
        assert [hashlib.sha256(plain).hexdigest()] == self.fields["payload"]

    def check_error(self, error: DecryptionError) -> None:
        message = str(error)
        kinds = {
            "no match": isinstance(error, KeyUnavailableError),
            "header failure": isinstance(error, HeaderError),
            "HMAC failure": type(error) is DecryptionError and "MAC" in message,
            "payload failure": type(error) is DecryptionError,
            # What does not even begin like the text form is told to be no age file.
            "armor failure": "text form" in message or (isinstance(error, HeaderError) and "no age file" in message),
        }
        assert kinds[self.expect], f"expected: {self.expect}; came: {error!r}"


def test_the_vectors_are_there():
    if not VECTORS and not os.environ.get("CI"):
        pytest.skip("the test vectors of age are not here: make servers")
    assert len(VECTORS) >= 140


@pytest.fixture(params=VECTORS, ids=lambda path: path.name)
def vector(request) -> Vector:
    return Vector(request.param)


@covers(178, 181, 182, 183)
def test_files_in_memory(vector):
    try:
        plain = decrypt(vector.data, vector.identities)
    except DecryptionError as error:
        vector.check_error(error)
    else:
        vector.check(plain)


#: A passphrase is no recipient of objects, and those are never in the text form.
OBJECTS = [path for path in VECTORS if not path.name.startswith(("armor", "scrypt"))]


@covers(178, 188)
@pytest.mark.parametrize("vector", OBJECTS, ids=lambda path: path.name, indirect=True)
def test_objects(vector):
    """Read in one, in pieces and by ranges: the same as in memory, and of a damaged one not a wrong byte."""
    inner = MemoryBackend("vectors")
    inner.put("k", BytesSource(vector.data), PutOptions())
    config = EncryptConfig(identity=Secret(vector.keys))
    if len({type(each) for each in vector.identities}) > 1:
        config = EncryptConfig(identity=Secret(vector.keys), recipients=(str(vector.identities[0].recipient()),))
    store = Storage(EncryptLayer(inner, config))

    def in_pieces() -> bytes:
        parts: list[bytes] = []
        with store.stream("k") as body:
            parts.extend(body)
        return b"".join(parts)

    def by_ranges() -> bytes:
        size = store.stat("k").size
        assert size is not None
        return b"".join(store.get_ranges("k", [(start, 100_000) for start in range(0, size, 100_000)]))

    for read in (lambda: store.get("k"), in_pieces, by_ranges):
        try:
            plain = read()
        except DecryptionError as error:
            vector.check_error(error)
        else:
            vector.check(plain)


@covers(178)
def test_headers_are_written_as_they_were_read(vector):
    if is_armored(vector.data) or vector.expect in {"header failure", "HMAC failure", "armor failure"}:
        return
    header = parse_header(vector.data)
    [file_key] = vector.fields["file key"] or [""]
    if file_key and vector.expect == "success":
        assert write_header(header.stanzas, bytes.fromhex(file_key)) == vector.data[: header.length]
