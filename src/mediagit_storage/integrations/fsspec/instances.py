"""When fsspec may hand out the same filesystem twice: where text tells all about it."""

from __future__ import annotations

from collections.abc import Mapping

from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

__all__ = ["Instances"]


class Instances(type(AbstractFileSystem)):  # type: ignore[misc]
    """The class of the filesystem's class: it keeps fsspec from taking one storage for another.

    fsspec knows an instance by the text of its arguments. Two storages, or two secrets, may look alike as text.
    """

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
    return value is None or isinstance(value, str | int | float)
