"""A write that may have to be done again, and what its failures mean."""

from __future__ import annotations

from collections.abc import Iterator

from mediagit_storage.backend import PutOperation, StorageBackend
from mediagit_storage.errors import (
    AlreadyExistsError,
    BucketNotFoundError,
    NotFoundError,
    PreconditionError,
    StorageError,
    UnavailableError,
)
from mediagit_storage.http.retry import Rules
from mediagit_storage.layers.retry.marks import is_marked, marked, new_mark
from mediagit_storage.layers.retry.trials import HARMLESS, MARKED, ONCE, Trials
from mediagit_storage.source import Source
from mediagit_storage.types import BytesLike, ObjectInfo, PutOptions

__all__ = ["Write"]

_REFUSALS = (AlreadyExistsError, PreconditionError, NotFoundError)


class _Watched(Source):
    """A source that can be read only once, and tells whether somebody has begun to."""

    rewindable = False

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self.size = inner.size
        self.touched = False

    def chunks(self) -> Iterator[BytesLike]:
        """The inner chunks."""
        self.touched = True
        return self._inner.chunks()


class Write:
    """One put with its attempts. ``source`` and ``options`` are those that the storage gets: a write on a condition
    carries a mark where the storage keeps metadata, so that its object is known again when an answer got lost.
    """

    __slots__ = ("_doubt", "_inner", "_key", "_mark", "_rules", "_trials", "_watched", "options", "source")

    def __init__(self, inner: StorageBackend, key: str, source: Source, options: PutOptions, rules: Rules) -> None:
        conditional = options.if_absent or options.if_match is not None
        can_mark = "metadata" in inner.capabilities.attributes
        self._inner = inner
        self._rules = rules
        self._key = key
        self._watched = None if source.rewindable else _Watched(source)
        self.source = self._watched or source
        self._mark = new_mark() if conditional and can_mark else None
        self.options = options if self._mark is None else marked(options, self._mark)
        traits = HARMLESS if not conditional else ONCE if self._mark is None else MARKED
        self._trials = Trials(f"put {key!r}", rules, traits)
        #: The first failure after which the storage may have stored the object all the same.
        self._doubt: Exception | None = None

    @property
    def operation(self) -> PutOperation:
        """The write for a batch."""
        return PutOperation(self._key, self.source, self.options)

    def after(self, error: Exception) -> float | ObjectInfo | Exception:
        """What a failure means: seconds to wait before the next attempt; what was stored after all; or what to raise."""
        refused = self._trials.maybe_done and isinstance(error, _REFUSALS)
        delay = None if refused else self._failed(error)
        if delay is not None:
            return delay
        if self._mark is None or not self._trials.maybe_done:
            return error
        try:
            found = self._look()
        except StorageError as unknown:
            # A refusal may be our own doing: who cannot look must not say that somebody else was there first.
            return unknown if refused else error
        if found is not None and is_marked(found, self._mark):
            return found
        return self._unproved(error, found) if refused else error

    def _failed(self, error: Exception) -> float | None:
        delay = self._trials.after(error, rewindable=self._can_repeat())
        if self._trials.maybe_done and self._doubt is None:
            self._doubt = error
        return delay

    def _unproved(self, refusal: Exception, found: ObjectInfo | None) -> Exception:
        """What to raise where our object is not there, but may have been what a later attempt was refused for.

        A create that meets an object is refused as ever, since that is what it asked; in all other cases somebody may
        have built on our object, or deleted it, and "refused" would make the caller do everything again.
        """
        if isinstance(refusal, BucketNotFoundError) or (self.options.if_absent and found is not None):
            return refusal
        what = "the object is gone" if found is None else "another object is there"
        return UnavailableError(
            f"the outcome is unknown: an answer got lost ({self._doubt}), a later attempt was refused, and {what} now;"
            " look at the object before doing it again"
        )

    def _can_repeat(self) -> bool:
        return self._watched is None or not self._watched.touched

    def _look(self) -> ObjectInfo | None:
        """The object under this key now; None where there is none. Repeated like any look."""
        looks = Trials(f"stat {self._key!r}", self._rules)
        while True:
            try:
                return self._inner.stat(self._key)
            except NotFoundError:
                return None
            except StorageError as error:
                delay = looks.after(error)
                if delay is None:
                    raise
            self._rules.sleep(delay)
