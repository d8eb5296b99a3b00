"""Attributes: what is kept comes back, what cannot be kept is refused and never dropped."""

from __future__ import annotations

import gzip
from dataclasses import replace

from mediagit_storage.backend import BatchLimits, Content, ReadOperation
from mediagit_storage.errors import ConfigError, LimitExceededError, UnsupportedError
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.sources import Unread
from mediagit_storage.types import WHOLE, Attributes, ByteRange, ReadOptions

__all__ = ["MetadataContract"]

_ALL = Attributes(
    content_type="text/plain; charset=utf-8",
    cache_control="max-age=60, immutable",
    content_encoding="gzip",
    content_disposition='attachment; filename="a b.txt"',
    metadata={"author": "someone", "x-y_z.1": "two  words", "empty": ""},
    tags={"team": "media", "a+b": "c/d"},
)
_WEIRD_VALUES = (" leading", "trailing ", "a=b;c,d", "%41", "é", "e\u0301", "日本語", "😀", "x" * 500, '"quoted"', "\\")


class MetadataContract(BackendCase):
    """Every attribute that the capabilities name makes the round trip, through each way to write."""

    @covers(82)
    def test_all_attributes_make_the_round_trip(self) -> None:
        """Together and each alone, through put, put_many and a writer."""
        everything = replace(_ALL, storage_class=self.storage_class)
        whole = self.limited(everything)
        self.store.put("k", b"x", attributes=whole)
        assert self.store.stat("k").attributes == whole
        for name in sorted(self.store.capabilities.attributes):
            alone = Attributes(**{name: getattr(everything, name)})
            self.store.put("k", iter([b"x"]), attributes=alone)
            assert self.store.stat("k").attributes == alone, f"only {name}"
        self.store.put_many([("m", b"x")], attributes=whole).run()
        assert self.store.stat("m").attributes == whole
        with self.store.open("w", "wb", attributes=whole) as file:
            file.write(b"x")
        assert self.store.stat("w").attributes == whole

    @covers(82)
    def test_attributes_come_with_a_read_that_asks_for_them(self) -> None:
        """Through each way to read, whole and in part, also of an empty object; the same that a look tells."""
        whole = self.limited(replace(_ALL, storage_class=self.storage_class))
        for key, data in (("full", b"content"), ("empty", b"")):
            self.store.put(key, data, attributes=whole)
            self.store.put(f"plain-{key}", data)
        for key, expected in (("full", whole), ("empty", whole), ("plain-full", None), ("plain-empty", None)):
            told = self.store.stat(key).attributes if expected is None else expected
            for wanted in (WHOLE, ByteRange(suffix=3), ByteRange(length=0)):
                options = ReadOptions(wanted, attributes=True)
                assert self.backend.read(key, options).info.attributes == told, f"read {key} {wanted}"
                with self.backend.stream(key, options) as body:
                    assert body.info.attributes == told, f"stream {key} {wanted}"
                if self.backend.capabilities.batch:
                    (done,) = self.backend.batch(iter([ReadOperation(key, options)]), BatchLimits())
                    assert isinstance(done.value, Content), done.error
                    assert done.value.info.attributes == told, f"batch {key} {wanted}"

    @covers(82, 44)
    def test_what_cannot_be_kept_is_refused(self) -> None:
        """An attribute that the storage does not keep is an `UnsupportedError` before a byte is read."""
        for name in sorted(set(Attributes.__slots__) - self.store.capabilities.attributes):
            alone = Attributes(**{name: getattr(replace(_ALL, storage_class=self.storage_class), name)})
            source = Unread()
            for call in (
                lambda alone=alone, source=source: self.store.put("k", source, attributes=alone),
                lambda alone=alone: self.store.copy("k", "l", attributes=alone),
                lambda alone=alone: self.store.open("k", "wb", attributes=alone),
                lambda alone=alone: self.store.put_many([("k", b"x")], attributes=alone).run(),
            ):
                with raises(UnsupportedError):
                    call()
            assert not source.touched
            self.refusals.append(f"attributes: {name}")
        assert self.keys() == []

    @covers(83)
    def test_weird_values(self) -> None:
        """Values beyond ASCII, with spaces at their ends, quotes and percent signs come back exactly."""
        if "metadata" not in self.store.capabilities.attributes:
            self.refusals.append("attributes: metadata")
            return
        for value in _WEIRD_VALUES:
            self.store.put("k", b"x", attributes=Attributes(metadata={"name": value}))
            found = self.store.stat("k").attributes
            assert found is not None
            assert dict(found.metadata) == {"name": value}

    @covers(83)
    def test_names_are_lowered_and_checked(self) -> None:
        """Names come back in lower case; empty ones, others than tokens, reserved ones and twins are refused."""
        if "metadata" not in self.store.capabilities.attributes:
            self.refusals.append("attributes: metadata")
            return
        self.store.put("k", b"x", attributes=Attributes(metadata={"Camera-Model": "X"}))
        found = self.store.stat("k").attributes
        assert found is not None
        assert dict(found.metadata) == {"camera-model": "X"}
        for wrong in ({"": "x"}, {"a b": "x"}, {"é": "x"}, {"A": "1", "a": "2"}, {"mgs-own": "x"}, {"MGS-own": "x"}):
            source = Unread()
            with raises(ConfigError):
                self.store.put("k", source, attributes=Attributes(metadata=wrong))
            assert not source.touched

    @covers(88, 83)
    def test_control_characters_cannot_forge_anything(self) -> None:
        """CR, LF, NUL and lone surrogates are refused in every attribute, before a byte is read."""
        for bad in ("a\r\nx-forged: 1", "a\nb", "a\0b", "a\x7fb", "\ud800"):
            for attributes in (
                Attributes(content_type=bad),
                Attributes(cache_control=bad),
                Attributes(content_disposition=bad),
                Attributes(content_encoding=bad),
                Attributes(storage_class=bad),
                Attributes(metadata={"name": bad}),
                Attributes(metadata={bad: "value"}),
                Attributes(tags={"name": bad}),
                Attributes(tags={bad: "value"}),
            ):
                source = Unread()
                with raises(ConfigError):
                    self.store.put("k", source, attributes=attributes)
                assert not source.touched
        self.assert_absent("k")

    @covers(84)
    def test_put_guesses_nothing(self) -> None:
        """`put` keeps no content type that nobody gave; `upload` guesses one from the key, and an explicit one wins."""
        self.store.put("picture.png", b"x")
        assert self.store.stat("picture.png").attributes == Attributes()
        path = self.folder / "picture"
        path.write_bytes(b"x")
        self.store.upload(path, "uploaded.png")
        found = self.store.stat("uploaded.png").attributes
        assert found is not None
        if "content_type" not in self.store.capabilities.attributes:
            assert found.content_type is None
            self.refusals.append("attributes: content_type")
            return
        assert found.content_type == "image/png"
        self.store.upload(path, "uploaded.png", attributes=Attributes(content_type="image/x-own"))
        assert self.store.stat("uploaded.png").attributes == Attributes(content_type="image/x-own")

    @covers(86)
    def test_much_metadata_is_kept_whole_or_refused(self) -> None:
        """Far more metadata than any provider takes is stored exactly, or refused with nothing stored."""
        if "metadata" not in self.store.capabilities.attributes:
            self.refusals.append("attributes: metadata")
            return
        huge = Attributes(metadata={f"name-{number}": "v" * 1000 for number in range(100)})
        source = Unread()
        try:
            self.store.put("k", source, attributes=huge)
        except LimitExceededError:
            assert not source.touched, "the source was read before the refusal"
            self.assert_absent("k")
            self.refusals.append("large metadata")
        else:
            assert self.store.stat("k").attributes == huge

    @covers(87)
    def test_an_encoded_body_is_not_decoded(self) -> None:
        """With a content encoding of gzip the bytes come back as they were stored."""
        body = gzip.compress(b"text" * 1000)
        self.store.put("k.gz", body, attributes=self.limited(Attributes(content_encoding="gzip")))
        assert self.store.get("k.gz") == body
        assert b"".join(self.store.stream("k.gz")) == body
        assert self.store.stat("k.gz").size == len(body)
