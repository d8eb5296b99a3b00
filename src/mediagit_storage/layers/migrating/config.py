"""The options of the layer, and what two storages can do as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from mediagit_storage.capabilities import Capabilities

__all__ = ["MigratingConfig", "joint_capabilities"]


@dataclass(frozen=True, slots=True)
class MigratingConfig:
    """``old``, which is no field, names the storage that objects come from: a URL, a path or a profile (``"attic:"``).

    ``copy_on_read``: what is read whole, and lies only in the old storage, is brought into the new one first.
    """

    STORAGES: ClassVar[Sequence[str]] = ("old",)

    copy_on_read: bool = False


def joint_capabilities(new: Capabilities, old: Capabilities, options: MigratingConfig) -> Capabilities:
    """What holds wherever an object lies: what the new storage can do for writing, and what both can for reading."""
    return replace(
        new,
        if_match=new.if_match and new.if_absent,
        delete_if_match=new.delete_if_match and old.delete_if_match,
        read_conditions=new.read_conditions and old.read_conditions,
        exact_etags=new.exact_etags and old.exact_etags,
        copy_if_absent=new.copy_if_absent and new.if_absent,
        versions=False,
        presign=(new.presign & {"PUT"}) | (new.presign & old.presign & {"GET"}),
        server_rename=False,
        # Who brings over what is read does so object by object.
        batch=new.batch and old.batch and not options.copy_on_read,
        replace_head=False,
    )
