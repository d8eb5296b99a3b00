"""Presigned links: made without I/O, for one thing, for a while."""

from __future__ import annotations

from mediagit_storage.errors import ConfigError, UnsupportedError
from mediagit_storage.testing.conformance.base import BackendCase, raises
from mediagit_storage.testing.conformance.keys import WEIRD_KEYS
from mediagit_storage.testing.covers import covers
from mediagit_storage.testing.wrappers import CallLog
from mediagit_storage.types import PresignMethod

__all__ = ["LinkContract"]

_METHODS: tuple[PresignMethod, ...] = ("GET", "PUT", "DELETE")


class LinkContract(BackendCase):
    """`presign`. Whether links are honoured is tested where there is something to honour them."""

    @covers(110, 113)
    def test_each_method_is_signed_or_refused(self) -> None:
        """A link for each method that the capabilities name, an `UnsupportedError` for the others."""
        for method in _METHODS:
            if method in self.store.capabilities.presign:
                link = self.store.presign("a/b", method=method)
                assert "://" in link
                assert link != self.store.presign("a/c", method=method)
            else:
                log = CallLog(self.backend)
                with raises(UnsupportedError):
                    self.beside(log).presign("a/b", method=method)
                assert log.calls == []
                self.refusals.append(f"presign: {method}")

    @covers(113)
    def test_signing_makes_no_io(self) -> None:
        """A link can be made for an object that is not there."""
        log = CallLog(self.backend)
        for method in self.store.capabilities.presign:
            self.beside(log).presign("not/there", method=method)
        assert set(log.calls) <= {"presign"}

    @covers(111)
    def test_times_that_make_no_sense(self) -> None:
        """Zero, negative and absurd times are refused."""
        for method in self.store.capabilities.presign:
            for expires in (0, -1, -0.5):
                with raises(ConfigError):
                    self.store.presign("k", method=method, expires=expires)

    @covers(66, 112)
    def test_awkward_keys_in_links(self) -> None:
        """Each awkward key has a link of its own, in ASCII."""
        for method in self.store.capabilities.presign:
            links = [self.store.presign(key, method=method) for key in WEIRD_KEYS]
            assert len(set(links)) == len(links)
            assert all(link.isascii() and link.isprintable() and " " not in link for link in links)
