"""What a power cut may leave on a disk: from a record of the calls that a local storage made, every state it may be in.

A file system keeps what was synced. Of what was not it may keep anything: data without names, names without data, the
later without the earlier, half of a write. So a record is cut after each call, and of the work that was not synced by
then all, nothing, every single piece and random mixtures are kept; each such disk is built in a folder and looked at.

The model: data, size and extended attributes of a file are durable by a sync of the file, names by a sync of their
folder. A rename is atomic within a folder; between two folders a crash may leave both names and never none.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from mediagit_storage.testing.os_faults import Call

__all__ = ["CrashedDisk", "History", "Step", "crashes", "without_syncs"]


class Step(NamedTuple):
    """One operation of a workload: it ran from call ``begin`` and was acknowledged after call ``end``.

    ``changes`` names what each key held afterwards, None for nothing.
    """

    begin: int
    end: int
    changes: dict[str, object]


class History:
    """What a workload did and when, counted in calls of the operating system."""

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self.steps = list(steps)

    def allowed(self, cut: int) -> dict[str, list[object]]:
        """What each key may hold when the power fails after ``cut`` calls: acknowledged, or just being done."""
        values: dict[str, list[object]] = {}
        for step in sorted(self.steps, key=lambda step: step.end):
            for key, value in step.changes.items():
                before = values.get(key, [None])
                if step.end <= cut:
                    values[key] = [value]
                elif step.begin < cut:
                    values[key] = [*before, value]
                else:
                    values.setdefault(key, [None])
        return values


@dataclass(eq=False, slots=True)
class _Node:
    """A file or a folder, whatever its names."""

    is_folder: bool


@dataclass(slots=True)
class _Disk:
    """What is on the disk: content by node."""

    data: dict[_Node, bytearray] = field(default_factory=dict)
    attributes: dict[_Node, dict[str, bytes]] = field(default_factory=dict)
    entries: dict[_Node, dict[str, _Node]] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Effect:
    """One change that a call made: durable once ``owner`` was synced, and never there without ``needs``."""

    at: int
    owner: _Node
    apply: Callable[[_Disk], None]
    torn: Callable[[_Disk], None] | None = None
    needs: _Effect | None = None
    durable_at: int | None = None


class CrashedDisk(NamedTuple):
    """A disk after a crash: files by path below the root, and what each key may hold."""

    cut: int
    files: dict[str, tuple[bytes, dict[str, bytes]]]
    folders: list[str]
    allowed: dict[str, list[object]]

    def build(self, root: Path) -> None:
        """Make it real below ``root``, which does not exist yet."""
        root.mkdir(mode=0o700)
        for name in self.folders:
            (root / name).mkdir(mode=0o700)
        for name, (data, attributes) in self.files.items():
            path = root / name
            path.write_bytes(data)
            for attribute, value in attributes.items():
                os.setxattr(path, attribute, value)


def without_syncs(calls: Sequence[Call], which: Collection[str] = ("fsync", "syncfs")) -> list[Call]:
    """The record of an operating system that only says that it has synced: to see that the crashes are found."""
    idle = [Call("fstat", call.args, {}) if call.name in which else call for call in calls]
    assert len(idle) == len(calls)
    return idle


def crashes(
    calls: Sequence[Call], root: str, history: History, *, mixtures: int = 4, seed: int = 0
) -> Iterator[CrashedDisk]:
    """Every different disk that a power cut may leave, at any time of the workload. ``root`` was empty at its start."""
    recorder = _Recorder(root)
    for call in calls:
        recorder.take(call)
    effects = recorder.effects
    cuts = {0} | {each.at + 1 for each in effects} | {(each.durable_at or 0) + 1 for each in effects}
    cuts |= {step.end for step in history.steps}
    chance, seen = random.Random(seed), set[object]()
    for cut in sorted(each for each in cuts if each <= len(calls)):
        allowed = history.allowed(cut)
        mark = (
            tuple(sorted((key, len(values)) for key, values in allowed.items())),
            sum(s.end <= cut for s in history.steps),
        )
        done = [each for each in effects if each.at < cut]
        for kept, torn in _choices(done, cut, mixtures, chance):
            disk = _replay(recorder.root, done, kept, torn)
            files, folders = _walk(disk, recorder.root)
            picture = (mark, tuple(sorted((name, data, *xattrs.items()) for name, (data, xattrs) in files.items())))
            if picture not in seen:
                seen.add(picture)
                yield CrashedDisk(cut, files, folders, allowed)


def _choices(
    done: Sequence[_Effect], cut: int, mixtures: int, chance: random.Random
) -> Iterator[tuple[set[_Effect], _Effect | None]]:
    """Which effects a disk kept, and which one of them only in part."""
    pending = [each for each in done if each.durable_at is None or each.durable_at >= cut]
    fixed = set(done) - set(pending)
    yield set(done), None
    yield fixed, None
    for each in pending:
        yield set(done) - {each}, None
        yield fixed | {each}, None
        if each.torn is not None:
            yield set(done), each
    for _ in range(mixtures if len(pending) > 1 else 0):
        yield fixed | {each for each in pending if chance.random() < 0.5}, None


def _replay(root: _Node, done: Sequence[_Effect], kept: Collection[_Effect], torn: _Effect | None) -> _Disk:
    disk = _Disk(entries={root: {}})
    for each in done:
        if each in kept and (each.needs is None or each.needs in kept):
            (each.torn if each is torn and each.torn is not None else each.apply)(disk)
    return disk


def _walk(disk: _Disk, root: _Node) -> tuple[dict[str, tuple[bytes, dict[str, bytes]]], list[str]]:
    files: dict[str, tuple[bytes, dict[str, bytes]]] = {}
    folders, waiting = list[str](), [("", root)]
    while waiting:
        path, folder = waiting.pop()
        for name, node in sorted(disk.entries.get(folder, {}).items()):
            if node.is_folder:
                folders.append(path + name)
                waiting.append((path + name + "/", node))
            else:
                files[path + name] = bytes(disk.data.get(node, b"")), dict(disk.attributes.get(node, {}))
    return files, folders


# ---- from calls to effects

_NO_EFFECT: Final = frozenset(
    {"read", "pread", "fstat", "stat", "utime", "scandir", "listdir", "statvfs", "urandom", "flock", "getxattr"}
    | {"posix_fadvise", "removexattr"}
)


class _Recorder:
    """Follows the calls of one workload on a live copy of the tree, and notes what each changed."""

    def __init__(self, root: str) -> None:
        self.root = _Node(is_folder=True)
        self.effects: list[_Effect] = []
        self._path = root.rstrip("/")
        self._live = _Disk(entries={self.root: {}})
        self._nodes: dict[int, _Node] = {}
        self._offsets: dict[int, int] = {}
        self._at = -1

    def take(self, call: Call) -> None:
        """The next call of the record."""
        self._at += 1
        if call.error is None and call.name not in _NO_EFFECT:
            getattr(self, f"_{call.name}")(call)

    def _note(
        self,
        owner: _Node,
        apply: Callable[[_Disk], None],
        *,
        torn: Callable[[_Disk], None] | None = None,
        needs: _Effect | None = None,
    ) -> _Effect:
        effect = _Effect(self._at, owner, apply, torn, needs)
        self.effects.append(effect)
        apply(self._live)
        return effect

    def _find(self, path: object, folder: object) -> tuple[_Node, str]:
        """The folder that a path's last component lies in, and that component ("" for the root itself)."""
        assert isinstance(path, str)
        if isinstance(folder, int):
            return self._nodes[folder], path
        assert path.startswith(self._path), f"outside of the root: {path}"
        inner = path[len(self._path) :].strip("/")
        assert "/" not in inner, f"a path of several components: {path}"
        return self.root, inner

    def _open(self, call: Call) -> None:
        folder, name = self._find(call.args[0], call.kwargs.get("dir_fd"))
        flags, descriptor = call.args[1], call.result
        assert isinstance(flags, int)
        assert isinstance(descriptor, int)
        node = folder if name in {"", "."} else self._live.entries.get(folder, {}).get(name)
        if node is None:
            assert flags & os.O_CREAT, f"opened what is not there: {name}"
            node = _Node(is_folder=False)
            self._add(folder, name, node)
        self._nodes[descriptor], self._offsets[descriptor] = node, 0

    def _close(self, call: Call) -> None:
        assert isinstance(call.args[0], int)
        self._nodes.pop(call.args[0], None)

    def _write(self, call: Call) -> None:
        descriptor, data, count = call.args[0], call.args[1], call.result
        assert isinstance(descriptor, int)
        assert isinstance(data, bytes | bytearray)
        assert isinstance(count, int)
        self._store(descriptor, bytes(data[:count]))

    def _copy_file_range(self, call: Call) -> None:
        source, target, count = call.args[0], call.args[1], call.result
        assert isinstance(source, int)
        assert isinstance(target, int)
        assert isinstance(count, int)
        given = call.args[3] if len(call.args) > 3 else call.kwargs.get("offset_src")
        offset = given if isinstance(given, int) else self._offsets[source]
        data = bytes(self._live.data.get(self._nodes[source], b"")[offset : offset + count])
        if not isinstance(given, int):
            self._offsets[source] += count
        self._store(target, data)

    def _store(self, descriptor: int, data: bytes) -> None:
        node, offset = self._nodes[descriptor], self._offsets[descriptor]
        self._offsets[descriptor] += len(data)
        half = data[: len(data) // 2]
        self._note(node, lambda disk: _put(disk, node, offset, data), torn=lambda disk: _put(disk, node, offset, half))

    def _setxattr(self, call: Call) -> None:
        descriptor, name, value = call.args[:3]
        assert isinstance(descriptor, int)
        assert isinstance(name, str)
        assert isinstance(value, bytes)
        node = self._nodes[descriptor]
        self._note(node, lambda disk: disk.attributes.setdefault(node, {}).__setitem__(name, value))

    def _mkdir(self, call: Call) -> None:
        folder, name = self._find(call.args[0], call.kwargs.get("dir_fd"))
        if name:
            self._add(folder, name, _Node(is_folder=True))

    def _link(self, call: Call) -> None:
        old_folder, old = self._find(call.args[0], call.kwargs.get("src_dir_fd"))
        folder, name = self._find(call.args[1], call.kwargs.get("dst_dir_fd"))
        self._add(folder, name, self._live.entries[old_folder][old])

    def _rename(self, call: Call) -> None:
        old_folder, old = self._find(call.args[0], call.kwargs.get("src_dir_fd"))
        folder, name = self._find(call.args[1], call.kwargs.get("dst_dir_fd"))
        node = self._live.entries[old_folder][old]
        if old_folder is folder:

            def move(disk: _Disk) -> None:
                _drop(disk, folder, old)
                _name(disk, folder, name, node)

            self._note(folder, move)
            return
        added = self._add(folder, name, node)
        self._note(old_folder, lambda disk: _drop(disk, old_folder, old), needs=added)

    def _unlink(self, call: Call) -> None:
        folder, name = self._find(call.args[0], call.kwargs.get("dir_fd"))
        self._note(folder, lambda disk: _drop(disk, folder, name))

    _rmdir = _unlink

    def _fsync(self, call: Call) -> None:
        assert isinstance(call.args[0], int)
        self._make_durable(self._nodes[call.args[0]])

    def _syncfs(self, call: Call) -> None:
        self._make_durable(None)

    def _make_durable(self, owner: _Node | None) -> None:
        for effect in self.effects:
            if effect.durable_at is None and (owner is None or effect.owner is owner):
                effect.durable_at = self._at
                if effect.needs is not None and effect.needs.durable_at is None:
                    effect.needs.durable_at = self._at

    def _add(self, folder: _Node, name: str, node: _Node) -> _Effect:
        return self._note(folder, lambda disk: _name(disk, folder, name, node))


def _put(disk: _Disk, node: _Node, offset: int, data: bytes) -> None:
    content = disk.data.setdefault(node, bytearray())
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def _name(disk: _Disk, folder: _Node, name: str, node: _Node) -> None:
    disk.entries.setdefault(folder, {})[name] = node


def _drop(disk: _Disk, folder: _Node, name: str) -> None:
    disk.entries.setdefault(folder, {}).pop(name, None)
