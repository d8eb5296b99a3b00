"""Keys are exact: every awkward one comes back as it went in, and every forbidden one is refused before any I/O."""

from __future__ import annotations

from functools import partial
from typing import Final

from mediagit_storage.errors import InvalidKeyError, NotFoundError
from mediagit_storage.testing.conformance.base import BackendCase, Call, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import Unread
from mediagit_storage.testing.wrappers import CallLog
from mediagit_storage.types import Folder

__all__ = ["FORBIDDEN_KEYS", "RAW_KEYS", "WEIRD_KEYS", "KeyContract"]

#: Keys that every storage must hold: each has broken some software. No two share a folder name with an object name.
WEIRD_KEYS: Final = (
    " ",
    "  two",
    " leading",
    "trailing ",
    "trailing.",
    "...",
    "a .b",
    "s p/a c e",
    '"',
    "$HOME",
    "%",
    "%48%45",
    "HE",
    "%Q",
    "%25",
    "%2F",
    "a%2Fb",
    "test%46.txt",
    "%%",
    "&amp;",
    "I'm a < & weird path",
    "'",
    "<",
    ">",
    "_",
    "_ ",
    "_ _",
    "__",
    "+plus+",
    "a b+c",
    "#hash",
    "?query=1",
    "a?b",
    "a:b",
    "C:",
    "CON",
    "nul.txt",
    "back\\slash",
    "..\\x",
    "tilde~",
    "~",
    "-rf",
    "--",
    "*",
    "[set]",
    "{brace}",
    "|pipe",
    ";semi",
    "!bang",
    "@at",
    "=equals",
    ",comma",
    "(paren)",
    "^caret",
    "`tick`",
    ".hidden",
    "..dots",
    "dir./x",
    "dir /x",
    ".dir/x",
    "A",
    "a",
    "ß",
    "SS",
    "K",
    "\u212a",  # the Kelvin sign, which folds to k and normalises to K
    "\u00e9t\u00e9",  # composed
    "e\u0301te\u0301",  # decomposed
    "\ufb01",  # the ligature fi
    "fi",
    "\u20acuro",
    "a\u20ac",
    "\u65e5\u672c\u8a9e/\u30d5\u30a1\u30a4\u30eb",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629",  # from right to left
    "\u202eevil",  # an override of the direction
    "\U0001f600",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",  # a family, joined
    "\U0001f1e9\U0001f1ea",  # a flag of two letters
    "zero\u200bwidth",
    "\ufeffbom",
    "\u00a0nbsp\u00a0",
    "\u2028line",
    "\uff61",
    "\ufffd",
    "\U0010ffff",
    "1" * 200,
    "\u20ac" * 60,
)

#: Keys that no storage writes unless it was opened with raw keys.
FORBIDDEN_KEYS: Final = (
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    "//",
    ".",
    "..",
    "./a",
    "a/.",
    "a/./b",
    "../x",
    "a/../b",
    "a/../../x",
    "/etc/passwd",
    "packs/../../x",
    "nul\0byte",
    "bell\a",
    "tab\t",
    "line\nfeed",
    "carriage\rreturn",
    "delete\x7f",
    "next\x85line",
    "c1\x9f",
    "lone\ud800surrogate",
    "\udcff",
    "x" * 1025,
    "\u20ac" * 342,
)

#: Keys that other software leaves behind.
RAW_KEYS: Final = ("a//b", "folder/", "/lead", "./dot", "x/../y", "tab\there", "nl\n", "..", "//")


