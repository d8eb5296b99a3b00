"""Versions and retention, where the storage has them; refused where it has not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mediagit_storage.errors import NotFoundError, PermissionDeniedError
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.types import Attributes, Retention

__all__ = ["VersionContract"]


class VersionContract(BackendCase):
    """Old versions can be listed, read, copied and deleted; protected ones cannot be lost."""

    @covers(44)
    def test_versions_are_refused_where_there_are_none(self) -> None:
        """Every call that names a version is an `UnsupportedError` before any I/O."""
        if self.has("versions"):
            return
        self.refused("versions", lambda store, _: store.get("k", version="1"))
        self.refused("versions", lambda store, _: store.stream("k", version="1"))
        self.refused("versions", lambda store, _: store.stat("k", version="1"))
        self.refused("versions", lambda store, _: store.open("k", version="1"))
        self.refused("versions", lambda store, _: store.get_ranges("k", [(0, 1)], version="1"))
        self.refused("versions", lambda store, _: store.list(versions=True))
        self.refused("versions", lambda store, _: store.delete("k", version="1"))
        self.refused("versions", lambda store, _: store.copy("k", "l", version="1"))
        self.refused("versions", lambda store, _: store.delete_versions([("k", "1")]))
        self.refused("versions", lambda store, _: store.create(versioning=True))

    @covers(8, 11)
    def test_every_version_stays(self) -> None:
        """Overwrites and deletes keep what was there; each version is read, listed newest first, and deleted by name."""
        if not self.has("versions"):
            return
        self.prepare.create(versioning=True)
        names = [self.prepare.put("k", str(number).encode()).version for number in range(3)]
        self.prepare.put("k/other", b"x")
        assert None not in names
        assert len(set(names)) == 3
        self.prepare.delete("k")
        self.assert_absent("k")
        assert self.keys() == ["k/other"]
        listed = [each for each in self.store.list("k", versions=True) if each.key == "k"]
        assert [each.deleted for each in listed] == [True, False, False, False]
        assert [each.version for each in listed[1:]] == names[::-1]
        for number, name in enumerate(names):
            assert name is not None
            assert self.store.get("k", version=name) == str(number).encode()
            assert self.store.stat("k", version=name).size == 1
            with self.store.open("k", version=name) as file:
                assert file.read() == str(number).encode()
        with raises(NotFoundError):
            self.store.get("k", version="made-up")
        assert names[0] is not None
        self.prepare.copy("k", "restored", version=names[0])
        assert self.store.get("restored") == b"0"
        self.prepare.delete("k", version=names[0])
        with raises(NotFoundError):
            self.store.get("k", version=names[0])
        assert self.store.get("k", version=names[1] or "") == b"1"
        self.prepare.delete("k", version=listed[0].version)
        assert self.store.get("k") == b"2", "without its deletion mark the object is back"

    @covers(8, 11)
    def test_an_old_version_is_brought_back_by_a_copy_onto_its_key(self) -> None:
        """It becomes the newest, attributes included, over a later version as over a deletion; the others stay."""
        if not self.has("versions"):
            return
        self.prepare.create(versioning=True)
        attributes = self.limited(Attributes(content_type="text/plain", metadata={"written": "first"}))
        first = self.prepare.put("k", b"first", attributes=attributes).version
        second = self.prepare.put("k", b"second").version
        self.prepare.copy("k", "k", version=first)
        assert self.store.get("k") == b"first"
        assert self.store.stat("k").attributes == attributes
        self.prepare.delete("k")
        self.assert_absent("k")
        self.prepare.copy("k", "k", version=second)
        assert self.store.get("k") == b"second"
        listed = [*self.store.list("k", versions=True)]
        assert not listed[0].deleted, "the latest version comes first"
        assert len(listed) == 5, "the mark of the deletion stays, too"
        assert [each.version for each in listed if not each.deleted][2:] == [second, first]

    @covers(11, 12)
    def test_deleting_many_versions(self) -> None:
        """Those named go for good, deletion marks too, in the order given; every other version of the key stays."""
        if not self.has("versions"):
            return
        self.prepare.create(versioning=True)
        for key in ("a", "b"):
            for number in range(3):
                self.prepare.put(key, str(number).encode())
        self.prepare.delete("b")
        versions = {key: [*self.store.list(key, versions=True)] for key in ("a", "b")}
        chosen = [*versions["a"][1:], versions["b"][0], versions["b"][2]]
        named = [(each.key, each.version or "") for each in chosen]
        outcomes = [*self.prepare.delete_versions(named)]
        assert [(each.key, each.error) for each in outcomes] == [(key, None) for key, _ in named]
        left = [(each.key, each.version) for each in self.store.list(versions=True)]
        kept = (versions["a"][0], versions["b"][1], versions["b"][3])
        assert left == [(each.key, each.version) for each in kept]
        assert self.store.get("a") == b"2"
        assert self.store.get("b") == b"2", "without its deletion mark the object is back"

    @covers(11)
    def test_switching_versions_off_loses_nothing(self) -> None:
        """Versions stay readable; deleted objects are gone for plain reads."""
        if not self.has("versions"):
            return
        self.prepare.create(versioning=True)
        name = self.prepare.put("k", b"kept").version
        self.prepare.create(versioning=False)
        self.prepare.put("k", b"plain")
        assert self.store.get("k") == b"plain"
        self.prepare.delete("k")
        self.assert_absent("k")
        assert self.store.get("k", version=name) == b"kept"

    @covers(44)
    def test_retention(self) -> None:
        """A protected object cannot be deleted nor overwritten; without the capability it is refused at once."""
        until = datetime.now(UTC) + timedelta(days=1)
        held = Retention("governance", until)
        if not self.has("retention"):
            self.refused("retention", lambda store, source: store.put("k", source, retention=held))
            self.refused("retention", lambda store, source: store.put("k", source, legal_hold=True))
            return
        for number, options in enumerate(({"retention": held}, {"legal_hold": True})):
            key = f"k{number}"
            version = self.prepare.put(key, b"x", **options).version  # type: ignore[arg-type]
            with raises(PermissionDeniedError):
                self.prepare.delete(key, version=version)
            assert self.store.get(key, version=version) == b"x"
            if version is None:
                with raises(PermissionDeniedError):
                    self.prepare.put(key, b"y")
                assert self.store.get(key) == b"x"
