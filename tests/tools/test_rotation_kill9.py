"""A rotation is killed at any moment, again and again: every object stays whole, and what was done is not done again."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest

from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.errors import KeyUnavailableError
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
from mediagit_storage.layers.encrypt.keys import generate_identity
from mediagit_storage.storage import Storage
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.killed_processes import kill_after
from mediagit_storage.testing.sources import content
from mediagit_storage.types import Attributes

#: Rotates a folder, and says each key before it is written and again once it is.
ROTATOR = """
import os, sys
from mediagit_storage.backends.local import LocalBackend
from mediagit_storage.layers.base import Layer
from mediagit_storage.layers.encrypt import EncryptConfig, EncryptLayer
from mediagit_storage.layers.prefix import PrefixConfig
from mediagit_storage.secrets import Secret
from mediagit_storage.storage import Storage
from mediagit_storage.tools.rotation import RotationRules, rotate_keys

folder, recipient, identities = sys.argv[1:]

def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())

class Telling(Layer):
    layer_name = "telling"

    def put(self, key, source, options):
        say("begin", key)
        info = self.inner.put(key, source, options)
        say("done", key)
        return info

backend = Telling(LocalBackend(folder), PrefixConfig("unused"))
config = EncryptConfig(recipients=(recipient,), identity=Secret(identities.replace(",", "\\n")))
failed = [each.key for each in rotate_keys(Storage(EncryptLayer(backend, config))) if each.error is not None]
say("end", *failed)
"""

OBJECTS = 24


def sizes() -> dict[str, int]:
    """Small ones, and some that are streamed."""
    return {f"f{number % 4}/k{number:02}": 1_300_000 if number % 10 == 0 else number * 997 for number in range(OBJECTS)}


def opened(folder: Path, identity, recipients=None) -> Storage:
    names = tuple(str(each.recipient()) for each in recipients or [identity])
    return Storage(EncryptLayer(LocalBackend(folder), EncryptConfig(recipients=names, identity=identity.secret)))


def attributes(key: str) -> Attributes:
    return Attributes(content_type="image/png", metadata={"name": key})


def killed(folder: Path, recipient: str, identities: str, lines: int) -> tuple[dict[str, int], bool]:
    """Run until so many lines were said, then kill: what was said of each key, and whether it came to its end."""
    said: dict[str, int] = defaultdict(int)
    command = [sys.executable, "-c", ROTATOR, str(folder), recipient, identities]
    with closing(kill_after(command, lines)) as printed:
        for line in printed:
            what, *keys = line.split()
            if what == "end":
                assert keys == []
                return said, True
            [key] = keys
            assert said[key] < 2, f"{key} was written again"
            said[key] = 2 if what == "done" else 1
    return said, False


def rounds(folder: Path, count: int) -> int:
    """Rotate a folder to new keys until so many runs were killed; how often it was rotated to its end."""
    chance, complete = random.Random(7), 0
    old, done = generate_identity(), set[str]()
    with opened(folder, old) as store:
        for key, size in sizes().items():
            store.put(key, content(size), attributes=attributes(key))
    new = generate_identity()
    while count or done:
        # Within the first lines mostly, so that a folder takes several runs; the last run is not killed.
        lines = chance.randrange(1, OBJECTS) if count else 0
        identities = f"{old.secret.reveal()},{new.secret.reveal()}"
        said, ended = killed(folder, str(new.recipient()), identities, lines)
        count -= count > 0
        assert done.isdisjoint(said), "what was done is not done again"
        rotated = look(folder, old, new)
        assert {key for key, state in said.items() if state == 2} <= rotated - done <= set(said)
        done = rotated
        if ended:
            assert done == set(sizes())
            complete += 1
            old, new, done = new, generate_identity(), set()
    return complete


def look(folder: Path, old, new) -> set[str]:
    """What opens by the new key, and by that alone; everything else opens by the old one, and all of it is whole."""
    rotated = set()
    with opened(folder, old) as before, opened(folder, new) as after:
        assert [info.key for info in after.list()] == sorted(sizes())
        for key, size in sizes().items():
            try:
                store, data = before, before.get(key)
            except KeyUnavailableError:
                rotated.add(key)
                store, data = after, after.get(key)
            assert data == content(size)
            assert store.stat(key).attributes == attributes(key)
    return rotated


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MGS_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "objects"
    path.mkdir()
    return path


@covers(193, 197)
def test_a_rotation_that_is_killed_three_times(folder):
    assert rounds(folder, 3) >= 1
    assert [*(folder.parent / "state" / "transfers").glob("*.json")] == []


@pytest.mark.long
@pytest.mark.timeout(1800)
@covers(193, 197)
def test_a_rotation_that_is_killed_fifty_times(folder):
    assert rounds(folder, 50) >= 3
