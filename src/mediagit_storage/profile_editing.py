"""Changing the profiles file: whole tables are added, removed or renamed in its text, and all else stays as it was.

Every change is checked by reading the new text: unless it holds exactly the profiles that were meant, nothing is
written and the error says to edit the file by hand. The file is replaced in one step, readable by its owner only, under
a lock that keeps two such changes apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from mediagit_storage.config import Profile, check_profile_name, load_profiles, parse_profiles, profiles_path
from mediagit_storage.errors import ConfigError
from mediagit_storage.private_files import locked_beside, replace_private_file
from mediagit_storage.types import JSON

__all__ = ["add_profile", "remove_profile", "rename_profile", "supersede_profile"]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_HEADER: Final = re.compile(
    r"""^[ \t]*(?P<open>\[\[?)[ \t]*(?P<name>[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?P<rest>[ \t]*[.\]].*)$""",
    re.MULTILINE,
)


def add_profile(profile: Profile, path: Path | None = None) -> Path:
    """Add a profile at the end of the file, making file and folder where they are missing; the file's path.

    A name that is taken, or cannot be one, is a `ConfigError`.
    """
    check_profile_name(profile.name)

    return _change(path, lambda text, found: _added(text, found, profile))


def remove_profile(name: str, path: Path | None = None) -> Path:
    """Take a profile out of the file, with the comments inside of it; the file's path."""

    def remove(text: str, found: dict[str, Profile]) -> tuple[str, dict[str, Profile]]:
        kept = "".join(section for owner, section in _sections(text) if owner != name)
        return kept, {each: profile for each, profile in found.items() if each != name}

    return _change(path, remove, name)


def rename_profile(name: str, new: str, path: Path | None = None) -> Path:
    """Give a profile another name, in its place in the file; the file's path. A name that is taken is a `ConfigError`."""
    check_profile_name(new)
    return _change(path, lambda text, found: _renamed(text, found, name, new), name)


def supersede_profile(profile: Profile, kept_as: str, path: Path | None = None) -> Path:
    """Put a profile in place of the one that has its name, which is kept under another; the file's path.

    In one step: whoever opens the profile meanwhile gets the old one or the new one.
    """
    check_profile_name(kept_as)

    def supersede(text: str, found: dict[str, Profile]) -> tuple[str, dict[str, Profile]]:
        return _added(*_renamed(text, found, profile.name, kept_as), profile)

    return _change(path, supersede, profile.name)


def _added(text: str, found: dict[str, Profile], profile: Profile) -> tuple[str, dict[str, Profile]]:
    if profile.name in found:
        raise ConfigError(f"there is a profile {profile.name!r} already")
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return text + gap + _toml(profile), {**found, profile.name: profile}


def _renamed(text: str, found: dict[str, Profile], name: str, new: str) -> tuple[str, dict[str, Profile]]:
    if new in found:
        raise ConfigError(f"there is a profile {new!r} already")
    renamed = _HEADER.sub(
        lambda header: f"{header['open']}{_key(new)}{header['rest']}" if _plain(header["name"]) == name else header[0],
        text,
    )
    moved = found[name]
    others = {each: profile for each, profile in found.items() if each != name}
    return renamed, {**others, new: replace(moved, name=new)}


_Edit = Callable[[str, dict[str, Profile]], tuple[str, dict[str, Profile]]]


def _change(path: Path | None, edit: _Edit, existing: str | None = None) -> Path:
    # The file itself, where a link stands for it: links into a folder of dot files stay links.
    place = (profiles_path() if path is None else path).resolve()
    if existing is not None:
        load_profiles(place).get(existing)
    try:
        with locked_beside(place):
            profiles = load_profiles(place)
            if existing is not None:
                profiles.get(existing)
            text = place.read_text(encoding="utf-8") if place.exists() else ""
            changed, expected = edit(text, dict(profiles.by_name))
            _check_edit(changed, expected, place)
            replace_private_file(place, changed.encode("utf-8"))
    except OSError as error:
        raise ConfigError(f"the profiles file {place} cannot be changed: {error.strerror}") from None
    return place


def _check_edit(changed: str, expected: Mapping[str, Profile], place: Path) -> None:
    try:
        changed.encode("utf-8")
        same = parse_profiles(changed, place) == expected
    except (ConfigError, UnicodeEncodeError):
        same = False
    if not same:
        raise ConfigError(f"{place} is written in a way that is not changed safely here; please edit it by hand")


def _sections(text: str) -> Iterator[tuple[str | None, str]]:
    """The text in pieces, each a table with the profile it belongs to; the comment right above a table is part of it."""
    owner: str | None = None
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        header = _HEADER.match(line)
        if header is None:
            lines.append(line)
            continue
        end = len(lines)
        while end and lines[end - 1].lstrip().startswith("#"):
            end -= 1
        yield owner, "".join(lines[:end])
        owner, lines = _plain(header["name"]), [*lines[end:], line]
    yield owner, "".join(lines)


def _plain(name: str) -> str:
    return name[1:-1] if name[0] in "\"'" else name


def _toml(profile: Profile) -> str:
    lines = [f"[{_key(profile.name)}]", f"url = {_value(profile.url)}"]
    lines += [f"{_key(option)} = {_value(value)}" for option, value in profile.options.items()]
    for layer in profile.layers:
        lines.append(f"[[{_key(profile.name)}.layers]]")
        lines += [f"{_key(option)} = {_value(value)}" for option, value in layer.items()]
    if profile.cdn is not None:
        lines.append(f"[{_key(profile.name)}.cdn]")
        lines += [f"{_key(option)} = {_value(value)}" for option, value in profile.cdn.items()]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: JSON) -> str:
    if value is None:
        raise ConfigError("a profile cannot hold an option without a value; leave the option out")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value)


def _text(text: str) -> str:
    # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