class KeyContract(BackendCase):
    """The same keys are taken and refused everywhere, and what is taken is kept byte for byte."""

    @covers(66, 67, 68, 71, 72, 73, 77, 78, 79)
    def test_awkward_keys_come_back_exactly(self) -> None:
        """Every awkward key is stored beside all the others, and read, seen and listed as itself."""
        bodies = {key: str(number).encode() for number, key in enumerate(WEIRD_KEYS)}
        for key, body in bodies.items():
            assert self.prepare.put(key, body).key == key
        assert self.keys() == sorted(WEIRD_KEYS, key=str.encode)
        for key, body in bodies.items():
            assert self.store.get(key) == body, f"{key!r} holds another object's bytes"
            assert self.store.stat(key).key == key
            assert key in self.keys(key), f"{key!r} is not found by itself as a prefix"
        assert sorted(self.walk(), key=str.encode) == self.keys()

    @covers(66, 68)
    def test_awkward_keys_can_be_copied_renamed_and_deleted(self) -> None:
        """The other calls take the same keys, as source and as target."""
        self.store.put("from", b"x")
        for key in WEIRD_KEYS:
            assert self.store.copy("from", key).key == key
            assert self.store.rename(key, key + "~moved").key == key + "~moved"
            assert self.store.copy(key + "~moved", key + "~twice").key == key + "~twice"
            assert self.store.get(key + "~twice") == b"x"
            self.store.delete(key + "~twice")
            self.store.delete(key + "~moved")
        assert self.keys() == ["from"], "something is left behind"

    @covers(72, 73, 68)
    def test_similar_keys_are_different_keys(self) -> None:
        """Writing one of two similar keys does not bring the other into being."""
        pairs = (
            ("\u00e9", "e\u0301"),
            ("A", "a"),
            ("\u0130", "i\u0307"),
            ("%41", "A"),
            ("a b", "a+b"),
            ("a ", "a"),
            ("a.", "a"),
            ("a%2Fb", "a_b"),
            ("a__b", "a_b"),
            ("\uff21", "A"),
        )
        for first, second in pairs:
            self.prepare.put(first, b"1")
            self.assert_absent(second)
            self.prepare.put(second, b"2")
            assert self.store.get(first) == b"1", f"{second!r} overwrote {first!r}"
            self.prepare.delete(second)
            assert self.store.get(first) == b"1", f"deleting {second!r} took {first!r}"
            self.prepare.delete(first)

    @covers(74)
    def test_long_keys(self) -> None:
        """The longest key in bytes, and segments around 255 bytes, are stored, or refused as invalid keys."""
        longest = self.store.capabilities.max_key_bytes
        keys = ["/".join(["s" * 100] * 11)[:longest].rstrip("/"), "\u20ac" * 85, "\u20ac" * 86, "t" * 255, "u" * 256]
        keys += ["v" * min(1024, longest)]
        for key in keys:
            try:
                self.prepare.put(key, b"long")
            except InvalidKeyError as error:
                self.assert_context(error, "put", key)
                self.assert_absent(key)
                assert len(max(key.split("/"), key=len).encode()) > 255, f"{len(key.encode())} bytes were refused"
                self.refusals.append("long_segments")
                continue
            assert self.store.get(key) == b"long"
            assert self.keys(key) == [key]
            self.prepare.delete(key)

    @covers(74, 75, 76, 169)
    def test_forbidden_keys_are_refused_before_any_io(self) -> None:
        """No way to write takes them; the backend is not called and the source not read."""
        log = CallLog(self.backend)
        store = self.beside(log)
        for key in FORBIDDEN_KEYS:
            source = Unread()
            calls: dict[str, Call] = {
                "put": partial(store.put, key, source),
                "copy": partial(store.copy, "k", key),
                "rename": partial(store.rename, "k", key),
            }
            for operation, call in calls.items():
                with raises(InvalidKeyError) as caught:
                    call()
                assert caught[0].operation == operation, f"{key!r}: {caught[0].operation!r}"
                assert caught[0].key == key
            with raises(InvalidKeyError):
                store.open(key, "wb")
            with raises(InvalidKeyError):
                store.presign(key, method="PUT")
            assert not source.touched
            [outcome] = store.put_many([(key, b"x")])
            assert isinstance(outcome.error, InvalidKeyError)
        assert [name for name in log.calls if name != "batch"] == []

    @covers(74)
    def test_a_key_longer_than_the_storage_takes(self) -> None:
        """The limit that the capabilities name is enforced for every way to write."""
        log = CallLog(self.backend)
        key = "x" * (self.store.capabilities.max_key_bytes + 1)
        source = Unread()
        with raises(InvalidKeyError):
            self.beside(log, keys="raw").put(key, source)
        assert not source.touched
        assert log.calls == []

    @covers(75, 76)
    def test_a_key_is_a_str(self) -> None:
        """Anything else is a `TypeError`."""
        for key in (b"bytes", 7, None):
            for call in (self.store.get, self.store.stat, self.store.delete, self.store.stream):
                with raises(TypeError):
                    call(key)  # type: ignore[arg-type]  # that is what is tested
            with raises(TypeError):
                self.store.put(key, b"x")  # type: ignore[arg-type]

    @covers(76, 169)
    def test_reading_is_liberal(self) -> None:
        """Looking for a key that cannot be written proves its absence; deleting it is fine. Nothing else is touched."""
        kept = self.fill(["a/b", "x/y"])
        for key in FORBIDDEN_KEYS:
            if not key or "\ud800" in key:
                continue
            for read in (self.store.get, self.store.stat, self.store.stream):
                with raises(NotFoundError):
                    read(key)
            assert not self.store.exists(key), f"{key!r} is said to exist"
            self.store.delete(key)
            assert self.keys(key) == [each for each in kept if each.startswith(key)]
            with raises(NotFoundError):
                self.store.copy(key, "copied")
        assert self.keys() == kept

    @covers(76)
    def test_raw_keys(self) -> None:
        """Opened with raw keys, a storage that can writes what strict keys forbid, exactly; one that cannot refuses."""
        store = self.beside(self.backend, keys="raw")
        if not self.has("raw_keys"):
            for key in RAW_KEYS:
                try:
                    store.put(key, b"raw")
                except InvalidKeyError:
                    self.assert_absent(key)
                else:
                    assert store.get(key) == b"raw"
                    assert self.keys(key) == [key]
                    store.delete(key)
            self.refusals.append("raw_keys")
            return
        for key in RAW_KEYS:
            assert store.put(key, key.encode()).key == key
        assert self.keys() == sorted(RAW_KEYS, key=str.encode)
        for key in RAW_KEYS:
            assert self.store.get(key) == key.encode(), "reading is liberal for everybody"
            assert self.store.stat(key).key == key
        assert sorted(self.walk_raw(), key=str.encode) == self.keys()
        self.store.copy("a//b", "copied")
        assert self.store.get("copied") == b"a//b"
        self.store.rename("folder/", "moved")
        for key in (*RAW_KEYS, "copied", "moved"):
            self.store.delete(key)
        assert self.keys() == []

    def walk_raw(self, prefix: str = "") -> list[str]:
        """Every key below a prefix, level by level, where objects may be named like folders."""
        found = list[str]()
        for each in self.store.list_dir(prefix):
            if isinstance(each, Folder):
                found += self.walk_raw(each.prefix)
            else:
                found.append(each.key)
        return found
