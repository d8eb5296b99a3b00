"""The `age` of the operating system reads what is written here, and what it writes is read here. See `make servers`."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
from mediagit_storage.layers.encrypt.key_writing import identity_text, write_new_file
from mediagit_storage.layers.encrypt.keyfiles import open_identity_file, parse_identities, read_key_file
from mediagit_storage.layers.encrypt.keys import generate_identity
from mediagit_storage.layers.encrypt.whole import decrypt
from mediagit_storage.secrets import Secret
from mediagit_storage.source import BytesSource
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.types import PutOptions

SIZES = (0, 1, 65535, 65536, 65537, 131072, 1_000_000)


@pytest.fixture(scope="module", autouse=True)
def age():
    """Where it is missing the tests are skipped, but for a run that gates changes."""
    if shutil.which("age") is None:
        if os.environ.get("CI"):
            pytest.fail("the Debian package age is not installed: make servers")
        pytest.skip("the Debian package age is not installed: make servers")


def run(*command: object, data: bytes = b"") -> bytes:
    done = subprocess.run([str(each) for each in command], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def key(tmp_path) -> Path:
    path = tmp_path / "my.key"
    write_new_file(path, identity_text(generate_identity(), None))
    return path


def layer(tmp_path: Path, key: Path, **options) -> EncryptLayer:
    (tmp_path / "store").mkdir(exist_ok=True)
    return EncryptLayer(LocalBackend(tmp_path / "store"), EncryptConfig(identity_file=str(key), **options))


def content(size: int) -> bytes:
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


@covers(178)
@pytest.mark.parametrize("bind", [False, True])
def test_age_reads_our_objects(tmp_path, key, bind):
    backend = layer(tmp_path, key, bind_keys=bind)
    for size in SIZES:
        backend.put("k", BytesSource(content(size)), PutOptions())
        assert run("age", "--decrypt", "-i", key, tmp_path / "store" / "k") == content(size)
    backend.close()


@covers(178)
def test_we_read_what_age_writes(tmp_path, key):
    [identity] = parse_identities(read_key_file(key), "")
    other = generate_identity().recipient()
    backend = layer(tmp_path, key)
    store = Storage(backend)
    for size in SIZES:
        sealed = run("age", "-r", other, "-r", identity.recipient(), data=content(size))
        backend.inner.put("k", BytesSource(sealed), PutOptions())
        assert store.get("k") == content(size)
        assert store.stat("k").size == size
        assert store.get("k", suffix=10) == content(size)[-10:]
    store.close()


def test_keys_of_age_are_ours_and_ours_are_its(tmp_path, key):
    made = tmp_path / "made.key"
    run("age-keygen", "-o", made)
    [identity] = parse_identities(read_key_file(made), "")
    assert run("age-keygen", "-y", made).decode().strip() == str(identity.recipient())
    [ours] = parse_identities(read_key_file(key), "")
    assert run("age-keygen", "-y", key).decode().strip() == str(ours.recipient())


def test_text_forms_of_age_are_read(tmp_path, key):
    """Of a key file that is protected by another key; under a passphrase, age would need a terminal."""
    protector = generate_identity()
    armored = run("age", "--armor", "-r", protector.recipient(), key)
    assert decrypt(armored, [protector]) == key.read_bytes()


def test_a_file_under_a_passphrase_of_ours_is_one_of_age(tmp_path):
    """Age asks for the passphrase on a terminal, so it gets one of its own."""
    path, opened = tmp_path / "protected.key", tmp_path / "opened"
    write_new_file(path, identity_text(generate_identity(), Secret("open sesame")))
    ours, theirs = pty.openpty()
    command = ["setsid", "--ctty", "--wait", "age", "--decrypt", "-o", str(opened), str(path)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = os.read(ours, 1000)
        os.write(ours, b"open sesame\n")
        code = process.wait(60)
        os.close(ours)
    assert code == 0, said.decode()
    assert opened.read_bytes() == open_identity_file(path, path.read_bytes(), Secret("open sesame"))
