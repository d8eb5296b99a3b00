"""What a root folder and its file system are found to be, for `LocalBackend.check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fcntl import LOCK_NB, LOCK_SH

from mediagit_storage.backends.local.attributes import XATTR
from mediagit_storage.backends.local.folder import RootFolder
from mediagit_storage.backends.local.osfs import OperatingSystem, shut
from mediagit_storage.backends.local.staging import Staging
from mediagit_storage.backends.local.translate import translate
from mediagit_storage.backends.local.tree import Tree
from mediagit_storage.errors import StorageError
from mediagit_storage.types import Finding, FindingLevel

__all__ = ["findings"]

_LITTLE_SPACE = 0.05


def findings(system: OperatingSystem, tree: Tree, folder: RootFolder, staging: Staging) -> Iterator[Finding]:
    """One `Finding` for each thing looked at; what can only be known by writing writes one temporary file."""
    try:
        if not tree.root_exists():
            yield Finding(
                "root", FindingLevel.FAILED, f"{tree.root!r} does not exist", "create it, or correct the path"
            )
            return
        yield Finding("root", FindingLevel.OK, f"{tree.root!r} exists")
        yield _space(system, tree)
    except OSError as error:
        yield _failed("root", error)
        return
    checks: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("layout", lambda: _layout(folder)),
        ("writable", lambda: _writable(staging)),
        ("names", lambda: _names(folder)),
        ("attributes", lambda: _attributes(system, staging)),
        ("hard links", lambda: _links(system, staging)),
        ("locks", lambda: _locks(system, tree)),
    )
    for name, look in checks:
        try:
            yield look()
        except (OSError, StorageError) as error:
            yield _failed(name, error)


def _failed(name: str, error: Exception) -> Finding:
    # What the table of errors adds to the system's word is what to do.
    told, _, advice = str(translate(error)).partition(": ") if isinstance(error, OSError) else (str(error), "", "")
    return Finding(name, FindingLevel.FAILED, told, advice or "see the message")


def _space(system: OperatingSystem, tree: Tree) -> Finding:
    found = system.statvfs(tree.root)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    detail = f"{free / 1e9:,.1f} GB of {total / 1e9:,.1f} GB are free"
    if free < total * _LITTLE_SPACE:
        return Finding("space", FindingLevel.WARNING, detail, "free some space")
    return Finding("space", FindingLevel.OK, detail)


def _layout(folder: RootFolder) -> Finding:
    folder.prepare_reading()
    return Finding("layout", FindingLevel.OK, "the folder is in the layout that it was opened with")


def _writable(staging: Staging) -> Finding:
    staging.create().discard()
    return Finding("writable", FindingLevel.OK, "temporary files can be made, on the storage's own file system")


def _names(folder: RootFolder) -> Finding:
    if folder.merges_names():
        return Finding(
            "names",
            FindingLevel.WARNING,
            "the file system takes names for the same that differ by case or Unicode form only",
            "keys that differ so cannot be stored side by side (KeyConflictError); use another file system for them",
        )
    return Finding("names", FindingLevel.OK, "names that differ by case or Unicode form are told apart")


def _attributes(system: OperatingSystem, staging: Staging) -> Finding:
    staged = staging.create()
    try:
        if staged.descriptor is not None:
            system.setxattr(staged.descriptor, XATTR, b"{}")
    except OSError as error:
        return Finding(
            "attributes",
            FindingLevel.WARNING,
            f"extended attributes cannot be set: {error.strerror}",
            "objects with attributes are refused; use a file system with extended attributes to keep them",
        )
    finally:
        staged.discard()
    return Finding("attributes", FindingLevel.OK, "extended attributes are kept")


def _links(system: OperatingSystem, staging: Staging) -> Finding:
    staged = staging.create()
    other = f"{staged.name}-link"
    try:
        system.link(str(staged.name), other, src_dir_fd=staged.folder, dst_dir_fd=staged.folder, follow_symlinks=False)
        system.unlink(other, dir_fd=staged.folder)
    except OSError as error:
        return Finding(
            "hard links",
            FindingLevel.WARNING,
            f"hard links cannot be made: {error.strerror}",
            "create-only writes (if_absent) are refused; use another file system for them",
        )
    finally:
        staged.discard()
    return Finding("hard links", FindingLevel.OK, "create-only writes are atomic")


def _locks(system: OperatingSystem, tree: Tree) -> Finding:
    root = tree.open_root()
    try:
        system.flock(root, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        pass  # somebody holds it: locks work
    except OSError as error:
        return Finding(
            "locks",
            FindingLevel.WARNING,
            f"folders cannot be locked: {error.strerror}",
            "conditional writes (if_match) are refused; use another file system for them",
        )
    finally:
        shut(system, root)
    return Finding("locks", FindingLevel.OK, "conditional writes hold among processes")
