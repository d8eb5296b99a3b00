"""What a command works with: its storages, its output, and a scope that ends with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from mediagit_storage.backend import BatchLimits, StorageBackend
from mediagit_storage.cli.framework import Run
from mediagit_storage.cli.interrupts import cancelling
from mediagit_storage.cli.left_out import LeftOut
from mediagit_storage.cli.output import Output
from mediagit_storage.config import load_profiles
from mediagit_storage.errors import ConfigError
from mediagit_storage.events import Event, on_event
from mediagit_storage.opening import LiteralSecretWarning, locate, open_storage
from mediagit_storage.registry import backend_entry
from mediagit_storage.scope import scope
from mediagit_storage.storage import Storage
from mediagit_storage.tools.places import is_on_this_machine
from mediagit_storage.types import JSON
from mediagit_storage.url import parse_url, profile_part

if TYPE_CHECKING:
    from mediagit_storage.layers.throttle import ThrottleLayer

__all__ = ["Place", "Session", "object_key", "session"]

#: What the parts of a stream may take in memory together, in bytes: the whole command stays below 100 MiB.
_STREAM_BUFFER: Final = 32 * 1024 * 1024


class Place:
    """An argument, understood: a storage that is open, and a key in it.

    ``text`` is what was typed; ``contents`` is true where it ends with ``/``.
    """

    def __init__(self, text: str, store: Storage, key: str) -> None:
        self.text = text
        self.store = store
        self.key = key

    def object_key(self) -> str:
        """The key, where a command needs that of an object."""
        return object_key(self.text, self.key)

    @property
    def contents(self) -> bool:
        """Whether the argument ends with a slash; options of a URL may stand behind it."""
        return self.text.endswith("/") or self.key.endswith("/")


def object_key(text: str, key: str) -> str:
    """The key in the argument ``text``; a `ConfigError` where it names a whole storage."""
    if not key:
        raise ConfigError(f"{text!r} is a folder or a whole storage: name an object in it")
    return key


class Session:
    """One run of a command. Storages are opened once each and closed at the end."""

    def __init__(self, run: Run, stack: ExitStack) -> None:
        self.run = run
        self.out = Output(json=run.json, quiet=run.quiet, verbose=run.verbose)
        self.limits = BatchLimits(concurrency=run.concurrency)
        self.left_out = LeftOut()
        self._stack = stack
        self._stores: dict[str, Storage] = {}
        self._throttle: ThrottleLayer | None = None

    def place(self, text: str) -> Place:
        """The storage and key that an argument names."""
        target = locate(text)
        return Place(text, self._open(target.storage), target.key)

    def whole(self, text: str, *, create: bool = False) -> Storage:
        """The storage that an argument names as a whole: its last part is no key."""
        return self._stack.enter_context(open_storage(text, create=create, around=self._around))

    def closing(self, close: Callable[[], object]) -> None:
        """Have this done when the command ends."""
        self._stack.callback(close)

    def _open(self, text: str) -> Storage:
        if text not in self._stores:
            opened = open_storage(text, options=_options_for(text), around=self._around)
            self._stores[text] = self._stack.enter_context(opened)
        return self._stores[text]

    @property
    def _around(self) -> Callable[[StorageBackend], StorageBackend] | None:
        return None if self.run.limit is None else self._held_to_limits

    def _held_to_limits(self, backend: StorageBackend) -> StorageBackend:
        """The same, within the limits that all storages of this command have together; on this machine without any."""
        if is_on_this_machine(backend) or self.run.limit is None:
            return backend
        from mediagit_storage.layers.throttle import Limits, ThrottleLayer  # noqa: PLC0415  # others start sooner so

        first, limit = self._throttle, Limits(self.run.limit.up, self.run.limit.down)
        held = ThrottleLayer(backend, limit) if first is None else first.beside(backend)
        self._throttle = first or held
        return held

    def tell_unlimited(self) -> None:
        """Say so where a limit was asked for and holds nothing."""
        if self.run.limit is not None and self._stores and self._throttle is None:
            self.out.note("--limit is for what goes through a network: on this machine nothing was held up")


def _options_for(text: str) -> dict[str, JSON]:
    """Many files at a time are synced together, and streams hold fewer parts than a program of one's own might want.

    Whatever the URL or the profile says otherwise holds.
    """
    if text.startswith(("/", "file:")):
        return {"durability": "batch"} if "durability=" not in text else {}
    named = profile_part(text)
    profile = load_profiles().get(named[0]) if named else None
    if "buffer_size=" in (text if profile is None else profile.url) or (profile and "buffer_size" in profile.options):
        return {}
    scheme = parse_url(text if profile is None else profile.url).scheme
    takes = getattr(backend_entry(scheme).config_type, "__dataclass_fields__", {})
    return {"buffer_size": _STREAM_BUFFER} if "buffer_size" in takes else {}


@contextmanager
def session(run: Run) -> Iterator[Session]:
    """What a command needs; its transfers are cancelled and its storages closed when it ends, however it does."""
    with ExitStack() as stack:
        inside = stack.enter_context(scope())
        stack.enter_context(cancelling(inside))
        stack.callback(inside.cancel)
        this = Session(run, stack)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always", LiteralSecretWarning)
        warnings.showwarning = _Shown(this.out)
        heard = _Heard(this)
        stack.enter_context(on_event(heard))
        try:
            yield this
        finally:
            heard.tell_kept()
            this.tell_unlimited()


class _Heard:
    """What transfers tell by events: shown at once when more was asked for, and at the end what can be gone on with."""

    def __init__(self, this: Session) -> None:
        self._this = this
        self._kept: set[str | None] = set()

    def __call__(self, event: Event) -> None:
        """One event, from any thread."""
        self._this.left_out.hear(event)
        if event.kind == "transfer.kept":
            self._kept.add(event.key)
        elif self._this.run.verbose:
            self._this.out.note(event.message)

    def tell_kept(self) -> None:
        """Say what is worth knowing before somebody gives up."""
        if not self._kept:
            return
        what = next(iter(self._kept)) if len(self._kept) == 1 else f"{len(self._kept)} transfers"
        self._this.out.note(f"what has arrived of {what} is kept: the same command goes on where it stopped")


class _Shown:
    """Shows a warning as a line of `mgs`, without the place in the code."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def __call__(  # noqa: PLR0917  # the standard library calls it so
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        self._out.note(f"warning: {message}")
