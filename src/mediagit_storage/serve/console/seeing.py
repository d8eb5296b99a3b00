"""Reading what the page about one object shows: two or three requests, and no more of its bytes than are shown."""

from __future__ import annotations

from typing import Final, NamedTuple

from mediagit_storage.errors import StorageError
from mediagit_storage.serve.conditions import entity_tag
from mediagit_storage.serve.console.failing import failure_of
from mediagit_storage.serve.console.listing import versions_of
from mediagit_storage.serve.console.previews import TEXT_BYTES, Kind, kind_of, text_of
from mediagit_storage.serve.console.viewing import Seen, Versions
from mediagit_storage.storage import Storage
from mediagit_storage.types import ObjectInfo

__all__ = ["Wanted", "see"]

#: Versions on a page.
_VERSIONS: Final = 50


class Wanted(NamedTuple):
    """The object, and how much of it is to be shown."""

    key: str
    version: str | None
    large: bool
    versions: bool


def see(storage: Storage, wanted: Wanted) -> Seen:
    """What there is to show. Raises what `Storage.stat` does; text or versions that cannot be read are told of instead."""
    info = storage.stat(wanted.key, version=wanted.version)
    capabilities = storage.capabilities
    text, problem = _text(storage, info, wanted.version)
    return Seen(
        info,
        text,
        problem,
        tag=entity_tag(info, exact=capabilities.exact_etags),
        pinned=capabilities.delete_if_match and capabilities.exact_etags,
        version=wanted.version,
        large=wanted.large,
        keeps_versions=capabilities.versions,
        versions=_versions(storage, wanted.key) if capabilities.versions and wanted.versions else None,
    )


def _text(storage: Storage, info: ObjectInfo, version: str | None) -> tuple[str | None, str | None]:
    """The beginning of a text, or why it cannot be read. What is of no known kind is looked at where it is small."""
    kind = kind_of(info)
    unknown = kind is Kind.OTHER and info.size is not None and info.size <= TEXT_BYTES
    if info.size == 0 or not (kind is Kind.TEXT or unknown):
        return None, None
    try:
        data = storage.get(info.key, length=TEXT_BYTES, version=version)
    except StorageError as error:
        failure = failure_of(error)
        return None, f"{failure.title}. {failure.advice}"
    return text_of(data, cut=info.size is None or info.size > len(data), sure=kind is Kind.TEXT), None


def _versions(storage: Storage, key: str) -> Versions:
    try:
        return Versions(*versions_of(storage, key, _VERSIONS))
    except StorageError as error:
        return Versions(problem=f"{failure_of(error).title}. {failure_of(error).advice}")
