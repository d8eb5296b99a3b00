"""Backends around a backend, for tests: one that writes down what it is asked, one that hides capabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, cast

from mediagit_storage.backend import StorageBackend
from mediagit_storage.capabilities import Capabilities
from mediagit_storage.layers.base import Layer

__all__ = ["CallLog", "WithoutCapabilities", "without_batch"]

_FREE_OF_IO = frozenset({"capabilities", "description", "connection_info", "close"})


@dataclass(frozen=True, slots=True)
class _NoOptions:
    """These wrappers are made in tests only and are configured by their arguments."""


class _Recorder:
    """Hands on every attribute of a backend, and remembers each method that is called."""

    def __init__(self, inner: StorageBackend, calls: list[str], before: Callable[[str], None]) -> None:
        self._inner = inner
        self._calls = calls
        self._before = before

    def __getattr__(self, name: str) -> object:
        if name not in _FREE_OF_IO:
            self._calls.append(name)
            self._before(name)
        return getattr(self._inner, name)


def _do_nothing(name: str) -> None:
    """The default of what happens before a call."""


class CallLog(Layer):
    """``calls`` holds the name of every method that could do I/O, in the order of the calls.

    ``before(name)`` runs before each and may wait or raise.
    """

    layer_name: ClassVar[str] = "call-log"

    def __init__(self, inner: StorageBackend, before: Callable[[str], None] = _do_nothing) -> None:
        self.calls: list[str] = []
        super().__init__(cast("StorageBackend", _Recorder(inner, self.calls, before)), _NoOptions())

    def __repr__(self) -> str:
        return f"<CallLog over {self.description}>"


class WithoutCapabilities(Layer):
    """``inner`` as if it could not do what is named: the flags say so, and the methods behind them are unreachable."""

    layer_name: ClassVar[str] = "without-capabilities"

    def __init__(self, inner: StorageBackend, *names: str) -> None:
        super().__init__(inner, _NoOptions())
        absent: dict[str, bool | frozenset[str]] = {
            name: frozenset() if isinstance(getattr(inner.capabilities, name), frozenset) else False for name in names
        }
        self._capabilities = replace(inner.capabilities, **absent)  # type: ignore[arg-type]  # the flags named

    @property
    def capabilities(self) -> Capabilities:
        """Those of the inner storage without the named ones."""
        return self._capabilities


def without_batch(inner: StorageBackend) -> WithoutCapabilities:
    """``inner`` with its native batch hidden, so that batches run in threads."""
    return WithoutCapabilities(inner, "batch")
