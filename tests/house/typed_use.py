"""A program of a user's, type-checked and never run: types reach the caller, and wrong uses are refused.

Each ``type: ignore`` below is an error that has to be there: one that is no longer needed fails the check.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_type

import mediagit_storage as mgs


def reading(store: mgs.Storage) -> None:
    assert_type(store.get("key"), bytes)
    assert_type(store.get("key", offset=1, length=2), bytes)
    assert_type(store.get_ranges("key", [(0, 1)]), Sequence[bytes])
    assert_type(store.stat("key"), mgs.ObjectInfo)
    assert_type(store.stat("key").size, int | None)
    assert_type(store.exists("key"), bool)
    assert_type(store.list("prefix"), Iterator[mgs.ObjectInfo])
    for piece in store.stream("key"):
        assert_type(piece, bytes)
    for entry in store.list_dir():
        assert_type(entry, mgs.ObjectInfo | mgs.Folder)
        assert_type(entry.prefix if isinstance(entry, mgs.Folder) else entry.key, str)
    store.get("key", 10)  # type: ignore[call-arg]
    store.get(b"key")  # type: ignore[arg-type]


def writing(store: mgs.Storage) -> None:
    assert_type(store.put("key", b"data"), mgs.ObjectInfo)
    store.put("key", bytearray(1), attributes=mgs.Attributes(content_type="image/png"))
    store.put("key", (b"piece" for _ in range(3)), if_absent=True)
    with Path("file").open("rb") as file:
        store.put("key", file)
    store.upload(Path("file"), "key")
    store.put("key", 7)  # type: ignore[arg-type]
    store.put("key", b"data", overwrite=True)  # type: ignore[call-arg]
    store.copy("a", "b", attributes=None)


def files(store: mgs.Storage) -> None:
    with store.open("key") as reader:
        assert_type(reader.read_at(0, 10), bytes)
        reader.write(b"no")
    with store.open("key", "wb") as writer:
        assert_type(writer.write(b"data"), int)
        writer.read()  # type: ignore[attr-defined]
    store.open("key", "a")  # type: ignore[call-overload]


def batches(store: mgs.Storage) -> None:
    for outcome in store.get_many(["a", "b"]):
        assert_type(outcome.value, bytes | None)
    for key, value, error in store.stat_many(["a"]):
        assert_type(key, str)
        assert_type(value, mgs.ObjectInfo | None)
        assert_type(error, Exception | None)
    assert_type(store.delete_many(["a"]).run(), int)


def around(store: mgs.Storage) -> None:
    def callback(step: mgs.Progress) -> None:
        assert_type(step, mgs.Progress)
        assert_type(step.total, int | None)

    with mgs.on_progress(callback), mgs.scope(timeout=1.5) as scope:
        assert_type(scope, mgs.Scope)
        assert_type(scope.remaining(), float | None)
    assert_type(store.connection_info(), mgs.ConnectionInfo)
    with mgs.open_storage("memory://name", create=True) as opened:
        assert_type(opened, mgs.Storage)
