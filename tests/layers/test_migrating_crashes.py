"""Everything that changes something, cut off before and after each thing that either storage is asked.

A process that is killed, and an answer that gets lost, leave what was done until then. At each such point nothing that
was overwritten or deleted is back, and nothing is lost that was not to be deleted; and the call, made again, comes to the
same end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest

from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import NotFoundError, PreconditionError, StorageError
from mediagit_storage.layers.migrating import MigratingConfig, MigratingLayer
from mediagit_storage.storage import Storage
from mediagit_storage.testing.wrappers import WithoutCapabilities

ABSENT = None


class Killed(BaseException):
    """The process ends here."""


class Cut:
    """Counts what two storages are asked, and ends everything at the Nth point: before a call, or after it."""

    def __init__(self, point):
        self.left = point
        self.struck = False

    def __call__(self):
        self.left -= 1
        if self.left == 0:
            self.struck = True
            raise Killed

    def around(self, storage):
        return _Cut(storage, self)


class _Cut:
    """Not a layer: whatever is called is counted."""

    def __init__(self, inner, cut):
        self._inner = inner
        self._cut = cut

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name in {"capabilities", "description", "connection_info", "close"}:
            return found

        def called(*args, **kwargs):
            self._cut()
            result = found(*args, **kwargs)
            if name == "batch":
                return self._each(result)
            self._cut()
            return result

        return called

    def _each(self, completions):
        for completion in completions:
            self._cut()
            yield completion


class Story(NamedTuple):
    """What lies where, what is called, and what may be seen of each key when it was cut off.

    ``after`` is what is seen when the call has been made again.
    """

    new: dict[str, bytes]
    old: dict[str, bytes]
    call: Callable[[Storage], object]
    seen: dict[str, Sequence[bytes | None]]
    after: dict[str, bytes | None]
    copy_on_read: bool = False
    #: Cannot be made again when it was done: a condition does not hold any more, a source is gone.
    once: bool = False


NEWER, STALE, FRESH = b"newer", b"stale", b"fresh"

STORIES = {
    "delete of what both have": Story(
        {"k": NEWER}, {"k": STALE}, lambda store: store.delete("k"), {"k": (NEWER, ABSENT)}, {"k": ABSENT}
    ),
    "strict delete of what both have": Story(
        {"k": NEWER},
        {"k": STALE},
        lambda store: store.delete("k", missing_ok=False),
        {"k": (NEWER, ABSENT)},
        {"k": ABSENT},
        once=True,
    ),
    "delete of what the old one has": Story(
        {}, {"k": STALE}, lambda store: store.delete("k"), {"k": (STALE, ABSENT)}, {"k": ABSENT}
    ),
    "delete on condition of what both have": Story(
        {"k": NEWER},
        {"k": STALE},
        lambda store: store.delete("k", if_match='"1"'),
        {"k": (NEWER, ABSENT)},
        {"k": ABSENT},
        once=True,
    ),
    "delete on condition of what the old one has": Story(
        {},
        {"k": STALE},
        lambda store: store.delete("k", if_match='"1"~old'),
        {"k": (STALE, ABSENT)},
        {"k": ABSENT},
        once=True,
    ),
    "deletes of many": Story(
        {"k": NEWER, "n": NEWER},
        {"k": STALE, "o": STALE},
        lambda store: store.delete_many(["k", "n", "o", "gone"]).run(),
        {"k": (NEWER, ABSENT), "n": (NEWER, ABSENT), "o": (STALE, ABSENT)},
        {"k": ABSENT, "n": ABSENT, "o": ABSENT},
    ),
    "overwriting": Story({}, {"k": STALE}, lambda store: store.put("k", FRESH), {"k": (STALE, FRESH)}, {"k": FRESH}),
    "overwriting on condition": Story(
        {},
        {"k": STALE},
        lambda store: store.put("k", FRESH, if_match='"1"~old'),
        {"k": (STALE, FRESH)},
        {"k": FRESH},
        once=True,
    ),
    "creating": Story(
        {}, {}, lambda store: store.put("k", FRESH, if_absent=True), {"k": (ABSENT, FRESH)}, {"k": FRESH}, once=True
    ),
    "creating many": Story(
        {},
        {"o": STALE},
        lambda store: [*store.put_many([("k", FRESH), ("o", FRESH)], if_absent=True)],
        {"k": (ABSENT, FRESH), "o": (STALE,)},
        {"k": FRESH, "o": STALE},
    ),
    "copying out of the old one": Story(
        {"t": NEWER},
        {"k": STALE, "t": STALE},
        lambda store: store.copy("k", "t"),
        {"k": (STALE,), "t": (NEWER, STALE)},
        {"k": STALE, "t": STALE},
    ),
    "copying onto itself": Story({}, {"k": STALE}, lambda store: store.copy("k", "k"), {"k": (STALE,)}, {"k": STALE}),
    "moving out of the old one": Story(
        {},
        {"k": FRESH, "t": STALE},
        lambda store: store.rename("k", "t"),
        {"k": (FRESH, ABSENT), "t": (STALE, FRESH)},
        {"k": ABSENT, "t": FRESH},
        once=True,
    ),
    "moving what both have": Story(
        {"k": FRESH},
        {"k": STALE, "t": STALE},
        lambda store: store.rename("k", "t"),
        {"k": (FRESH, ABSENT), "t": (STALE, FRESH)},
        {"k": ABSENT, "t": FRESH},
        once=True,
    ),
    "reading what is brought over": Story(
        {}, {"k": FRESH}, lambda store: store.get("k"), {"k": (FRESH,)}, {"k": FRESH}, copy_on_read=True
    ),
    "streaming what is brought over": Story(
        {}, {"k": FRESH}, lambda store: b"".join(store.stream("k")), {"k": (FRESH,)}, {"k": FRESH}, copy_on_read=True
    ),
}


def filled(name, objects):
    backend = MemoryBackend(name)
    for key, data in objects.items():
        Storage(backend).put(key, data)
    return backend


def seen(store, key):
    try:
        return store.get(key)
    except NotFoundError:
        return ABSENT


def end_of(story, new, old, store):
    """Make the call again, where that is possible; what is seen then."""
    try:
        story.call(store)
    except (NotFoundError, PreconditionError, FileExistsError):
        assert story.once
    for key, data in story.after.items():
        assert seen(store, key) == data
        if data is ABSENT:
            assert seen(Storage(new), key) is ABSENT
            assert seen(Storage(old), key) is ABSENT


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("name", STORIES)
def test_cut_at_every_point(name, batch):
    story = STORIES[name]
    for point in range(1, 100):
        new, old, cut = filled("new", story.new), filled("old", story.old), Cut(point)
        config = MigratingConfig(story.copy_on_read)
        layer = MigratingLayer(cut.around(new), cut.around(old), config)
        struck = False
        try:
            story.call(Storage(layer if batch else WithoutCapabilities(layer, "batch")))
        except Killed:
            struck = True
        except StorageError as error:
            raise AssertionError(f"{name} failed") from error
        store = Storage(MigratingLayer(new, old))
        for key, allowed in story.seen.items():
            assert seen(store, key) in allowed, f"{key} after point {point}"
        together = [found for found in (seen(store, key) for key in story.seen) if found is not ABSENT]
        if "moving" in name:
            assert FRESH in together, f"lost at point {point}"
        assert [info.key for info in store.list()] == sorted(
            key for key in story.seen if seen(store, key) is not ABSENT
        )
        if not struck and not cut.struck:
            break
        end_of(story, new, old, store)
    else:
        raise AssertionError("it never came to its end")
    assert point > 2, "nothing was cut off"
    for key, data in story.after.items():
        assert seen(store, key) == data
