"""When fsspec may hand out the same filesystem twice: where text tells all about it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

from mediagit_storage.config import CONFIG_VARIABLE
from mediagit_storage.integrations.fsspec.places import working_folder

__all__ = ["Instances"]


class Instances(type(AbstractFileSystem)):  # type: ignore[misc]
    """The class of the filesystem's class: it keeps fsspec from taking one storage for another.

    fsspec knows an instance by the text of its arguments. Two storages, or two secrets, may look alike as text; and the
    same path leads elsewhere from another folder, the same profile with another file of profiles.
    """

    @property
    def surroundings(cls) -> tuple[str | None, str]:
        """What the text of a profile's name or a relative path does not say."""
        return os.environ.get(CONFIG_VARIABLE), working_folder()

    def __call__(cls, *args: object, **kwargs: object) -> object:
        """A new filesystem, or the one of this thread that was made with the same arguments."""
        if args or not _is_plain(kwargs):
            kwargs = {**kwargs, "skip_instance_cache": True}
        return super().__call__(*args, **kwargs)


def _is_plain(value: object) -> bool:
    """Whether a value is what its text says."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(each) for name, each in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(each) for each in value)
    # Not of a class of its own, whose text may leave something out.
    return value is None or type(value) in {str, int, float, bool}
